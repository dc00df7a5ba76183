//! `HistoryStore`: histories and components in a directory, for the next start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::HandlerHistory;
use super::components::Components;
use super::directory::{make_private, sweep};
use super::error::{HistoryUnavailable, HistoryWriteError};
use super::writer::Writer;
use crate::files::{self, Found};
use crate::id::{Digest, HandlerName};

/// Largest file that is read as a history. Fifty versions with a page of text each, every character of
/// it escaped, are some 5 MiB.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A directory of histories and components. Cheap to clone; what is queued is written after the
/// last clone is gone too.
///
/// One process at a time uses a directory: of two, the last to save wins, and each would release the
/// other's components.
#[derive(Debug, Clone)]
pub struct HistoryStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    writer: Writer,
    components: Components,
    /// How often each component is kept by this process.
    claims: Mutex<BTreeMap<Digest, usize>>,
}

impl HistoryStore {
    /// Opens the store in `dir`, which is made if it is missing. Blocks.
    ///
    /// # Errors
    ///
    /// [`HistoryUnavailable`] when the directory cannot be used; the host works on without.
    pub fn open(dir: &Path) -> Result<Self, HistoryUnavailable> {
        // Without a trailing slash, behind which a symbolic link would be followed.
        let dir: PathBuf = dir.components().collect();
        let (histories, components) = (dir.join("handlers"), dir.join("components"));
        make_private(&dir)?;
        for folder in [&histories, &components] {
            make_private(folder)?;
            sweep(folder, SystemTime::now());
        }
        let writer = Writer::start(histories)
            .map_err(|source| HistoryUnavailable::Create { dir, source })?;
        let components = Components { dir: components };
        let inner = Inner { writer, components, claims: Mutex::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The history of `handler` as it was last written; empty when there is none, or none that can
    /// be read. One that is damaged is set aside under another name. Blocks.
    #[must_use]
    pub fn load(&self, handler: &HandlerName) -> HandlerHistory {
        let path = self.inner.writer.path(handler);
        let error = match read(&path) {
            Ok(history) => return history,
            Err(Unread::Damaged(what)) => {
                set_aside(&path);
                what
            }
            Err(Unread::Failed(error)) => error.to_string(),
        };
        let path = path.display();
        tracing::warn!(%handler, error, %path, "the history was not read and begins anew");
        HandlerHistory::new()
    }

    /// Queues `history` to be written soon, in place of an earlier one that waits. Never waits for
    /// the disk.
    pub fn save(&self, handler: &HandlerName, history: &HandlerHistory) {
        self.inner.writer.save(handler, history.clone());
    }

    /// Ready when everything that was saved before is on the disk.
    ///
    /// # Errors
    ///
    /// The first failure since the last flush. What could not be written is tried again with the
    /// next save or flush.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same; a failure then comes to nobody but the log.
    pub async fn flush(&self) -> Result<(), HistoryWriteError> {
        self.inner.writer.flush().await
    }

    /// Keeps the `bytes` of the component `digest`, unless they are there, until as many
    /// [releases](Self::release) as calls of this by this process. Blocks.
    ///
    /// # Errors
    ///
    /// [`HistoryWriteError`] when they cannot be written; nothing of them is left.
    pub fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<(), HistoryWriteError> {
        self.inner.components.keep(digest, bytes)?;
        *self.claims().entry(*digest).or_default() += 1;
        Ok(())
    }

    /// [`keep`](Self::keep) of a component that an earlier process may have left; returns whether it
    /// is there. Blocks.
    #[must_use]
    pub fn claim(&self, digest: &Digest) -> bool {
        let is_there = self.component(digest).is_some();
        if is_there {
            *self.claims().entry(*digest).or_default() += 1;
        }
        is_there
    }

    /// Takes one [`keep`](Self::keep) or [`claim`](Self::claim) back; the last one removes the file.
    /// Blocks.
    pub fn release(&self, digest: &Digest) {
        let mut claims = self.claims();
        let Some(n) = claims.get_mut(digest) else { return };
        *n -= 1;
        if *n == 0 {
            claims.remove(digest);
            self.inner.components.remove(digest);
        }
    }

    fn claims(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        // Counts are changed in one step, so a panic elsewhere leaves them sound.
        self.inner.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file with the component `digest`, if it is kept. Whoever reads it checks its digest, as
    /// with any other file. Blocks.
    #[must_use]
    pub fn component(&self, digest: &Digest) -> Option<PathBuf> {
        self.inner.components.find(digest)
    }
}

/// Why a history was not read.
enum Unread {
    /// What is there is no history, in words.
    Damaged(String),
    /// It may be one, and cannot be read now.
    Failed(io::Error),
}

/// The history in the file at `path`; an empty one where there is no file.
fn read(path: &Path) -> Result<HandlerHistory, Unread> {
    let (file, metadata) = match files::open(path).map_err(Unread::Failed)? {
        Found::Absent => return Ok(HandlerHistory::new()),
        Found::Other(what) => return Err(Unread::Damaged(what.to_owned())),
        Found::File { file, metadata } => (file, metadata),
    };
    if metadata.len() > MAX_BYTES {
        let what = format!("it has {} bytes, more than any history", metadata.len());
        return Err(Unread::Damaged(what));
    }
    let text = files::read(&file, &metadata, MAX_BYTES).map_err(Unread::Failed)?;
    let history = serde_json::from_slice::<HandlerHistory>(&text);
    let mut history = history.map_err(|error| Unread::Damaged(error.to_string()))?;
    history.shrink();
    Ok(history)
}

/// Gives a damaged history another name, for people to look at; an earlier one gives way.
fn set_aside(path: &Path) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    // Left where it is, it is found and told again, and written over by the next save.
    if let Err(error) = fs::rename(path, &aside) {
        let path = path.display();
        tracing::warn!(%error, %path, "the damaged history was not set aside");
    }
}
