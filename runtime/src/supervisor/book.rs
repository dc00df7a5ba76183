//! What a supervisor writes down about its handler, and finds again at the next start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::task::milliseconds;
use crate::artifact::{Release, Source};
use crate::config::Settings;
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
    /// Whether the handler begins with the version that was confirmed last.
    boots: bool,
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
    /// A confirmed release that is not on the disk yet, for a further attempt.
    unkept: Mutex<Option<Release>>,
    /// What was to be told since the last look.
    untold: Mutex<Vec<EventKind>>,
    /// The problem that was told last.
    told: Mutex<Option<NotKept>>,
    /// When what the disk refused is tried again.
    retry_at: Mutex<Option<Instant>>,
}

/// Pause between two attempts to write what a disk refused.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// The releases kept of one handler, latest last.
#[derive(Debug, Default)]
struct Kept(VecDeque<OneKept>);

/// What is kept of one release.
#[derive(Debug, Clone, Copy)]
struct OneKept {
    component: Digest,
    /// `None` for a release of before settings were kept.
    settings: Option<Digest>,
    /// Size of the component in bytes.
    bytes: u64,
}

/// The most bytes that the kept components of one handler take. The latest two components stay, whatever
/// their size: the host boots from the latest, and rolls back to the one before.
const KEPT_BYTES: u64 = 128 << 20;
const ALWAYS_KEPT: usize = 2;

impl Kept {
    /// Those of `earlier`, oldest first, that an earlier process has left.
    fn found(store: &HistoryStore, earlier: Vec<Earlier>) -> Self {
        let mut kept = Self::default();
        for Earlier { component, settings, .. } in earlier {
            // Looked for first: a claim that is given back would remove the file, which another version
            // may want.
            let is_there = store.component(&component).is_some()
                && settings.is_none_or(|settings| store.settings(&settings).is_some());
            let is_claimed = |digest: &Digest| store.claim_what_is_there(digest);
            if !is_there {
                continue;
            }
            is_claimed(&component);
            settings.iter().for_each(is_claimed);
            let file = store.component(&component).and_then(|path| fs::metadata(path).ok());
            let bytes = file.map_or(0, |file| file.len());
            kept.push(store, OneKept { component, settings, bytes });
        }
        kept
    }

    /// Keeps `release`, or notes why it is not kept; returns whether another attempt may do better.
    fn keep(&mut self, store: &HistoryStore, handler: &HandlerName, release: &Release) -> bool {
        let (candidate, settings) = (&release.candidate, &release.settings);
        let named = settings.digest();
        let (problem, may_pass) = match candidate.bytes() {
            Ok(bytes) => match store
                .keep_release((&candidate.digest, &bytes), (&named, &settings.to_json()))
            {
                Ok(()) => (None, false),
                Err(error) => (Some(NotKept::new(handler, &error)), true),
            },
            // Where the component's file has changed since, the version before stays the one to boot.
            Err(error) => (Some(NotKept::new(handler, &error)), error.may_pass()),
        };
        if problem.is_none() {
            let (component, bytes) = (candidate.digest, candidate.size);
            self.push(store, OneKept { component, settings: Some(named), bytes });
        }
        store.note_component(handler, problem);
        may_pass
    }

    /// `one` is kept once more: it is the latest now, and the oldest may go.
    fn push(&mut self, store: &HistoryStore, one: OneKept) {
        let is_same = |it: &OneKept| (it.component, it.settings) == (one.component, one.settings);
        let again = self.0.iter().position(is_same).and_then(|at| self.0.remove(at));
        self.0.push_back(one);
        again.into_iter().for_each(|gone| gone.release(store));
        while self.0.len() > KEPT || self.0.len() > ALWAYS_KEPT && self.bytes() > KEPT_BYTES {
            self.0.pop_front().into_iter().for_each(|gone| gone.release(store));
        }
    }

    /// Bytes of the components, each of which is one file whatever settings it runs with.
    fn bytes(&self) -> u64 {
        let files: BTreeMap<_, _> = self.0.iter().map(|it| (it.component, it.bytes)).collect();
        files.values().sum()
    }
}

