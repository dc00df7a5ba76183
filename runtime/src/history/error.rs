//! Why there is no history on disk, and why one was not written.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::store::FLUSH_PATIENCE;
use crate::error::{Hint, chain};
use crate::id::HandlerName;

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
    /// Another process, or another runtime of this process, writes to the directory.
    #[error(
        "the history directory `{}` is in use by {}, so this host keeps no history of its own",
        dir.display(),
        holder_words(*holder)
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The number of the process that has it, as far as that process said so.
        holder: Option<u32>,
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
            Self::InUse { holder, .. } => match holder {
                Some(pid) if *pid == std::process::id() => {
                    "share one `Runtime`, or give each a `state_dir` of its own".to_owned()
                }
                Some(pid) => {
                    format!("stop process {pid}, or set another `host.state_dir` in the manifest")
                }
                None => "stop the other host, or set another `host.state_dir` in the manifest"
                    .to_owned(),
            },
            Self::ReadOnly { dir, .. } => {
                format!("run `chmod u+rwx {}`, or choose another directory", dir.display())
            }
        };
        vec![hint]
    }
}

fn holder_words(holder: Option<u32>) -> String {
    match holder {
        Some(pid) if pid == std::process::id() => {
            format!("another runtime of this process ({pid})")
        }
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

/// The history of a handler is there, cannot be read, and begins anew.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the history of `{handler}` in `{}`, which begins anew", path.display())]
pub struct HistoryReadError {
    /// The handler.
    pub handler: HandlerName,
    /// The file.
    pub path: PathBuf,
    /// What the system says, or what is wrong with the text.
    pub source: io::Error,
    /// Where the file was put aside; absent when that failed, and the file is as it was.
    pub aside: Option<PathBuf>,
}

impl Hint for HistoryReadError {
    fn hints(&self) -> Vec<String> {
        let path = self.path.display();
        vec![match &self.aside {
            Some(aside) => format!(
                "it is kept as `{}`; stop the host, mend that file and rename it to `{path}`",
                aside.display()
            ),
            None => format!("stop the host, and mend or remove `{path}`"),
        }]
    }
}

/// What becomes of a handler's versions is not on the disk: a restart would not know of it. The handler
/// itself is as it was asked to be, and what is not written is tried again as long as the process
/// lives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what becomes of `{handler}` is not kept for the next start: {reason}")]
pub struct NotKept {
    /// The handler.
    pub handler: HandlerName,
    /// Why not, outermost error first.
    pub reason: String,
    pub(super) hints: Vec<String>,
}

impl NotKept {
    /// The consequence for `handler` of `error`.
    pub(crate) fn new<E: std::error::Error + Hint + 'static>(
        handler: &HandlerName,
        error: &E,
    ) -> Self {
        Self { handler: handler.clone(), reason: chain(error), hints: error.hints() }
    }

    /// Nobody knows yet what the disk makes of it.
    pub(crate) fn unanswered(handler: &HandlerName) -> Self {
        let reason = format!("the disk has not answered for {FLUSH_PATIENCE:?}");
        Self { handler: handler.clone(), reason, hints: Vec::new() }
    }
}

impl Hint for NotKept {
    fn hints(&self) -> Vec<String> {
        self.hints.clone()
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
