//! What a supervisor writes down about its handler, and finds again at the next start.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio_util::task::TaskTracker;

use super::task::milliseconds;
use crate::artifact::{Candidate, Source};
use crate::error::{StageError, chain};
use crate::events::StateOutcome;
use crate::history::{HandlerHistory, HistoryStore, KEPT, Outcome, Record};
use crate::id::{Digest, GenerationNumber, HandlerName};

/// See the [module](self). Cheap to clone; all clones are one book.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    handler: HandlerName,
    /// Read when it is first needed: with thousands of handlers most are never called.
    history: Arc<OnceLock<Mutex<HandlerHistory>>>,
    /// Without one, everything is forgotten with the process.
    store: Option<HistoryStore>,
    /// Looked for when the first one is kept.
    kept: Arc<Mutex<Option<Kept>>>,
    /// Components that are being written.
    keeping: TaskTracker,
}

/// The components kept of one handler, latest last, with their sizes in bytes.
#[derive(Debug, Default)]
struct Kept(VecDeque<(Digest, u64)>);

/// Most bytes of the components kept of one handler. The latest two stay whatever their size: the
/// one to boot, and the one before, should it be wanted back.
const KEPT_BYTES: u64 = 128 << 20;
const ALWAYS_KEPT: usize = 2;

impl Kept {
    /// Those of `digests`, oldest first, that an earlier process has left.
    fn found(store: &HistoryStore, digests: Vec<Digest>) -> Self {
        let mut kept = Self::default();
        for digest in digests {
            if store.claim(&digest) {
                let file = store.component(&digest).and_then(|path| fs::metadata(path).ok());
                kept.push(store, digest, file.map_or(0, |file| file.len()));
            }
        }
        kept
    }

    fn keep(&mut self, store: &HistoryStore, handler: &HandlerName, candidate: &Candidate) {
        let Ok(bytes) = candidate.bytes() else {
            // Its file has changed since. The version before stays the one to boot.
            return tracing::debug!(%handler, "the confirmed component was not kept");
        };
        match store.keep(&candidate.digest, &bytes) {
            Ok(()) => self.push(store, candidate.digest, bytes.len() as u64),
            Err(error) => tracing::warn!(%handler, %error, "the confirmed component was not kept"),
        }
    }

    /// `digest` is kept once more: it is the latest now, and the oldest may go.
    fn push(&mut self, store: &HistoryStore, digest: Digest, bytes: u64) {
        let again = self.0.iter().position(|(it, _)| *it == digest);
        let again = again.and_then(|at| self.0.remove(at));
        self.0.push_back((digest, bytes));
        again.into_iter().for_each(|(gone, _)| store.release(&gone));
        while self.0.len() > KEPT || self.0.len() > ALWAYS_KEPT && self.bytes() > KEPT_BYTES {
            self.0.pop_front().into_iter().for_each(|(gone, _)| store.release(&gone));
        }
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// A publication, as it is written down.
pub(super) struct Published<'a> {
    pub(super) generation: GenerationNumber,
    pub(super) digest: Digest,
    pub(super) cause: &'a str,
    pub(super) build: Option<Duration>,
    pub(super) compile: Duration,
    pub(super) total: Duration,
    pub(super) pause: Duration,
    pub(super) state: StateOutcome,
    /// Whether it is the first version of one of very many: the same after each start, and written
    /// with the next thing that differs.
    pub(super) is_lazy: bool,
}

impl Book {
    /// The book of `handler`, as far as `store` has it.
    pub(crate) fn open(handler: HandlerName, store: Option<HistoryStore>) -> Self {
        let (history, kept, keeping) = (Arc::default(), Arc::default(), TaskTracker::new());
        Self { handler, history, store, kept, keeping }
    }

    /// What is written in it.
    pub(crate) fn history(&self) -> HandlerHistory {
        self.with(|history| history.clone())
    }

    /// The number after the last one that was given out.
    pub(super) fn next_number(&self) -> GenerationNumber {
        let last = self.with(|history| history.last_number());
        last.map_or(GenerationNumber::FIRST, GenerationNumber::next)
    }

    /// Whether the bytes of `digest` were taken back, so that they do not come by themselves.
    pub(super) fn is_refused(&self, digest: Digest) -> bool {
        self.with(|history| history.is_refused(&digest))
    }

    /// The last version that proved itself, if its component was kept.
    pub(super) fn to_boot(&self) -> Option<(Digest, Source)> {
        let digest = self.with(|history| history.confirmed().and_then(|record| record.digest))?;
        Some((digest, self.component(digest)?))
    }

    /// What generation `number` ran, if it was published.
    pub(super) fn digest_of(&self, number: GenerationNumber) -> Option<Digest> {
        self.with(|history| {
            let record = history.find(number).filter(|record| record.outcome.was_published());
            record.and_then(|record| record.digest)
        })
    }

