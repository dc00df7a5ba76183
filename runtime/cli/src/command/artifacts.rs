//! Sources of a manifest as the dev session takes them; for `serve`, where a package's component
//! was built to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use wrt::dev::Source;
use wrt::manifest::{HandlerEntry, HandlerSource, Project, is_component};

use crate::exit::AtFault;

/// Where cargo puts components, below its target directory.
const RELEASE: &str = "wasm32-wasip2/release";
const DEBUG: &str = "wasm32-wasip2/debug";

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

/// Where the component file of `entry` would be, had it been built with `--release`.
pub(crate) fn expected(entry: &HandlerEntry, root: &Path) -> PathBuf {
    match &entry.source {
        HandlerSource::Path(file) if is_component(file) => file.clone(),
        HandlerSource::Path(dir) => {
            let file = file_name(dir).unwrap_or_else(|| "component.wasm".to_owned());
            let dir = dir.canonicalize().unwrap_or_else(|_| dir.clone());
            // A workspace's target directory is beside its lock file.
            let root = dir.ancestors().find(|above| above.join("Cargo.lock").is_file());
            root.unwrap_or(&dir).join("target").join(RELEASE).join(file)
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
    let targets = dir.ancestors().map(|above| above.join("target"));
    let mut builds = targets.filter_map(|target| {
        let [release, debug] = [RELEASE, DEBUG].map(|profile| target.join(profile).join(&file));
        match (modified(&release), modified(&debug)) {
            // What was built last is meant, whatever its profile.
            (Some(released), Some(built)) => Some(if built > released { debug } else { release }),
            (released, built) => released.map(|_| release).or(built.map(|_| debug)),
        }
    });
    builds.next().ok_or_else(missing)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?.modified().ok()
}

/// Looks whether the packages of `project` have components of their own; gives lines about those
/// that are not the release build which is there, too.
///
/// # Errors
///
/// When two packages were built to one file, of which each would serve what was built last.
pub(crate) fn check_built(project: &Project) -> Result<Vec<String>, AtFault> {
    let mut notes = Vec::new();
    let mut packages: BTreeMap<PathBuf, (&HandlerEntry, PathBuf)> = BTreeMap::new();
    for entry in &project.manifest.handlers {
        let HandlerSource::Path(dir) = &entry.source else { continue };
        // What is not built yet is told when it is wanted.
        let Some(component) = of_package(dir).ok().filter(|_| !is_component(dir)) else { continue };
        let name = &entry.config.name;
        let real = dir.canonicalize().unwrap_or_else(|_| dir.clone());
        if let Some((first, other)) = packages.get(&component)
            && *other != real
        {
            let component = component.display();
            return Err(AtFault::new(format!(
                "handlers `{}` and `{name}` have packages (`{}`, `{}`) that build one file, \
                 `{component}`: both would serve what was built last",
                first.config.name,
                other.display(),
                real.display()
            ))
            .hint("give one of the packages another library name: `[lib]` with `name = \"…\"`"));
        }
        let is_debug = component.parent().is_some_and(|dir| dir.ends_with(DEBUG));
        let release = component
            .ancestors()
            .nth(3)
            .map(|target| target.join(RELEASE).join(component.file_name().unwrap_or_default()));
        if is_debug && release.is_some_and(|release| release.is_file()) {
            let component = component.display();
            notes.push(format!(
                "`{name}` serves `{component}`, a debug build that is newer than the release build"
            ));
        }
        packages.insert(component, (entry, real));
    }
    Ok(notes)
}

/// `lib.name` or `package.name` with `-` turned into `_`, as cargo names library artifacts.
fn file_name(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join("Cargo.toml")).ok()?;
    let name = wrt::manifest::library_name(&text)?;
    Some(format!("{name}.wasm"))
}
