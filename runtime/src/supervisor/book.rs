//! What a supervisor writes down about its handler, and finds again at the next start.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::task::milliseconds;
use crate::artifact::{Candidate, Source};
use crate::error::{Hint as _, StageError, chain};
use crate::events::{EventKind, StateOutcome};
use crate::history::{
    FLUSH_PATIENCE, HandlerHistory, HistoryStore, KEPT, NotKept, Outcome, Record,
};
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
    notes: Arc<Notes>,
}

/// What the book knows of its way to the disk.
#[derive(Debug, Default)]
struct Notes {
    /// How often something was written into the book that belongs on the disk.
    changes: AtomicU64,
    /// The number of changes that a [flush](Book::flush) has waited for.
    flushed: AtomicU64,
    /// A confirmed component that is not on the disk yet, for a further attempt.
    unkept: Mutex<Option<Candidate>>,
    /// What was to be told since the last look.
    untold: Mutex<Vec<EventKind>>,
    /// The problem that was told last.
    told: Mutex<Option<NotKept>>,
    /// When what the disk refused is tried again.
    retry_at: Mutex<Option<Instant>>,
}

/// Pause between two attempts to write what a disk refused.
const RETRY_EVERY: Duration = Duration::from_secs(5);

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

    /// Keeps the component of `candidate`, or notes why it is not kept; returns whether another attempt
    /// may do better.
    fn keep(&mut self, store: &HistoryStore, handler: &HandlerName, candidate: &Candidate) -> bool {
        let (problem, may_pass) = match candidate.bytes() {
            Ok(bytes) => match store.keep(&candidate.digest, &bytes) {
                Ok(()) => (None, false),
                Err(error) => (Some(NotKept::new(handler, &error)), true),
            },
            // Where the component's file has changed since, the version before stays the one to boot.
            Err(error) => (Some(NotKept::new(handler, &error)), error.may_pass()),
        };
        if problem.is_none() {
            self.push(store, candidate.digest, candidate.size);
        }
        store.note_component(handler, problem);
        may_pass
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

/// A version to start with.
pub(super) struct Boot {
    pub(super) digest: Digest,
    pub(super) source: Source,
    /// What the handler's standing source held when this version was published.
    pub(super) standing: Option<Digest>,
}

/// A publication, as it is written down.
pub(super) struct Published<'a> {
    pub(super) generation: GenerationNumber,
    pub(super) digest: Digest,
    /// What the handler's standing source held then.
    pub(super) standing: Option<Digest>,
    pub(super) cause: &'a str,
    pub(super) build: Option<Duration>,
    pub(super) compile: Duration,
    pub(super) total: Duration,
    pub(super) pause: Duration,
    pub(super) state: StateOutcome,
    /// Why the state of now was left out, if it was.
    pub(super) state_reason: Option<String>,
    /// Whether it is the first version of one of very many: the same after each start, and written
    /// with the next thing that differs.
    pub(super) is_lazy: bool,
}

impl Book {
    /// The book of `handler`, as far as `store` has it.
    pub(crate) fn open(handler: HandlerName, store: Option<HistoryStore>) -> Self {
        let (history, kept, keeping) = (Arc::default(), Arc::default(), TaskTracker::new());
        // For good: it takes tasks all the same, and `wait` waits for those that there are. Opened and
        // closed again, it would leave one of two who wait at once behind.
        keeping.close();
        Self { handler, history, store, kept, keeping, notes: Arc::default() }
    }

    /// Looks at what is written in it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&HandlerHistory) -> T) -> T {
        self.with(|history| look(history))
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

    /// The last version that proved itself and whose component was kept: a full disk may have refused
    /// the one after it.
    pub(super) fn to_boot(&self) -> Option<Boot> {
        let store = self.store.as_ref()?;
        self.with(|history| {
            let records = history.records().iter();
            let mut confirmed = records.filter(|record| record.outcome == Outcome::Confirmed);
            confirmed.find_map(|record| {
                let digest = record.digest?;
                let source = Source::File(store.component(&digest)?);
                Some(Boot { digest, source, standing: record.standing })
            })
        })
    }

    pub(super) fn published(&self, published: Published<'_>) {
        let record = Record {
            generation: published.generation,
            digest: Some(published.digest),
            standing: published.standing,
            cause: published.cause.to_owned(),
            time: SystemTime::now(),
            build_ms: published.build.map(milliseconds),
            compile_ms: Some(milliseconds(published.compile)),
            total_ms: Some(milliseconds(published.total)),
            pause_ms: Some(milliseconds(published.pause)),
            state: published.state,
            state_reason: published.state_reason,
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
            standing: None,
            cause: cause.to_owned(),
            time: SystemTime::now(),
            build_ms: None,
            compile_ms: None,
            total_ms: None,
            pause_ms: None,
            state: StateOutcome::None,
            state_reason: None,
            outcome,
        };
        self.change(true, |history| history.add(record));
    }

    /// Whether `generation` is one that proved itself.
    pub(super) fn is_confirmed(&self, generation: GenerationNumber) -> bool {
        let is_good = |record: &Record| record.outcome == Outcome::Confirmed;
        self.with(|history| history.find(generation).is_some_and(is_good))
    }

