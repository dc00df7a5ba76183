//! Components by digest: the bytes of versions to go back to, whatever became of their files.

use std::fs;
use std::path::PathBuf;

use super::error::HistoryWriteError;
use crate::files;
use crate::id::Digest;

/// How their files' names end.
const EXTENSION: &str = "wasm";

/// A directory of components. Every method blocks.
#[derive(Debug)]
pub(super) struct Components {
    pub(super) dir: PathBuf,
}

impl Components {
    /// Keeps `bytes` as the component of `digest`, unless it is there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<(), HistoryWriteError> {
        let path = self.path(digest);
        // A file of the right name is whole, since it was renamed; one of another length was
        // changed by somebody else.
        let is_there = fs::symlink_metadata(&path)
            .is_ok_and(|file| file.is_file() && file.len() == bytes.len() as u64);
        if is_there {
            return Ok(());
        }
        files::write(&path, &[bytes]).map_err(|source| HistoryWriteError::new(path, source))
    }

    /// Where the component of `digest` is, if it is kept.
    pub(super) fn find(&self, digest: &Digest) -> Option<PathBuf> {
        let path = self.path(digest);
        fs::symlink_metadata(&path).is_ok_and(|file| file.is_file()).then_some(path)
    }

    /// Removes the component of `digest`, if it is kept.
    pub(super) fn remove(&self, digest: &Digest) {
        // What cannot be removed is claimed again by the next process.
        let _ = fs::remove_file(self.path(digest));
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(format!("{digest}.{EXTENSION}"))
    }
}