    /// What served before `active`, latest first, without what was taken back.
    pub(super) fn before(&self, active: Digest) -> Vec<Digest> {
        let mut seen = BTreeSet::new();
        self.with(|history| {
            let good = history.records().iter().filter(|record| record.outcome.is_good());
            let digests = good.filter_map(|record| record.digest);
            let wanted = digests.filter(|it| *it != active && !history.is_refused(it));
            wanted.filter(|digest| seen.insert(*digest)).collect()
        })
    }

    /// The component of `digest`, if it was kept.
    pub(super) fn component(&self, digest: Digest) -> Option<Source> {
        Some(Source::File(self.store.as_ref()?.component(&digest)?))
    }

    pub(super) fn published(&self, published: Published<'_>) {
        let record = Record {
            generation: published.generation,
            digest: Some(published.digest),
            cause: published.cause.to_owned(),
            time: SystemTime::now(),
            build_ms: published.build.map(milliseconds),
            compile_ms: Some(milliseconds(published.compile)),
            total_ms: Some(milliseconds(published.total)),
            pause_ms: Some(milliseconds(published.pause)),
            state: published.state,
            outcome: Outcome::Published,
        };
        self.change(!published.is_lazy, |history| history.add(record));
    }

    pub(super) fn rejected(
        &self,
        generation: GenerationNumber,
        digest: Option<Digest>,
        cause: &str,
        error: &StageError,
    ) {
        let outcome = Outcome::Rejected { stage: error.stage(), error: chain(error) };
        let record = Record {
            generation,
            digest,
            cause: cause.to_owned(),
            time: SystemTime::now(),
            build_ms: None,
            compile_ms: None,
            total_ms: None,
            pause_ms: None,
            state: StateOutcome::None,
            outcome,
        };
        self.change(true, |history| history.add(record));
    }

    /// Whether `generation` is one that proved itself.
    pub(super) fn is_confirmed(&self, generation: GenerationNumber) -> bool {
        let is_good = |record: &Record| record.outcome == Outcome::Confirmed;
        self.with(|history| history.find(generation).is_some_and(is_good))
    }

    /// `generation` is the version to boot; `candidate` is what it runs, and is kept for that. Without
    /// one there is nothing to boot but what comes anyway. Returns whether it was not confirmed before.
    pub(super) fn confirmed(
        &self,
        generation: GenerationNumber,
        candidate: Option<Candidate>,
    ) -> bool {
        if self.is_confirmed(generation) {
            return false;
        }
        self.change(candidate.is_some(), |history| {
            history.set_outcome(generation, Outcome::Confirmed);
        });
        if let Some(candidate) = candidate {
            self.keep(candidate);
        }
        true
    }

    /// Keeps the component `candidate` for later processes, aside.
    pub(super) fn keep(&self, candidate: Candidate) {
        let Some(store) = &self.store else { return };
        let (store, kept) = (store.clone(), Arc::clone(&self.kept));
        // Oldest first, so that what an earlier process kept goes before what this one does. Those
        // that were taken back are kept, too: somebody may want one by its number.
        let before = self.with(|history| {
            let records = history.records().iter().rev();
            let published = records.filter(|record| record.outcome.was_published());
            published.filter_map(|record| record.digest).collect::<Vec<_>>()
        });
        let handler = self.handler.clone();
        self.keeping.spawn_blocking(move || {
            // Digests are pushed and popped whole, so a panic elsewhere leaves the queue sound.
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = kept.get_or_insert_with(|| Kept::found(&store, before));
            kept.keep(&store, &handler, &candidate);
        });
    }

    pub(super) fn rolled_back(&self, generation: GenerationNumber, reason: &str) {
        let outcome = Outcome::RolledBack { reason: reason.to_owned() };
        self.change(true, |history| {
            history.set_outcome(generation, outcome);
        });
    }

    /// Ready when what was written before, and the component of what was confirmed, is on the disk.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same.
    pub(super) async fn flush(&self) {
        let Some(store) = &self.store else { return };
        // Waited for once; those that begin meanwhile are the next flush's.
        self.keeping.close();
        self.keeping.wait().await;
        self.keeping.reopen();
        if let Err(error) = store.flush().await {
            tracing::warn!(handler = %self.handler, %error, "the history was not written");
        }
    }

    /// Changes the history, and its file unless that can wait for the next change.
    fn change(&self, is_urgent: bool, change: impl FnOnce(&mut HandlerHistory)) {
        self.with(|history| {
            change(history);
            if let Some(store) = self.store.as_ref().filter(|_| is_urgent) {
                store.save(&self.handler, history);
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut HandlerHistory) -> T) -> T {
        let history = self.history.get_or_init(|| {
            // A small file, once for each handler that is used.
            Mutex::new(
                self.store.as_ref().map(|store| store.load(&self.handler)).unwrap_or_default(),
            )
        });
        // Records are replaced whole, so a panic elsewhere leaves the history sound.
        look(&mut history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