impl OneKept {
    /// Takes what is kept back.
    fn release(self, store: &HistoryStore) {
        store.release(&self.component);
        self.settings.iter().for_each(|settings| store.release(settings));
    }

    /// Leaves what is kept to whoever claims it next.
    fn disclaim(self, store: &HistoryStore) {
        store.disclaim(&self.component);
        self.settings.iter().for_each(|settings| store.disclaim(settings));
    }
}

/// A version that was published, as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Earlier {
    pub(super) component: Digest,
    /// `None` where the record is of before settings were kept.
    pub(super) settings: Option<Digest>,
    release: Option<Digest>,
}

impl Earlier {
    /// What `record` says, if the version's component was read.
    fn of(record: &Record) -> Option<Self> {
        let Record { digest, settings, release, .. } = *record;
        Some(Self { component: digest?, settings, release })
    }

    /// Whether it is `release`, as far as it is written down.
    pub(super) fn is_of(&self, release: &Release) -> bool {
        match self.release {
            Some(digest) => digest == release.digest,
            None => self.component == release.candidate.digest,
        }
    }
}

/// A version to start with.
pub(super) struct Boot {
    pub(super) digest: Digest,
    pub(super) source: Source,
    pub(super) settings: Arc<Settings>,
    /// What the handler's standing source held when this version was published.
    pub(super) standing: Option<Digest>,
}

