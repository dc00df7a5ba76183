//! Components and settings by digest: what versions to go back to ran, whatever became of their files.

use std::fs;
use std::path::PathBuf;

use super::error::HistoryWriteError;
use crate::files;
use crate::id::Digest;

/// What a file holds, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Component,
    Settings,
}

/// A directory of components and settings. Every method blocks.
#[derive(Debug)]
pub(super) struct Components {
    pub(super) dir: PathBuf,
}

impl Components {
    /// Keeps `bytes` as that with this digest, unless it is there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn keep(
        &self,
        holds: Holds,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<(), HistoryWriteError> {
        let path = self.path(holds, digest);
        // A file of the right name is whole, since it was renamed; one of another length was
        // changed by somebody else.
        let is_there = fs::symlink_metadata(&path)
            .is_ok_and(|file| file.is_file() && file.len() == bytes.len() as u64);
        if is_there {
            return Ok(());
        }
        files::write(&path, &[bytes]).map_err(|source| HistoryWriteError::new(path, source))
    }

    /// The path of the kept file with this digest, if the history keeps that file.
    pub(super) fn find(&self, holds: Holds, digest: &Digest) -> Option<PathBuf> {
        let path = self.path(holds, digest);
        fs::symlink_metadata(&path).is_ok_and(|file| file.is_file()).then_some(path)
    }

    /// Removes the kept file with this digest, if the history keeps that file.
    pub(super) fn remove(&self, digest: &Digest) {
        for holds in [Holds::Component, Holds::Settings] {
            // What cannot be removed is claimed again by the next process.
            let _ = fs::remove_file(self.path(holds, digest));
        }
    }

    fn path(&self, holds: Holds, digest: &Digest) -> PathBuf {
        let extension = match holds {
            Holds::Component => "wasm",
            Holds::Settings => "json",
        };
        self.dir.join(format!("{digest}.{extension}"))
    }
}
