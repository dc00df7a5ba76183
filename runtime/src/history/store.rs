//! `HistoryStore`: histories and components in a directory, for the next start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::HandlerHistory;
use super::components::{Components, Holds};
use super::directory::{make_private, sweep};
use super::error::{HistoryReadError, HistoryUnavailable, HistoryWriteError, NotKept};
use super::lock::{Lock, Taken};
use super::writer::Writer;
use crate::files::{self, Found};
use crate::id::{Digest, HandlerName};

/// Largest file that is read as a history. Fifty versions with a page of text each, every character of
/// it escaped, are some 5 MiB.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// Names under which damaged histories of one handler are kept. With all of them taken, the latest one
/// is replaced: somebody who has not looked at nine will not look at the tenth.
const MAX_DAMAGED: usize = 9;

/// The longest that anybody waits for a disk that does not answer: a refusal is told, and a shutdown
/// ends, all the same. A disk that works takes milliseconds, and a busy one a second.
pub(crate) const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// A directory of histories and components. Cheap to clone; what is queued is written after the
/// last clone is gone too.
///
/// One store at a time writes to a directory: a lock says which, and a second one is refused, or
/// [only reads](Self::reading).
#[derive(Debug, Clone)]
pub struct HistoryStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    lock: Arc<Lock>,
    writer: Writer,
    components: Components,
    /// How often each component is kept by this process.
    claims: Mutex<BTreeMap<Digest, usize>>,
    /// What is wrong with the history or the component of a handler now.
    troubles: Mutex<BTreeMap<HandlerName, Trouble>>,
    /// Why nothing is written at all.
    unavailable: Option<HistoryUnavailable>,
}

/// What of one handler is not on the disk.
#[derive(Debug, Default)]
struct Trouble {
    component: Option<NotKept>,
    /// The history could not be read, and not be set aside: it must not be written over.
    unreadable: Option<NotKept>,
}

/// The use of a store by somebody who writes. When the last one is gone, another process may have the
/// directory.
#[derive(Debug)]
pub(crate) struct Usage(HistoryStore);

impl Drop for Usage {
    fn drop(&mut self) {
        self.0.inner.writer.release();
    }
}

impl HistoryStore {
    /// Opens the store in `dir`, which is made if it is missing. Blocks; where another process has the
    /// directory, for a second, since that process may be about to end.
    ///
    /// # Errors
    ///
    /// [`HistoryUnavailable`] when the directory cannot be used; the host works on without.
    pub fn open(dir: &Path) -> Result<Self, HistoryUnavailable> {
        // Without a trailing slash, behind which a symbolic link would be followed.
        let dir: PathBuf = dir.components().collect();
        let (histories, components) = (dir.join("handlers"), dir.join("components"));
        make_private(&dir)?;
        let lock = Lock::take(&dir);
        let lock = lock.map_err(|Taken { holder }| {
            let dir = dir.clone();
            HistoryUnavailable::InUse { dir, holder }
        })?;
        for folder in [&histories, &components] {
            make_private(folder)?;
            if lock.is_exclusive() {
                sweep(folder);
            }
        }
        Self::start(&dir, lock, None)
    }

    /// The store in `dir`, of which nothing is ever changed, because of `problem`. A host that cannot
    /// write what becomes of its versions still starts with the ones that were confirmed.
    ///
    /// # Errors
    ///
    /// [`HistoryUnavailable::Create`] when the system has no thread left.
    pub fn reading(dir: &Path, problem: HistoryUnavailable) -> Result<Self, HistoryUnavailable> {
        Self::start(dir, Lock::nobody(), Some(problem))
    }

