//! Why there is no history on disk, and why one was not written.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Hint;

/// Histories cannot be kept in a directory. Everything else works; a restart knows nothing of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryUnavailable {
    /// The directory is missing, and it or one above it could not be made or looked at.
    #[error("failed to make the history directory `{}`", dir.display())]
    Create {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is there is not a directory of this user alone.
    #[error("expected `{}` to be a private directory for the history, found {found}", dir.display())]
    NotPrivate {
        /// The path.
        dir: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// The directory cannot be written to.
    #[error("the history directory `{}` cannot be written to", dir.display())]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Hint for HistoryUnavailable {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Create { dir, .. } => {
                format!("make it with `mkdir -p {0}`, or choose another directory", dir.display())
            }
            Self::NotPrivate { .. } => {
                "choose a directory that belongs to the user that runs wrt, and to nobody else"
                    .to_owned()
            }
            Self::ReadOnly { dir, .. } => {
                format!("run `chmod u+rwx {}`, or choose another directory", dir.display())
            }
        };
        vec![hint]
    }
}

/// A history or a component was not written; the file before it, if there is one, is as it was.
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed to write `{}`", path.display())]
pub struct HistoryWriteError {
    /// The file.
    pub path: PathBuf,
    /// What the system says. Shared by all who waited for it.
    pub source: Arc<io::Error>,
}

impl HistoryWriteError {
    pub(super) fn new(path: PathBuf, source: io::Error) -> Self {
        Self { path, source: Arc::new(source) }
    }
}

impl Hint for HistoryWriteError {
    fn hints(&self) -> Vec<String> {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                vec!["free space on that disk".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}
