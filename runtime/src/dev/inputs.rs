//! What a source's build reads: the trees to walk, single files, and what to leave out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::Source;
use super::package::{Member, Package};

/// Files beside or above a package that decide how cargo and rustup build it.
const SETTINGS: [&str; 4] =
    [".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain"];

/// Extensions of files that the compiler may read as soon as they are there.
const SOURCES: [&str; 3] = ["rs", "toml", "wit"];

/// Where in a package sources are.
const SOURCE_DIRS: [&str; 2] = ["src", "wit"];

impl Member {
    /// The directories of the package that hold sources, whether or not they exist.
    fn source_dirs(&self) -> [PathBuf; 2] {
        SOURCE_DIRS.map(|name| self.dir.join(name))
    }
}

/// The inputs of a build, before anybody looked which of them exist.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Inputs {
    /// What paths are shown relative to.
    pub(super) base: PathBuf,
    /// Directories taken whole, as git would track them.
    pub(super) roots: BTreeSet<PathBuf>,
    /// Directories in which sources are taken whatever git thinks of them: a generated module that
    /// git ignores is compiled all the same.
    pub(super) source_dirs: BTreeSet<PathBuf>,
    /// Files taken whatever git thinks of them, whether or not they exist yet.
    pub(super) files: BTreeSet<PathBuf>,
    /// Where set, of other files in the trees only that they exist counts: cargo itself rebuilds
    /// for nothing but sources and what the compiler read, and a log that is written beside the
    /// sources must not keep it busy.
    pub(super) only_sources: bool,
    /// Files and directories that the build writes.
    pub(super) outputs: BTreeSet<PathBuf>,
    /// What must exist for a build to make sense.
    pub(super) anchor: PathBuf,
}

/// Whether `path` has the name of a file that the compiler may read as soon as it is there.
pub(super) fn is_source(path: &Path) -> bool {
    let is_one = |end: &OsStr| SOURCES.iter().any(|source| end == *source);
    path.extension().is_some_and(is_one)
}

impl Inputs {
    /// The inputs of `source`, for a cargo package as far as `package` is known.
    pub(super) fn of(source: &Source, package: Option<&Package>) -> Self {
        match source {
            Source::Cargo { dir } => Self::of_package(dir, package),
            Source::Command { dir, output, watch, .. } => {
                let watch = if watch.is_empty() { &[PathBuf::new()] } else { &watch[..] };
                let (roots, files) =
                    watch.iter().map(|path| dir.join(path)).partition(|path| !path.is_file());
                let outputs = [dir.join(output)].into();
                let (base, anchor) = (dir.clone(), dir.clone());
                Self { base, roots, files, outputs, anchor, ..Self::default() }
            }
            Source::Wasm { path } => Self {
                base: path.parent().unwrap_or(Path::new("/")).to_owned(),
                anchor: path.clone(),
                ..Self::default()
            },
        }
    }

    fn of_package(dir: &Path, package: Option<&Package>) -> Self {
        let manifest = dir.join("Cargo.toml");
        let mut inputs = Self {
            base: dir.to_owned(),
            roots: [dir.to_owned()].into(),
            source_dirs: SOURCE_DIRS.map(|name| dir.join(name)).into(),
            files: [manifest.clone()].into(),
            only_sources: package.is_some_and(|package| !package.has_build_script),
            outputs: [dir.join("target")].into(),
            anchor: manifest,
        };
        let (mut home, mut top) = (dir, dir);
        if let Some(package) = package {
            // The same directory, without links, comes from cargo; walking it once is enough.
            inputs.roots = package.members.iter().map(|member| member.dir.clone()).collect();
            inputs.files.extend(package.entry_files.iter().cloned());
            inputs.source_dirs = package.members.iter().flat_map(Member::source_dirs).collect();
            inputs.files.insert(package.workspace_root.join("Cargo.toml"));
            inputs.files.insert(package.workspace_root.join("Cargo.lock"));
            inputs.outputs.insert(package.target_dir.clone());
            home = package.members.first().map_or(dir, |member| &member.dir);
            top = if home.starts_with(&package.workspace_root) {
                &package.workspace_root
            } else {
                home
            };
        }
        for dir in home.ancestors().take_while(|dir| dir.starts_with(top)) {
            inputs.files.extend(SETTINGS.map(|name| dir.join(name)));
        }
        inputs
    }

    /// Whether the content of `path`, somewhere in the trees, counts.
    pub(super) fn counts_content(&self, path: &Path) -> bool {
        !self.only_sources || is_source(path)
    }

    /// The outputs, under the names given and under real ones. Blocks.
    pub(super) fn all_outputs(&self) -> BTreeSet<PathBuf> {
        let real = self
            .outputs
            .iter()
            .filter_map(|path| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?)));
        real.chain(self.outputs.iter().cloned()).collect()
    }

    /// `path` as people should see it.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        // Snapshots hold real paths, and the source's own may lead through a link.
        let real = self.base.canonicalize().unwrap_or_default();
        let inside = path.strip_prefix(&self.base).or_else(|_| path.strip_prefix(real));
        inside.unwrap_or(path).to_owned()
    }
}
