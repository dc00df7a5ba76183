//! Builds guest components for tests, once per process, and makes variants of them.
//!
//! Guests go to their own target directory: its lock is never held by the `cargo` that runs the
//! tests, and native and guest builds do not wait for each other.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};

/// The only target guests are built for.
pub const TARGET: &str = "wasm32-wasip2";

/// The package whose examples are the special guests.
const GUESTS: &str = "wrt-test-guests";

/// Profile of a guest's build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What `wrt dev` builds.
    Dev,
    /// What is deployed.
    Release,
    /// The same with all of its crates optimized as one, as the SDK's documentation advises.
    Whole,
}

impl Profile {
    /// As cargo knows it; [`Profile::Whole`] is the workspace's own.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Release => "release",
            Self::Whole => "whole",
        }
    }

    /// Where cargo puts what it builds, below the directory of the target.
    #[must_use]
    pub fn directory(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release | Self::Whole => self.name(),
        }
    }
}

/// Path of the component of the special guest `name`, for example `trap`.
///
/// # Errors
///
/// When the guests do not build, or none has this name.
pub fn guest(name: &str) -> Result<PathBuf> {
    guest_as(name, Profile::Dev)
}

/// The same in `profile`: what a guest takes for its own work is no figure of the host's.
///
/// # Errors
///
/// As [`guest`].
pub fn guest_as(name: &str, profile: Profile) -> Result<PathBuf> {
    build(&["-p", GUESTS, "--examples"], profile)?;
    existing(output_dir(profile).join("examples").join(format!("{name}.wasm")))
}

/// Path of the component of the example plugin `name`, for example `hello`.
///
/// # Errors
///
/// When it does not build, or there is no such plugin.
pub fn plugin(name: &str, profile: Profile) -> Result<PathBuf> {
    build(&["-p", name], profile)?;
    existing(output_dir(profile).join(format!("{}.wasm", name.replace('-', "_"))))
}

/// Path of the component of the example `name` of the example plugin `plugin`: another version of it.
///
/// # Errors
///
/// When it does not build, or there is no such example.
pub fn plugin_example(plugin: &str, name: &str) -> Result<PathBuf> {
    build(&["-p", plugin, "--examples"], Profile::Dev)?;
    existing(output_dir(Profile::Dev).join("examples").join(format!("{name}.wasm")))
}

/// The component `bytes` with a custom section that holds `number`: it behaves the same and its
/// digest differs for every number.
#[must_use]
pub fn variant(bytes: &[u8], number: u64) -> Vec<u8> {
    const NAME: &[u8] = b"wrt-variant";
    // Section id 0, then its size and the length of its name. Both are below 128, where an
    // unsigned LEB128 number is the byte itself.
    const HEADER: [u8; 3] = [0, (1 + NAME.len() + size_of::<u64>()) as u8, NAME.len() as u8];
    [bytes, &HEADER, NAME, &number.to_le_bytes()].concat()
}

/// The component `bytes` of an HTTP handler as a host sees it that knows the exports of WASI alone:
/// the one by which answers come back whole has another name.
///
/// # Panics
///
/// When it has no such export.
#[must_use]
pub fn with_wasi_alone(bytes: &[u8]) -> Vec<u8> {
    // As long as the name itself, so that nothing else of the component changes.
    const NAMES: [&[u8]; 2] = [b"wrt:plugin/http@", b"wrt:plugin/none@"];
    let [name, other] = NAMES;
    let mut renamed = bytes.to_vec();
    let found = |at: &usize| bytes[*at..].starts_with(name);
    let places: Vec<_> = (0..bytes.len()).filter(found).collect();
    assert!(!places.is_empty(), "the component does not have the export");
    for at in places {
        renamed[at..][..other.len()].copy_from_slice(other);
    }
    renamed
}

/// The directory of the workspace whose test or benchmark this process is.
#[must_use]
pub fn workspace_root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        // Cargo says it to those it runs. What it said at compile time may be another clone that
        // shares the target directory, so that serves only who is started by hand.
        let told = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let package = told.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = package.ancestors().find(|it| it.join("Cargo.lock").is_file());
        root.unwrap_or(&package).to_owned()
    });
    &ROOT
}

/// The target directory of the workspace: `CARGO_TARGET_DIR`, else `target`.
#[must_use]
pub fn target_dir() -> PathBuf {
    workspace_root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// The `cargo` that runs this process, else the one on the path.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.stdin(Stdio::null());
    command
}

/// Where the components of `profile` land.
fn output_dir(profile: Profile) -> PathBuf {
    guest_target_dir().join(TARGET).join(profile.directory())
}

fn guest_target_dir() -> PathBuf {
    target_dir().join("guests")
}

/// Runs `cargo build` with `arguments` unless this process did so before.
fn build(arguments: &[&str], profile: Profile) -> Result<()> {
    static DONE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // A panic elsewhere cannot leave the set half changed, so a poisoned lock is still good.
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let key = format!("{profile:?} {}", arguments.join(" "));
    if done.contains(&key) {
        return Ok(());
    }
    add_target_if_needed()?;
    let mut command = cargo();
    command.current_dir(workspace_root()).args(["build", "--target", TARGET]).args(arguments);
    command.arg("--target-dir").arg(guest_target_dir());
    command.args(["--profile", profile.name()]);
    run(&mut command)?;
    done.insert(key);
    Ok(())
}

/// Installs the guests' target with `rustup` when the compiler lacks it.
fn add_target_if_needed() -> Result<()> {
    let asked = Command::new("rustc")
        .current_dir(workspace_root())
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("failed to run `rustc`")?;
    let directory = String::from_utf8_lossy(&asked.stdout);
    if asked.status.success() && Path::new(directory.trim()).is_dir() {
        return Ok(());
    }
    let mut command = Command::new("rustup");
    command.current_dir(workspace_root()).args(["target", "add", TARGET]);
    run(&mut command)
}

/// Runs `command` to its end; what it said is part of the error.
///
/// # Errors
///
/// When it does not start, or ends with another status than 0.
pub fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("failed to run `{command:?}`"))?;
    if !output.status.success() {
        bail!(
            "`{command:?}` ended with {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    ensure!(path.is_file(), "expected the build to write `{}`, found no such file", path.display());
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_keep_the_component_and_differ_from_each_other() {
        let component = b"\0asm\x0d\0\x01\0";
        let (one, two) = (variant(component, 1), variant(component, 2));
        assert!(one.starts_with(component) && two.starts_with(component));
        assert_ne!(one, two);
        assert_eq!(one, variant(component, 1));
    }

    #[test]
    fn variant_section_has_the_size_that_it_states() {
        let section = &variant(b"", 7)[..];
        assert_eq!(section[0], 0);
        assert_eq!(section[1] as usize, section.len() - 2);
        assert_eq!(&section[3..3 + section[2] as usize], b"wrt-variant");
    }

    #[test]
    fn failing_command_is_an_error_with_what_it_said() {
        let error = run(Command::new("sh").args(["-c", "echo broken pipe dream >&2; exit 3"]));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("exit status: 3") && text.contains("broken pipe dream"), "{text}");
    }
}
