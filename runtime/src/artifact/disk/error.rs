//! Why there is no cache, and why an entry was not written.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::Hint;

/// Compiled code cannot be kept in a directory. Everything else works; it compiles more often.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheUnavailable {
    /// The directory is missing, and it or one above it could not be made.
    #[error("failed to make the cache directory `{}`", dir.display())]
    Create {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something else is there, or a link that others might turn elsewhere.
    #[error("expected `{}` to be a directory for the cache, found {found}", dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
        /// What it is instead.
        found: &'static str,
    },
    /// The directory belongs to somebody else, who could put code into it.
    #[error("the cache directory `{}` belongs to user {owner}, and this is user {user}", dir.display())]
    ForeignOwner {
        /// The directory.
        dir: PathBuf,
        /// Id of its owner.
        owner: u32,
        /// Id of the user that this process acts as.
        user: u32,
    },
    /// Others than the owner can write to the directory, and that could not be changed.
    #[error("the cache directory `{}` can be written to by others", dir.display())]
    OpenToOthers {
        /// The directory.
        dir: PathBuf,
        /// Why it stays like that; nothing where it holds more than a cache.
        source: Option<io::Error>,
    },
    /// The directory cannot be written to.
    #[error("the cache directory `{}` cannot be written to", dir.display())]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The key that entries are checked with could be neither read nor made.
    #[error("failed to read or make the cache's key `{}`", path.display())]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Hint for CacheUnavailable {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Create { dir, .. } => {
                format!("make it with `mkdir -p {0}`, or choose another directory", dir.display())
            }
            Self::NotADirectory { dir, .. } => {
                format!("remove `{}`, or choose another directory", dir.display())
            }
            Self::ForeignOwner { .. } => {
                "choose a directory that belongs to the user that runs wrt".to_owned()
            }
            Self::OpenToOthers { source: None, .. } => {
                "choose a directory that holds nothing but the cache".to_owned()
            }
            Self::OpenToOthers { dir, source: Some(_) } => {
                format!("run `chmod 700 {}`, or choose another directory", dir.display())
            }
            Self::ReadOnly { dir, .. } => {
                format!("run `chmod u+rwx {}`, or choose another directory", dir.display())
            }
            Self::Key { path, .. } => {
                format!("remove `{}`; the cache then begins anew", path.display())
            }
        };
        vec![hint]
    }
}

/// An entry was not written. The cache is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheWriteError {
    /// It would leave no room for any other.
    #[error("an entry of {bytes} bytes is more than the {limit} bytes that the cache has for one")]
    TooLarge { bytes: u64, limit: u64 },
    /// The disk, or the user's share of it, is full.
    #[error("no space is left for the cache in `{}`", dir.display())]
    Full { dir: PathBuf, source: io::Error },
    /// Anything else.
    #[error("failed to write to the cache in `{}`", dir.display())]
    Write { dir: PathBuf, source: io::Error },
}

impl CacheWriteError {
    pub(super) fn new(dir: &Path, source: io::Error) -> Self {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { dir, source },
            _ => Self::Write { dir, source },
        }
    }
}

impl Hint for CacheWriteError {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::TooLarge { .. } => "raise `disk` of `[cache]` in the manifest",
            Self::Full { .. } => {
                "free space on that disk, or lower `disk` of `[cache]` in the manifest"
            }
            Self::Write { .. } => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let error = |kind: io::ErrorKind| CacheWriteError::new(Path::new("c"), kind.into());
        let full = error(io::ErrorKind::StorageFull);
        assert_eq!(full.to_string(), "no space is left for the cache in `c`");
        assert_eq!(full.hints().len(), 1);
        assert!(matches!(error(io::ErrorKind::QuotaExceeded), CacheWriteError::Full { .. }));
        let other = error(io::ErrorKind::PermissionDenied);
        assert_eq!(other.to_string(), "failed to write to the cache in `c`");
    }
}
