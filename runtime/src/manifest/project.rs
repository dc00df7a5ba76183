//! Opens what a user points at: a manifest's directory, a cargo package, or a component.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::{HandlerEntry, HandlerSource, Manifest, ManifestError, Surroundings};
use crate::config::{HandlerConfig, Route};
use crate::error::Hint;
use crate::files;
use crate::id::{HandlerName, InvalidName};

/// The manifest's file name.
const MANIFEST: &str = "wrt.toml";

/// Bytes that a manifest, a `Cargo.toml` or the file of a secret may have. A manifest of ten thousand
/// handlers has some two million.
const MAX_TEXT: u64 = 16 * 1024 * 1024;

/// A manifest and where it stands, whether it was written or follows from a package or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Project {
    /// The directory that everything in it is relative to.
    pub root: PathBuf,
    /// The file that it was read from; `None` when it follows from a package or a component.
    pub manifest_path: Option<PathBuf>,
    /// What is to be run.
    pub manifest: Manifest,
}

/// Why a path could not be opened as a project.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The path leads nowhere.
    #[error("failed to open `{}`", .path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file in the project could not be read.
    #[error("failed to read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory with neither a manifest nor a package.
    #[error("found neither `wrt.toml` nor `Cargo.toml` in `{}`", .path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// A file that is no component by its name.
    #[error("expected a directory or a `.wasm` file, found `{}`", .path.display())]
    NotAComponent {
        /// The file.
        path: PathBuf,
    },
    /// The manifest has problems.
    #[error(transparent)]
    Manifest(ManifestError),
    /// `Cargo.toml` is not one.
    #[error("failed to parse `{}`", .path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: toml::de::Error,
    },
    /// `Cargo.toml` has no package, so it is a workspace.
    #[error("found no `package.name` in `{}`", .path.display())]
    NoPackage {
        /// The file.
        path: PathBuf,
    },
    /// A handler's source is neither a package nor a component.
    #[error(
        "expected a cargo package or a `.wasm` file as `source` of handler `{handler}`, found {found}"
    )]
    Source {
        /// The handler.
        handler: HandlerName,
        /// What is there, in words that name the path.
        found: String,
    },
    /// The package or file has a name that no handler can have.
    #[error("failed to name a handler after `{}`", .path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: InvalidName,
    },
}