    /// Whether no other version is known to be better than one with these bytes: they have proved
    /// themselves, or nothing has.
    pub(super) fn is_best_known(&self, digest: Digest) -> bool {
        self.with(|history| {
            let records = history.records().iter();
            let confirmed = records.filter(|record| record.outcome == Outcome::Confirmed);
            let mut proved = confirmed.map(|record| record.digest).peekable();
            proved.peek().is_none() || proved.any(|it| it == Some(digest))
        })
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

    /// Keeps the component of `candidate` for later processes, aside.
    pub(super) fn keep(&self, candidate: Candidate) {
        let Some(store) = self.store.clone() else { return };
        let (kept, notes) = (Arc::clone(&self.kept), Arc::clone(&self.notes));
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
            let may_pass = kept.keep(&store, &handler, &candidate);
            *lock(&notes.unkept) = may_pass.then_some(candidate);
        });
        // Last, so that a flush that knows of the change waits for the task.
        self.notes.changed();
    }

    /// The handler is gone. Its components stay for whoever adds it again, as if another process had left
    /// them.
    pub(super) fn let_go(&self) {
        let Some(store) = self.store.clone() else { return };
        let kept = Arc::clone(&self.kept);
        // Aside, behind whatever is being written.
        self.keeping.spawn_blocking(move || {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
            let digests = kept.into_iter().flat_map(|kept| kept.0);
            digests.for_each(|(digest, _)| store.disclaim(&digest));
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
        // Ordering: see `changed`.
        let changes = self.notes.changes.load(Ordering::Acquire);
        self.keeping.wait().await;
        // The problem of this handler is asked for below, and those of others by their books.
        let _ = store.flush().await;
        // Ordering: a figure of this book's own.
        self.notes.flushed.fetch_max(changes, Ordering::Relaxed);
        self.note_problem();
    }

    /// [`flush`](Self::flush), for at most [`FLUSH_PATIENCE`]: a disk that does not answer keeps nobody
    /// else from an answer. Returns why what becomes of the handler is not on the disk; that it is there
    /// later is noted to be told.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same.
    pub(super) async fn flush_in_time(&self) -> Option<NotKept> {
        if tokio::time::timeout(FLUSH_PATIENCE, self.flush()).await.is_ok() {
            return self.problem();
        }
        let problem = NotKept::unanswered(&self.handler);
        self.note(Some(&problem));
        Some(problem)
    }

    /// Why what becomes of the handler is not on the disk, as far as that was tried; `None` also where
    /// nothing is to be kept. To be asked after [`Book::flush`].
    pub(crate) fn problem(&self) -> Option<NotKept> {
        self.store.as_ref()?.problem(&self.handler)
    }

    /// Ready when something was written into the book that the disk has by now, or has refused; or when
    /// it is time to try once more what the disk refused. For ever where there is nothing to write.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same.
    pub(super) async fn settled(&self) {
        // Noted by a flush of somebody else.
        if !lock(&self.notes.untold).is_empty() {
            return;
        }
        if !self.notes.is_dirty() {
            if !self.has_refusal() {
                std::future::pending::<()>().await;
            }
            // Not a sleep of that length, which would begin anew with each other thing that happens.
            let retry_at = *lock(&self.notes.retry_at);
            tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)).await;
            let unkept = lock(&self.notes.unkept).take();
            if let Some(candidate) = unkept {
                self.keep(candidate);
            }
        }
        self.flush().await;
    }

    /// What people have to know of the disk, and were not told yet.
    pub(super) fn untold(&self) -> Vec<EventKind> {
        std::mem::take(&mut *lock(&self.notes.untold))
    }

    /// Whether the disk refused something that can be tried again.
    fn has_refusal(&self) -> bool {
        let is_open = |store: &HistoryStore| store.unavailable().is_none();
        self.store.as_ref().is_some_and(is_open) && self.problem().is_some()
    }

    /// Notes for the supervisor to tell that a problem came, or went.
    fn note_problem(&self) {
        // A store that cannot be written to at all is told once for all handlers, at the start.
        if self.store.as_ref().is_some_and(|store| store.unavailable().is_some()) {
            return;
        }
        let problem = self.problem();
        *lock(&self.notes.retry_at) = problem.is_some().then(|| Instant::now() + RETRY_EVERY);
        self.note(problem.as_ref());
    }

    /// Notes `problem` to be told, unless it was told last.
    fn note(&self, problem: Option<&NotKept>) {
        let mut told = lock(&self.notes.told);
        if told.as_ref() == problem {
            return;
        }
        let kind = match problem {
            Some(problem) => {
                EventKind::HistoryNotKept { error: chain(problem), hints: problem.hints() }
            }
            None => EventKind::HistoryKept,
        };
        lock(&self.notes.untold).push(kind);
        *told = problem.cloned();
    }

    /// Changes the history, and its file unless that can wait for the next change.
    fn change(&self, is_urgent: bool, change: impl FnOnce(&mut HandlerHistory)) {
        self.with(|history| {
            change(history);
            if let Some(store) = self.store.as_ref().filter(|_| is_urgent) {
                store.save(&self.handler, history);
                self.notes.changed();
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut HandlerHistory) -> T) -> T {
        let history = self.history.get_or_init(|| {
            // A small file, once for each handler that is used.
            let loaded = self.store.as_ref().map(|store| store.load(&self.handler));
            Mutex::new(match loaded {
                None => HandlerHistory::new(),
                Some(Ok(history)) => history,
                Some(Err(error)) => {
                    let (error, hints) = (chain(&error), error.hints());
                    lock(&self.notes.untold).push(EventKind::HistoryNotKept { error, hints });
                    self.notes.changed();
                    HandlerHistory::new()
                }
            })
        });
        // Records are replaced whole, so a panic elsewhere leaves the history sound.
        look(&mut history.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Notes {
    /// Something belongs on the disk that is not known to be there.
    fn changed(&self) {
        // Ordering: with the load in `flush`. A flush that counts this change finds what was queued
        // for it.
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn is_dirty(&self) -> bool {
        // Ordering: figures of the book's own.
        self.changes.load(Ordering::Relaxed) > self.flushed.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Values are replaced whole, so a panic elsewhere leaves them sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
