//! Makes sure that the toolchain of a package can compile for WebAssembly.

use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

use super::BuildFailure;
use super::capped::Capped;
use super::process::{self, Stream, Tools};
use super::text::clean;

/// What handlers are compiled for: it yields components, and needs no further tool.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// Held while rustup works, so that handlers that start together add the target once.
static ADDING: Mutex<()> = Mutex::const_new(());

/// Where the compiler of a package has its libraries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Toolchain {
    /// The directory that it knows all others by.
    pub(super) sysroot: PathBuf,
    /// Where in it the libraries of [`TARGET`] are.
    pub(super) lib_dir: PathBuf,
}

/// Gives the toolchain used in `dir`, with [`TARGET`] added if it lacks that and `add` allows it;
/// `tell` is told before. `None` is a compiler that cannot answer.
pub(super) async fn ensure(
    dir: &Path,
    tools: &Tools,
    add: bool,
    tell: impl Fn(String),
) -> Result<Option<Toolchain>, BuildFailure> {
    let has_target = |toolchain: &Option<Toolchain>| {
        toolchain.as_ref().is_none_or(|toolchain| toolchain.lib_dir.is_dir())
    };
    let toolchain = ask(dir, tools).await?;
    if has_target(&toolchain) {
        return Ok(toolchain);
    }
    let _adding = ADDING.lock().await;
    let toolchain = ask(dir, tools).await?;
    if has_target(&toolchain) {
        return Ok(toolchain);
    }
    let command_line = format!("rustup target add {TARGET}");
    if !add {
        return Err(BuildFailure {
            message: format!("the Rust toolchain has no target `{TARGET}`"),
            hints: vec![format!("run `{command_line}`, or leave out `--no-add-target`")],
            ..BuildFailure::default()
        });
    }
    tell(format!(
        "adding target `{TARGET}` with rustup (pass `--no-add-target` to switch this off)"
    ));
    let mut command = process::command(&tools.rustup, dir);
    command.args(["target", "add", TARGET]);
    let mut output = Capped::default();
    let status = process::run(&mut command, |_, piece| output.push(piece)).await;
    match status {
        Ok(status) if status.success() => Ok(toolchain),
        Ok(status) => Err(BuildFailure::with_output(
            format!("`{command_line}` ended with {status}"),
            &clean(&output.into_text(), false),
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(BuildFailure {
            message: format!(
                "the Rust toolchain has no target `{TARGET}`, and `rustup` is not there to add it"
            ),
            hints: vec![
                "install rustup from https://rustup.rs, or the target's standard library with the \
                 system's package manager"
                    .to_owned(),
            ],
            ..BuildFailure::default()
        }),
        Err(error) => Err(BuildFailure::not_started("rustup", &error)),
    }
}

/// Asks the compiler used in `dir`. One that cannot answer is the build's to complain about, in its
/// own words.
async fn ask(dir: &Path, tools: &Tools) -> Result<Option<Toolchain>, BuildFailure> {
    let mut command = process::command(&tools.rustc, dir);
    command.args(["--print", "sysroot", "--print", "target-libdir", "--target", TARGET]);
    let mut out = Capped::default();
    let status = process::run(&mut command, |stream, piece| {
        if stream == Stream::Stdout {
            out.push(piece);
        }
    })
    .await
    .map_err(|error| BuildFailure::not_started("rustc", &error))?;
    let answer = out.into_text();
    let mut paths = answer.lines().map(PathBuf::from);
    Ok(match (paths.next(), paths.next()) {
        (Some(sysroot), Some(lib_dir)) if status.success() => Some(Toolchain { sysroot, lib_dir }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Tools whose compiler looks for its library in `lib`, and whose rustup creates that.
    fn fake_tools(dir: &Path, rustup: &str) -> Tools {
        let script = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
            path
        };
        let lib = dir.join("lib");
        Tools {
            rustc: script("rustc", format!("echo '{}'; echo '{}'", dir.display(), lib.display())),
            rustup: script("rustup", rustup.replace("LIB", &lib.display().to_string())),
            ..Tools::default()
        }
    }

    #[tokio::test]
    async fn a_missing_target_is_added_once_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let tools = fake_tools(dir.path(), "mkdir 'LIB'");
        let told = RefCell::new(Vec::new());
        for _ in 0..2 {
            ensure(dir.path(), &tools, true, |text| told.borrow_mut().push(text)).await.unwrap();
        }
        assert_eq!(told.borrow().len(), 1);
        assert!(told.borrow()[0].contains("--no-add-target"));
    }

    #[tokio::test]
    async fn each_way_to_lack_the_target_has_its_message() {
        let dir = tempfile::tempdir().unwrap();
        let check = async |tools: &Tools, add, expect: &str| {
            let failure = ensure(dir.path(), tools, add, |_| {}).await.unwrap_err();
            assert!(failure.message.contains(expect), "{failure:?}");
        };
        let failing = fake_tools(dir.path(), "echo no network >&2; exit 1");
        check(&failing, false, "has no target `wasm32-wasip2`").await;
        check(&failing, true, "`rustup target add wasm32-wasip2` ended with exit status: 1").await;
        let absent = Tools { rustup: dir.path().join("nowhere"), ..failing.clone() };
        check(&absent, true, "`rustup` is not there").await;
        let no_rustc = Tools { rustc: dir.path().join("nowhere"), ..failing };
        check(&no_rustc, true, "failed to run `rustc`").await;
    }
}