impl Hint for ProjectError {
    /// Those of a manifest's problems stand beside the problems instead.
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Nothing { .. } => {
                "pass a cargo package, a `.wasm` file or a directory with `wrt.toml`"
            }
            Self::NotAComponent { .. } => "pass the directory that the manifest is in",
            Self::NoPackage { .. } => {
                "pass the directory of one package, or list several in a `wrt.toml` beside it"
            }
            Self::Source { .. } => {
                "name the directory with the package's `Cargo.toml`, a component, or \
                 `{ command = \"make\", output = \"out.wasm\" }` for what a tool of yours builds"
            }
            Self::Name { .. } => "write a `wrt.toml` that gives the handler another name",
            Self::Manifest(error) => {
                return error.problems.iter().filter_map(|problem| problem.hint.clone()).collect();
            }
            Self::Open { .. } | Self::Read { .. } | Self::Package { .. } => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

impl Project {
    /// Opens `path`: a directory with `wrt.toml`, or with `Cargo.toml` (one handler at `/`, named
    /// after the package), or a `.wasm` file (one handler at `/`, named after the file).
    ///
    /// `env` looks up environment variables for `${VAR}` and secrets.
    ///
    /// # Errors
    ///
    /// [`ProjectError`] when it is none of those, or is one with a problem.
    pub fn open(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ProjectError> {
        let open = |source| ProjectError::Open { path: path.to_owned(), source };
        if !std::fs::metadata(path).map_err(open)?.is_dir() {
            return match path.file_name() {
                // Whoever points at the manifest itself means the project it describes.
                Some(name) if name == MANIFEST => Self::from_manifest(path, env),
                _ => Self::from_component(path),
            };
        }
        // `wrt.toml` reads better in messages than `./wrt.toml`.
        let path = if path == Path::new(".") { Path::new("") } else { path };
        let (manifest, package) = (path.join(MANIFEST), path.join("Cargo.toml"));
        if exists(&manifest)? {
            Self::from_manifest(&manifest, env)
        } else if exists(&package)? {
            Self::from_package(&package)
        } else {
            Err(ProjectError::Nothing { path: parent(&manifest) })
        }
    }

    /// Looks whether each handler's source is what can be built or served. A source that is missing
    /// altogether may still come, unless its name says that it is neither.
    ///
    /// # Errors
    ///
    /// [`ProjectError::Source`] for the first that is something else.
    pub fn check_sources(&self) -> Result<(), ProjectError> {
        for HandlerEntry { config, source } in &self.manifest.handlers {
            if let HandlerSource::Path(path) = source
                && let Some(found) = unfit(path)
            {
                return Err(ProjectError::Source { handler: config.name.clone(), found });
            }
        }
        Ok(())
    }

    fn from_manifest(
        path: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ProjectError> {
        let root = parent(path);
        let text = read(path)?;
        let around = Surroundings { root: &root, env, read_file: &read_secret };
        let manifest = Manifest::parse(&text, &around).map_err(|problems| {
            ProjectError::Manifest(ManifestError { path: path.to_owned(), problems })
        })?;
        Ok(Self { root, manifest_path: Some(path.to_owned()), manifest })
    }

    fn from_package(path: &Path) -> Result<Self, ProjectError> {
        let text = read(path)?;
        let document = DeTable::parse(&text)
            .map_err(|source| ProjectError::Package { path: path.to_owned(), source })?;
        let package =
            document.get_ref().get("package").and_then(|value| value.get_ref().as_table());
        let name = package.and_then(|table| table.get("name")).map(|name| name.get_ref());
        let Some(DeValue::String(name)) = name else {
            return Err(ProjectError::NoPackage { path: path.to_owned() });
        };
        let root = parent(path);
        Self::single(name, path, HandlerSource::Path(root.clone()), root)
    }

    /// The project of the component file at `path` (one handler at `/`, named after the file), also
    /// when there is no such file at the moment.
    ///
    /// # Errors
    ///
    /// [`ProjectError`] when it is no component, or no handler can have that name.
    pub fn from_component(path: &Path) -> Result<Self, ProjectError> {
        match path.file_stem() {
            Some(stem) if is_component(path) => {
                let source = HandlerSource::Path(path.to_owned());
                Self::single(&stem.to_string_lossy(), path, source, parent(path))
            }
            _ => Err(ProjectError::NotAComponent { path: path.to_owned() }),
        }
    }

    fn single(
        name: &str,
        path: &Path,
        source: HandlerSource,
        root: PathBuf,
    ) -> Result<Self, ProjectError> {
        let name = HandlerName::new(name)
            .map_err(|source| ProjectError::Name { path: path.to_owned(), source })?;
        let config = HandlerConfig::new(name).with_route(Route::everything());
        let handlers = vec![HandlerEntry { config, source }];
        let manifest = Manifest { handlers, ..Manifest::default() };
        Ok(Self { root, manifest_path: None, manifest })
    }
}

/// What `path` is, in words, where it is neither a package nor a component.
fn unfit(path: &Path) -> Option<String> {
    let shown = path.display();
    if is_component(path) {
        return None;
    }
    match std::fs::metadata(path) {
        Ok(data) if data.is_dir() => {
            let is_package = path.join("Cargo.toml").is_file();
            (!is_package).then(|| format!("the directory `{shown}`, which has no `Cargo.toml`"))
        }
        Ok(_) => Some(format!("the file `{shown}`")),
        // A directory may have a dot in its name, so this is a guess; whoever makes one waits in vain
        // for no longer than the next start.
        Err(_) => path.extension().map(|_| format!("`{shown}`, which does not exist")),
    }
}

fn exists(path: &Path) -> Result<bool, ProjectError> {
    path.try_exists().map_err(|source| ProjectError::Open { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<String, ProjectError> {
    let read = files::open_regular(path).and_then(|(file, _)| files::text(file, MAX_TEXT));
    read.map_err(|source| ProjectError::Read { path: path.to_owned(), source })
}

/// Longest time for which somebody may let a pipe with a secret be empty.
const PIPE_PATIENCE: Duration = Duration::from_secs(5);

/// Where secrets are kept, some are handed out through pipes. One that nobody writes to is given up: a host
/// reads its manifest again while it serves.
fn read_secret(path: &Path) -> io::Result<String> {
    let read = |path: &Path| files::text(std::fs::File::open(path)?, MAX_TEXT);
    if std::fs::metadata(path)?.is_file() {
        return read(path);
    }
    let (tell, told) = std::sync::mpsc::channel();
    let path = path.to_owned();
    // The thread stays until somebody writes to the pipe, or the process ends.
    std::thread::Builder::new().spawn(move || tell.send(read(&path)))?;
    let silent = || io::Error::new(io::ErrorKind::TimedOut, "nobody writes to this pipe");
    told.recv_timeout(PIPE_PATIENCE).unwrap_or_else(|_| Err(silent()))
}

/// The directory of a file; that of a bare file name is `.`, so that it can be opened and watched.
fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whether `path` means a component file rather than a package's directory: by its extension in any
/// case, whether it is there or not, and whatever its name is by its first bytes.
#[must_use]
pub fn is_component(path: &Path) -> bool {
    let is_named = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("wasm"));
    match is_named {
        true => !path.join("Cargo.toml").is_file(),
        false => path.is_file() && begins_as_wasm(path).unwrap_or(false),
    }
}

/// A core module begins so as well, and is refused with a better message later.
fn begins_as_wasm(path: &Path) -> io::Result<bool> {
    use std::io::Read as _;

    let mut start = Vec::new();
    std::fs::File::open(path)?.take(4).read_to_end(&mut start)?;
    Ok(start == b"\0asm")
}

/// Name of the library artifact of the package whose `Cargo.toml` has `text`: `lib.name`, or the
/// package's name with `_` for `-`, as cargo names files. `None` when it has no package.
#[must_use]
pub fn library_name(text: &str) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let name_in = |table: &str| {
        let table = document.get_ref().get(table)?.get_ref().as_table()?;
        match table.get("name")?.get_ref() {
            DeValue::String(name) => Some(name.replace('-', "_")),
            _ => None,
        }
    };
    let package = name_in("package")?;
    Some(name_in("lib").unwrap_or(package))
}
