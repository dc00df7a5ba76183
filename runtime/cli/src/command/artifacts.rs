//! Sources of a manifest as the dev session takes them; for `serve`, where a package's component
//! was built to.

use std::path::{Path, PathBuf};

use wrt::dev::Source;
use wrt::manifest::{HandlerEntry, HandlerSource, is_component};

use crate::exit::AtFault;

/// Where cargo puts components, below its target directory; release builds come first.
const PROFILES: [&str; 2] = ["wasm32-wasip2/release", "wasm32-wasip2/debug"];

/// What `dev` and `build` build and watch for `entry`.
pub(crate) fn to_build(entry: &HandlerEntry, root: &Path) -> Source {
    match &entry.source {
        HandlerSource::Command { command, output, watch } => Source::Command {
            command: command.clone(),
            dir: root.to_owned(),
            output: absolute(output),
            watch: watch.iter().map(|path| absolute(path)).collect(),
        },
        HandlerSource::Path(path) if is_component(path) => Source::Wasm { path: path.clone() },
        HandlerSource::Path(path) => Source::Cargo { dir: path.clone() },
        _ => Source::Wasm { path: root.to_owned() },
    }
}

/// The component file that `serve` loads for `entry`.
///
/// # Errors
///
/// When a package has no component yet.
pub(crate) fn to_serve(entry: &HandlerEntry, root: &Path) -> Result<PathBuf, AtFault> {
    match &entry.source {
        HandlerSource::Command { output, .. } => Ok(output.clone()),
        HandlerSource::Path(path) if is_component(path) => Ok(path.clone()),
        HandlerSource::Path(path) => of_package(path),
        _ => Ok(root.to_owned()),
    }
}

/// Where the component file of `entry` would be, had it been built.
pub(crate) fn expected(entry: &HandlerEntry, root: &Path) -> PathBuf {
    match &entry.source {
        HandlerSource::Path(file) if is_component(file) => file.clone(),
        HandlerSource::Path(dir) => {
            let file = file_name(dir).unwrap_or_else(|| "component.wasm".to_owned());
            dir.join("target").join(PROFILES[0]).join(file)
        }
        HandlerSource::Command { output, .. } => output.clone(),
        _ => root.to_owned(),
    }
}

/// `path`, which starts at the current directory, as the session wants it: it would take a
/// relative one to start at the command's directory.
fn absolute(path: &Path) -> PathBuf {
    // It fails for an empty path only, which then leads to nothing, and is reported as that.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn of_package(dir: &Path) -> Result<PathBuf, AtFault> {
    let missing = || {
        AtFault::new(format!("found no built component of the package in `{}`", dir.display()))
            .hint("run `wrt build --release` first, or `wrt dev` to build and serve at once")
    };
    let dir = dir.canonicalize().map_err(|_| missing())?;
    let file = file_name(&dir).ok_or_else(missing)?;
    // A workspace has one target directory for its members, at its root.
    dir.ancestors()
        .flat_map(|above| PROFILES.map(|profile| above.join("target").join(profile).join(&file)))
        .find(|path| path.is_file())
        .ok_or_else(missing)
}

/// `lib.name` or `package.name` with `-` turned into `_`, as cargo names library artifacts.
fn file_name(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("Cargo.toml")).ok()?;
    let name = wrt::manifest::library_name(&text)?;
    Some(format!("{name}.wasm"))
}