    fn start(
        dir: &Path,
        lock: Lock,
        unavailable: Option<HistoryUnavailable>,
    ) -> Result<Self, HistoryUnavailable> {
        let lock = Arc::new(lock);
        let writer = Writer::start(dir.join("handlers"), Arc::clone(&lock));
        let writer = writer.map_err(|source| {
            let dir = dir.to_owned();
            HistoryUnavailable::Create { dir, source }
        })?;
        let components = Components { dir: dir.join("components") };
        let (claims, troubles) = (Mutex::default(), Mutex::default());
        let inner = Inner { lock, writer, components, claims, troubles, unavailable };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Why nothing is written at all, if that is so.
    pub fn unavailable(&self) -> Option<&HistoryUnavailable> {
        self.inner.unavailable.as_ref()
    }

    /// Says that the store is written to until the result is dropped.
    pub(crate) fn usage(&self) -> Arc<Usage> {
        Arc::new(Usage(self.clone()))
    }

    /// Lets another process have the directory at once: what is saved from now on, or is queued, stays in
    /// memory. What is being written is waited for.
    pub(crate) fn release_directory(&self) {
        self.inner.lock.release();
    }

    /// The history of `handler` as it was last written; empty when there is none, or none that can
    /// be read. One that is damaged is set aside under another name. Blocks.
    ///
    /// # Errors
    ///
    /// [`HistoryReadError`] says why a history that is there begins anew.
    pub fn load(&self, handler: &HandlerName) -> Result<HandlerHistory, HistoryReadError> {
        let path = self.inner.writer.path(handler);
        let source = match read(&path) {
            Ok(history) => return Ok(history),
            Err(error) => error,
        };
        // A store that only reads leaves it as it is.
        let aside = self.inner.lock.while_held(|| set_aside(&path));
        let (aside, refusal) = match aside {
            Some(Ok(aside)) => (Some(aside), None),
            Some(Err(refusal)) => (None, Some(refusal)),
            None => (None, None),
        };
        let error = HistoryReadError { handler: handler.clone(), path, source, aside };
        if let Some(refusal) = refusal {
            tracing::debug!(%handler, error = %refusal, "the history was not set aside");
            self.troubles().entry(handler.clone()).or_default().unreadable =
                Some(NotKept::new(handler, &error));
        }
        Err(error)
    }

    /// Why what becomes of `handler` is not on the disk, as far as that was tried. Without waiting for
    /// the disk: [`flush`](Self::flush) before this.
    pub fn problem(&self, handler: &HandlerName) -> Option<NotKept> {
        if let Some(problem) = &self.inner.unavailable {
            return Some(NotKept::new(handler, problem));
        }
        let failed = self.inner.writer.failure(handler);
        let failed = failed.map(|error| NotKept::new(handler, &error));
        let troubles = self.troubles();
        let trouble = troubles.get(handler);
        let unreadable = trouble.and_then(|trouble| trouble.unreadable.clone());
        failed.or(unreadable).or_else(|| trouble?.component.clone())
    }

    /// Notes that the component of the confirmed version of `handler` is kept, or why it is not.
    pub(crate) fn note_component(&self, handler: &HandlerName, problem: Option<NotKept>) {
        let mut troubles = self.troubles();
        if problem.is_some() || troubles.contains_key(handler) {
            troubles.entry(handler.clone()).or_default().component = problem;
        }
    }

    /// Queues `history` to be written soon, in place of an earlier one that waits. Never waits for
    /// the disk.
    pub fn save(&self, handler: &HandlerName, history: &HandlerHistory) {
        let troubles = self.troubles();
        if troubles.get(handler).is_none_or(|trouble| trouble.unreadable.is_none()) {
            self.inner.writer.save(handler, history.clone());
        }
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
        self.keep_one(Holds::Component, digest, bytes)
    }

    /// [`keep`](Self::keep) of a component and of the settings that it runs with, both or neither.
    pub(crate) fn keep_release(
        &self,
        (digest, bytes): (&Digest, &[u8]),
        (settings, text): (&Digest, &[u8]),
    ) -> Result<(), HistoryWriteError> {
        self.keep(digest, bytes)?;
        let kept = self.keep_one(Holds::Settings, settings, text);
        kept.inspect_err(|_| self.release(digest))
    }

    fn keep_one(
        &self,
        holds: Holds,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<(), HistoryWriteError> {
        // Counted first: whoever releases the same meanwhile leaves the file.
        self.count(digest);
        let kept = self.inner.lock.while_held(|| self.inner.components.keep(holds, digest, bytes));
        kept.unwrap_or(Ok(())).inspect_err(|_| self.release(digest))
    }

    /// The text of the settings with this digest, if they are kept and can be read. Blocks.
    pub(crate) fn settings(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.inner.components.find(Holds::Settings, digest)?;
        let Found::File { file, metadata } = files::open(&path).ok()? else { return None };
        files::read(&file, &metadata, MAX_BYTES).ok()
    }

    /// [`claim`](Self::claim) of what was found, whether it is a component or settings.
    pub(crate) fn claim_what_is_there(&self, digest: &Digest) {
        self.count(digest);
    }

    /// [`keep`](Self::keep) of a component that an earlier process may have left; returns whether it
    /// is there. Blocks.
    #[must_use]
    pub fn claim(&self, digest: &Digest) -> bool {
        // As in `keep_one`.
        self.count(digest);
        let is_there = self.component(digest).is_some();
        if !is_there {
            self.release(digest);
        }
        is_there
    }

    fn count(&self, digest: &Digest) {
        *self.claims().entry(*digest).or_default() += 1;
    }

    /// Takes one [`keep`](Self::keep) or [`claim`](Self::claim) back; the last one removes the file.
    /// Blocks.
    pub fn release(&self, digest: &Digest) {
        let mut claims = self.claims();
        if take_one(&mut claims, digest) {
            self.inner.lock.while_held(|| self.inner.components.remove(digest));
        }
    }

    /// [`release`](Self::release) that leaves the file to whoever claims it next. Blocks.
    pub(crate) fn disclaim(&self, digest: &Digest) {
        take_one(&mut self.claims(), digest);
    }

    /// Keeps the disk from answering until the result is dropped.
    #[cfg(test)]
    pub(crate) fn standstill(&self) -> impl Drop {
        self.inner.lock.standstill()
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<HandlerName, Trouble>> {
        // Each field is stored whole, so a panic elsewhere leaves them sound.
        self.inner.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claims(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        // Counts are changed in one step, so a panic elsewhere leaves them sound.
        self.inner.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file with the component `digest`, if it is kept. Whoever reads it checks its digest, as
    /// with any other file. Blocks.
    #[must_use]
    pub fn component(&self, digest: &Digest) -> Option<PathBuf> {
        self.inner.components.find(Holds::Component, digest)
    }
}

/// Takes one claim to `digest` away; returns whether it was the last.
fn take_one(claims: &mut BTreeMap<Digest, usize>, digest: &Digest) -> bool {
    let Some(n) = claims.get_mut(digest) else { return false };
    *n -= 1;
    let is_last = *n == 0;
    if is_last {
        claims.remove(digest);
    }
    is_last
}

/// The history in the file at `path`; an empty one where there is no file.
///
/// # Errors
///
/// Why it cannot be read now, or is no history.
fn read(path: &Path) -> io::Result<HandlerHistory> {
    let damaged = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let (file, metadata) = match files::open(path)? {
        Found::Absent => return Ok(HandlerHistory::new()),
        Found::Other(what) => return Err(damaged(what.to_owned())),
        Found::File { file, metadata } => (file, metadata),
    };
    if metadata.len() > MAX_BYTES {
        return Err(damaged(format!("it has {} bytes, more than any history", metadata.len())));
    }
    let text = files::read(&file, &metadata, MAX_BYTES)?;
    let history = serde_json::from_slice::<HandlerHistory>(&text);
    let mut history = history.map_err(|error| damaged(error.to_string()))?;
    history.shrink();
    Ok(history)
}

/// Gives a history that cannot be read another name, for people to look at, and returns it.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = |n: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(".damaged");
        if n > 1 {
            name.push(format!("-{n}"));
        }
        PathBuf::from(name)
    };
    let is_free = |path: &PathBuf| fs::symlink_metadata(path).is_err();
    let aside = (1..MAX_DAMAGED).map(aside).find(is_free).unwrap_or_else(|| aside(MAX_DAMAGED));
    fs::rename(path, &aside)?;
    Ok(aside)
}