/// A publication, as it is written down.
pub(super) struct Published<'a> {
    pub(super) generation: GenerationNumber,
    pub(super) release: &'a Release,
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
    /// Where it `boots`, the handler begins with the version that was confirmed last.
    pub(crate) fn open(handler: HandlerName, store: Option<HistoryStore>, boots: bool) -> Self {
        let (history, kept, keeping) = (Arc::default(), Arc::default(), TaskTracker::new());
        // For good: it takes tasks all the same, and `wait` waits for those that there are. Opened and
        // closed again, it would leave one of two who wait at once behind.
        keeping.close();
        Self { handler, history, store, boots, kept, keeping, notes: Arc::default() }
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

    /// Whether `release` was taken back, so that it does not come by itself.
    pub(super) fn is_refused(&self, release: &Release) -> bool {
        self.with(|history| {
            history.is_refused(|it| Earlier::of(it).is_some_and(|it| it.is_of(release)))
        })
    }

    /// What generation `number` ran, if it was published.
    pub(super) fn version(&self, number: GenerationNumber) -> Option<Earlier> {
        self.with(|history| {
            let record = history.find(number).filter(|record| record.outcome.was_published());
            record.and_then(Earlier::of)
        })
    }

    /// What served before `active`, latest first, without what was taken back.
    pub(super) fn before(&self, active: Option<&Release>) -> Vec<Earlier> {
        let mut seen = BTreeSet::new();
        let is_active = |it: &Earlier| active.is_some_and(|active| it.is_of(active));
        self.with(|history| {
            let good = history.records().iter().filter(|record| record.outcome.is_good());
            let wanted = good.filter_map(Earlier::of).filter(|it| {
                !is_active(it) && !history.is_refused(|of| Earlier::of(of) == Some(*it))
            });
            wanted.filter(|it| seen.insert(*it)).collect()
        })
    }

    /// The settings with this digest, if they were kept; those that are `configured` for a version of
    /// before settings were kept. Secrets are those that are configured.
    pub(super) fn settings(
        &self,
        digest: Option<Digest>,
        configured: &Arc<Settings>,
    ) -> Option<Arc<Settings>> {
        match digest {
            None => Some(Arc::clone(configured)),
            Some(digest) if digest == configured.digest() => Some(Arc::clone(configured)),
            Some(digest) => {
                let text = self.store.as_ref()?.settings(&digest)?;
                let settings = Settings::from_json(&text, configured)?;
                // Somebody may have edited the file.
                let is_whole = settings.digest() == digest && settings.check().is_ok();
                is_whole.then(|| Arc::new(settings))
            }
        }
    }

    /// The component of `digest`, if it was kept.
    pub(super) fn component(&self, digest: Digest) -> Option<Source> {
        Some(Source::File(self.store.as_ref()?.component(&digest)?))
    }

    /// The last version that proved itself and whose component was kept: a full disk may have refused
    /// the one after it.
    ///
    /// One that ran as a singleton is none for a handler that is `configured` otherwise, and the other way
    /// round: the number of calls that run at once is the handler's.
    pub(super) fn to_boot(&self, configured: &Arc<Settings>) -> Option<Boot> {
        if !self.boots {
            return None;
        }
        self.with(|history| {
            let records = history.records().iter();
            let mut confirmed = records.filter(|record| record.outcome == Outcome::Confirmed);
            confirmed.find_map(|record| {
                let digest = record.digest?;
                let source = self.component(digest)?;
                let settings = self.settings(record.settings, configured)?;
                let fits = settings.is_single() == configured.is_single();
                fits.then_some(Boot { digest, source, settings, standing: record.standing })
            })
        })
    }

    /// Whether there is a version to boot, as far as that is known without reading its settings.
    pub(super) fn has_version_to_boot(&self) -> bool {
        self.boots
            && self.with(|history| {
                let records = history.records().iter();
                let mut confirmed = records.filter(|record| record.outcome == Outcome::Confirmed);
                confirmed.any(|record| record.digest.is_some_and(|it| self.component(it).is_some()))
            })
    }

    pub(super) fn published(&self, published: Published<'_>) {
        let record = Record {
            generation: published.generation,
            digest: Some(published.release.candidate.digest),
            release: Some(published.release.digest),
            settings: Some(published.release.settings.digest()),
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
        release: Option<&Release>,
        cause: &str,
        error: &StageError,
    ) {
        let outcome = Outcome::Rejected { stage: error.stage(), error: chain(error) };
        let record = Record {
            generation,
            digest: release.map(|release| release.candidate.digest),
            release: release.map(|release| release.digest),
            settings: release.map(|release| release.settings.digest()),
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

    /// Whether no other version is known to be better than `release`: it has proved itself, or nothing has.
    pub(super) fn is_best_known(&self, release: &Release) -> bool {
        self.with(|history| {
            let records = history.records().iter();
            let confirmed = records.filter(|record| record.outcome == Outcome::Confirmed);
            let mut proved = confirmed.filter_map(Earlier::of).peekable();
            proved.peek().is_none() || proved.any(|it| it.is_of(release))
        })
    }

    /// `generation` is the version to boot; `release` is what it runs, and is kept for that. Without
    /// one there is nothing to boot but what comes anyway. Returns whether it was not confirmed before.
    pub(super) fn confirmed(&self, generation: GenerationNumber, release: Option<Release>) -> bool {
        if self.is_confirmed(generation) {
            return false;
        }
        // Written when what it names is there: a start would pass it over otherwise.
        self.change(false, |history| {
            history.set_outcome(generation, Outcome::Confirmed);
        });
        if let Some(release) = release {
            self.keep(release);
        }
        true
    }

    /// Keeps `release` for later processes, aside.
    pub(super) fn keep(&self, release: Release) {
        let Some(store) = self.store.clone() else { return };
        let (kept, notes) = (Arc::clone(&self.kept), Arc::clone(&self.notes));
        let history = Arc::clone(&self.history);
        // Oldest first, so that what an earlier process kept goes before what this one does. Those
        // that were taken back are kept, too: somebody may want one by its number.
        let before = self.with(|history| {
            let records = history.records().iter().rev();
            let published = records.filter(|record| record.outcome.was_published());
            published.filter_map(Earlier::of).collect::<Vec<_>>()
        });
        let handler = self.handler.clone();
        self.keeping.spawn_blocking(move || {
            // Digests are pushed and popped whole, so a panic elsewhere leaves the queue sound.
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = kept.get_or_insert_with(|| Kept::found(&store, before));
            let may_pass = kept.keep(&store, &handler, &release);
            if let Some(history) = history.get() {
                // As in `with`.
                store.save(&handler, &history.lock().unwrap_or_else(PoisonError::into_inner));
            }
            *lock(&notes.unkept) = may_pass.then_some(release);
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
            kept.into_iter().flat_map(|kept| kept.0).for_each(|kept| kept.disclaim(&store));
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
            if let Some(release) = unkept {
                self.keep(release);
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
