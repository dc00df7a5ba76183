//! The single-writer loop of one handler: one operation after another, and what goes on between.
//!
//! How a candidate becomes the active generation is in [`bring`](super::bring).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::aside::{cut, drain};
use super::book::{Book, Boot};
use super::bring::Bring;
use super::ending::{End, Stop};
use super::lazy::{PutOff, is_end};
use super::mailbox::Mailbox;
use super::past::{Past, Version};
use super::protocol::Way;
use super::states::States;
use super::trial::Trial;
use super::waits::{condemned, next, over, until, wanted};
use super::way_back::no_way_back;
use super::{
    Answer, Confirm, Guest, Mismatch, Operation, Orders, Request, Swap, SwapRequest, Told,
};
use crate::artifact::{Candidate, Goal, Release};
use crate::error::{Hint as _, Panic, Rejected, StageError, caught, chain, shielded};
use crate::events::{EventBus, EventKind, Serving, StateOutcome};
use crate::generation::{Generation, Loaded, Retirement, Sample};
use crate::handler::{Handler, Obstacle};
use crate::history::Usage;
use crate::id::{Digest, GenerationNumber};

pub(super) struct Task<G: Guest> {
    pub(super) guest: Arc<G>,
    pub(super) handler: Arc<Handler<G::Ready>>,
    pub(super) bus: EventBus,
    pub(super) max_draining: usize,
    pub(super) mismatch: Mismatch,
    pub(super) mailbox: Arc<Mailbox<Operation>>,
    pub(super) stop: Stop,
    pub(super) book: Book,
    /// Number of the next candidate.
    pub(super) number: GenerationNumber,
    /// Generations that drain; each tells how many of its calls were cut.
    pub(super) draining: JoinSet<usize>,
    /// Optimized code for the active generation, on its way.
    pub(super) optimizing: Option<Optimizing<G::Ready>>,
    /// What the active generation was made of.
    pub(super) active: Option<Version>,
    pub(super) past: Past,
    pub(super) states: States,
    /// The candidate that the running operation has staged, or is about to.
    pub(super) candidate: Option<(GenerationNumber, Release)>,
    /// What the handler's standing source held when the supervisor heard of it last.
    pub(super) standing: Option<Digest>,
    /// What it held when the active generation was published.
    pub(super) published_over: Option<Digest>,
    /// The active generation's probation.
    pub(super) trial: Option<Trial>,
    /// What the generation on trial last was compared with.
    pub(super) baseline: Sample,
    /// A first component that waits for a call.
    pub(super) put_off: Option<PutOff>,
    /// When idle instances are looked after next.
    tidy_at: Option<Instant>,
    confirms: mpsc::Receiver<Confirm>,
    /// How things stand, for others to read.
    pub(super) told: Arc<Told>,
    /// Told of what the end of this cut.
    end: End,
    /// The history's directory is this process's as long as this is here.
    _usage: Option<Arc<Usage>>,
    #[cfg(test)]
    pub(super) bug: Option<super::Bug>,
}

/// Pause between the publication of baseline code and the compilation of optimized code: a save
/// that follows soon would find the processors busy with code that it replaces. With 500 ms, edits
/// at a brisk pace took 60 ms longer each.
const OPTIMIZE_AFTER: Duration = Duration::from_secs(2);

/// The cause of what a start brings by itself.
const AFTER_RESTART: &str = "the last confirmed version, after a restart";

/// See [`Task::optimizing`].
pub(super) type Optimizing<R> =
    Pin<Box<dyn Future<Output = Result<(Loaded<R>, Duration), StageError>> + Send>>;

/// Why a swap was not published.
enum Ended {
    Failed(StageError),
    /// What serves failed its trial meanwhile, for this reason.
    Condemned(String),
}

impl From<StageError> for Ended {
    fn from(error: StageError) -> Self {
        Self::Failed(error)
    }
}

impl From<Panic> for Ended {
    fn from(panic: Panic) -> Self {
        Self::Failed(panic.into())
    }
}

impl<G: Guest> Task<G> {
    pub(super) fn new(
        guest: G,
        handler: Arc<Handler<G::Ready>>,
        orders: Orders,
        mailbox: Arc<Mailbox<Operation>>,
        confirms: mpsc::Receiver<Confirm>,
        told: Arc<Told>,
        end: End,
    ) -> Self {
        let Orders { bus, max_draining, mismatch, book, usage, stop } = orders;
        Self {
            guest: Arc::new(guest),
            handler,
            bus,
            max_draining,
            mismatch,
            mailbox,
            stop,
            number: GenerationNumber::FIRST,
            book,
            draining: JoinSet::new(),
            optimizing: None,
            active: None,
            past: Past::default(),
            states: States::default(),
            candidate: None,
            standing: None,
            published_over: None,
            trial: None,
            baseline: Sample::default(),
            put_off: None,
            tidy_at: None,
            confirms,
            told,
            end,
            _usage: usage,
            #[cfg(test)]
            bug: None,
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            self.tell_standing();
            let handler = Arc::clone(&self.handler);
            let tidy_at = self.tidy_at();
            // Cancel-safe: `take`, `recv` and `join_next` take nothing unless they win, a verdict and
            // a wish stand, what the book has is written anyway, and a deadline is a deadline.
            let operation = tokio::select! {
                biased; // A stop comes before work that it would end at once.
                () = stop.handler.cancelled() => break,
                reason = condemned(&handler, self.trial.clone()) => {
                    self.take_back(reason).await;
                    continue;
                }
                trial = over(self.trial.clone()) => {
                    self.judge(trial).await;
                    continue;
                }
                Some(told) = self.confirms.recv() => {
                    // Whoever asked may be gone.
                    let _ = told.send(self.confirm());
                    continue;
                }
                operation = self.mailbox.take() => operation,
                () = wanted(&handler, self.put_off.is_some()) => {
                    self.bring_put_off(&stop).await;
                    continue;
                }
                () = self.book.settled() => {
                    self.tell_of_history();
                    continue;
                }
                optimized = next(&mut self.optimizing) => {
                    self.optimizing = None;
                    self.optimized(optimized);
                    continue;
                }
                Some(drained) = self.draining.join_next() => {
                    cut(drained);
                    continue;
                }
                () = until(tidy_at) => {
                    self.tidy();
                    continue;
                }
            };
            let Operation { request, answer } = operation;
            let outcome = match request {
                Request::Swap(request) if request.is_lazy && self.handler.serving().is_none() => {
                    self.put_off(request, answer);
                    continue;
                }
                Request::Swap(request) => self.swap_now(request, &stop).await,
                Request::Rollback(request) => self.rollback(request, &stop).await,
                Request::Boot => self.boot_or_obstruct().await,
            };
            // Before the answer, so that whoever hears of it finds it.
            self.tell_standing();
            // The caller may have gone, which cancels nothing.
            let _ = answer.send(outcome);
            self.settle_put_off();
        }
        self.shut_down().await;
    }

    pub(super) async fn swap(&mut self, request: SwapRequest, stop: &Stop) -> Answer {
        loop {
            let request = request.clone();
            let cause = request.cause.clone();
            let ended = tokio::select! {
                biased; // What is done is told, also at the end.
                // Cancel-safe: a candidate that is dropped before its publication was never visible.
                // A panic drops it in the same way.
                ended = caught(self.try_swap(request)) => ended,
                () = stop.handler.cancelled() => Err(stop.reason().into()),
            };
            match ended {
                Ok(swap) => return Ok(swap),
                Err(Ended::Failed(source)) => return Err(self.reject(source, &cause).await),
                // What serves is bad: that is mended first, in no time, and then this goes on.
                Err(Ended::Condemned(reason)) => self.take_back(reason).await,
            }
        }
    }

    async fn try_swap(&mut self, request: SwapRequest) -> Result<Swap, Ended> {
        let SwapRequest { source, settings, cause, since, build_time, is_fresh, .. } = request;
        let SwapRequest { is_lazy, is_again, is_other_kind, is_standing, .. } = request;
        self.candidate = None;
        self.handler.active().mend();
        let (has_source, has_settings) = (source.is_some(), settings.is_some());
        let settings = self.settings_for(settings, is_standing)?;
        let opened = match source {
            Some(source) => self.guest.open(source).await,
            None => {
                if self.handler.serving().is_none() {
                    self.boot(None).await;
                }
                self.component_that_serves()
            }
        };
        let opened = opened.map(|candidate| Release::new(candidate, settings));
        if self.handler.serving().is_none() {
            self.boot(opened.as_ref().ok().map(|release| release.digest)).await;
        }
        let mut release = opened?;
        let digest = release.candidate.digest;
        if is_standing {
            self.standing = Some(digest);
        }
        if let Some(serving) = self.serving_as(&release) {
            self.emit(&cause, EventKind::Unchanged { digest, passed_over_for: None });
            return Ok(Swap::Unchanged { serving });
        }
        if self.book.is_refused(&release) && !is_again {
            self.candidate = Some((self.take_number(), release));
            return Err(StageError::RolledBack { digest: digest.short() }.into());
        }
        if is_standing && self.handler.serving().is_some() && self.published_over == Some(digest) {
            // What was swapped in over the same bytes stays, and goes by the settings of now.
            release = Release::new(self.component_that_serves()?, release.settings);
            if let Some(serving) = self.serving_as(&release) {
                let number = serving.generation;
                let cause = format!("{cause}, and is what generation {number} was swapped in over");
                let passed_over_for = Some(serving);
                self.emit(&cause, EventKind::Unchanged { digest, passed_over_for });
                return Ok(Swap::Unchanged { serving });
            }
        }
        let (way, back_from, is_proved) = (Way::Forward, None, false);
        let bring = Bring {
            release,
            cause,
            since,
            build_time,
            is_fresh,
            is_other_kind,
            is_lazy,
            is_proved,
            way,
            back_from,
        };
        let (handler, trial) = (Arc::clone(&self.handler), self.trial.clone());
        let in_turn = async {
            let prepared = self.prepare(bring).await?;
            let has_place = self.has_place(has_source, has_settings).await;
            Ok::<_, StageError>(has_place.then_some(prepared))
        };
        // Only up to here a verdict comes in between: state that moves is not left on its way.
        let prepared = tokio::select! {
            biased; // A bad generation is taken back first.
            reason = condemned(&handler, trial) => return Err(Ended::Condemned(reason)),
            prepared = in_turn => prepared?,
        };
        match prepared {
            Some(prepared) => Ok(self.finish(prepared, None).await?),
            None => Ok(Swap::Superseded),
        }
    }

    /// Publishes the last version that proved itself before this start, unless that is what is to
    /// come anyway: a candidate that fails then finds something serving.
    async fn boot(&mut self, next: Option<Digest>) {
        let Some(boot) = self.book.to_boot(&self.handler.configured()) else { return };
        let Boot { digest, source, settings, standing } = boot;
        if next == Some(Release::name(digest, &settings)) {
            return;
        }
        // It stays what this version was swapped in over, not what the source holds now.
        self.standing = standing;
        let booted = async {
            let candidate = self.guest.open(source).await?;
            if candidate.digest != digest {
                let (digest, found) = (digest.short(), candidate.digest.short());
                return Err(StageError::Changed { digest, found });
            }
            let release = Release::new(candidate, settings);
            self.bring(Bring::again(release, AFTER_RESTART.to_owned())).await
        };
        if let Err(error) = caught(booted).await {
            // The candidate decides alone, as without a history.
            let kind = match next {
                None => self.rejected(&error),
                Some(_) => EventKind::Note {
                    message: format!(
                        "the version that was confirmed last is not served again, the handler's own \
                         component comes in its place: {}",
                        chain(&error)
                    ),
                },
            };
            self.emit(AFTER_RESTART, kind);
        }
    }

    /// [`boot_alone`](Self::boot_alone) whose failure ends the wait of those who call.
    async fn boot_or_obstruct(&mut self) -> Answer {
        let answer = self.boot_alone().await;
        if let Err(rejected) = &answer
            && self.put_off.is_none()
            && !is_end(rejected)
        {
            let active = self.handler.active();
            match active.obstacle() {
                // Why there is no candidate says more.
                Some(_) => active.give_up_mending(),
                None => active.obstruct(Obstacle::of(&rejected.source)),
            }
        }
        answer
    }

    /// Serves the last version that proved itself before this start, if nothing is active, without a
    /// candidate behind it.
    async fn boot_alone(&mut self) -> Answer {
        if let Some(serving) = self.handler.serving() {
            return Ok(Swap::Unchanged { serving });
        }
        self.boot(None).await;
        let handler = self.handler.name().clone();
        match self.handler.serving() {
            Some(serving) => {
                let state = StateOutcome::None;
                Ok(Swap::Swapped { serving, from: None, state })
            }
            // A version that could not be staged is told of already.
            None => {
                let source = no_way_back("no version was confirmed before this start");
                Err(Rejected { handler, serving: None, source })
            }
        }
    }

    /// The time of the active generation's trial is over.
    async fn judge(&mut self, trial: Trial) {
        let active = self.handler.active().current();
        let sample = active.map(|it| it.tally().sample()).unwrap_or_default();
        if let Some(reason) = trial.condemned_at_end(&sample) {
            self.take_back(reason).await;
        } else if trial.is_passed(&sample) {
            self.confirm();
        } else {
            // There was nothing to go back to. Somebody may still vouch for it.
            self.trial = None;
        }
    }

    /// The active generation has proved itself, or somebody says so.
    fn confirm(&mut self) -> Option<Serving> {
        self.trial = None;
        let serving = self.handler.serving()?;
        let candidate = self.active.as_mut().map(|version| {
            let release = version.release.clone();
            // From now on the book sees to the bytes.
            version.release = release.clone().with(Candidate::without_bytes);
            release
        });
        if self.book.confirmed(serving.generation, candidate) {
            let kind = EventKind::Confirmed { generation: serving.generation };
            self.bus.emit(Some(self.handler.name()), None, kind);
        }
        Some(serving)
    }

    /// A number for a candidate: never used twice, not even over restarts.
    pub(super) fn take_number(&mut self) -> GenerationNumber {
        let number = self.number.max(self.book.next_number());
        self.number = number.next();
        number
    }

    pub(super) fn tell_standing(&self) {
        // Ordering: figures for people.
        self.told.draining.store(self.draining.len(), Ordering::Relaxed);
        let on_trial = self.trial.as_ref().map_or(0, |trial| trial.generation.get());
        self.told.on_trial.store(on_trial, Ordering::Relaxed);
    }

    /// When idle instances are looked after next, if anything is active. Not a pause, which would begin
    /// anew with each other thing that happens.
    fn tidy_at(&mut self) -> Option<Instant> {
        let every = self.guest.tidy_every(&self.active.as_ref()?.release.settings)?;
        Some(*self.tidy_at.get_or_insert_with(|| Instant::now() + every))
    }

    fn tidy(&mut self) {
        self.tidy_at = None;
        // Looked at without a call: that would count as a use of the code.
        if let Some(loaded) = self.handler.active().current().and_then(|active| active.peek()) {
            shielded("the end of idle instances", || self.guest.tidy(loaded.ready()));
        }
    }

    /// Compiles optimized code for what runs on baseline code. The candidate has its bytes still:
    /// the next build may have written over its file by then.
    pub(super) fn optimize(
        &self,
        release: Release,
        number: GenerationNumber,
        retirement: &Retirement,
    ) -> Optimizing<G::Ready> {
        let (guest, own) = (Arc::clone(&self.guest), retirement.of_code());
        Box::pin(async move {
            tokio::time::sleep(OPTIMIZE_AFTER).await;
            let restaged = guest.restage(&release, number, own.clone(), Goal::Best);
            let staged = caught(restaged).await?;
            let took = staged.compile_time;
            Ok((Loaded::new(staged.ready, staged.lease, own), took))
        })
    }

    /// Goes on with optimized code. Only a publication changes what is active, and it forgets what
    /// was on its way for the generation before, so this belongs to the active one.
    fn optimized(&mut self, optimized: Result<(Loaded<G::Ready>, Duration), StageError>) {
        let Some(active) = self.handler.active().current() else { return };
        match optimized {
            Ok((loaded, took)) => {
                let before = active.peek();
                active.replace_code(loaded);
                if let Some(before) = before {
                    shielded("the end of idle instances", || self.guest.retire(before.ready()));
                }
                let generation = active.serving().generation;
                let kind = EventKind::Optimized { generation, compile_ms: milliseconds(took) };
                self.bus.emit(Some(self.handler.name()), None, kind);
            }
            Err(error) => {
                // Baseline code goes on serving, only slower.
                let error = chain(&error);
                tracing::warn!(handler = %self.handler.name(), %error, "no optimized code");
            }
        }
    }

    pub(super) fn drain_aside(&mut self, previous: Arc<Generation<G::Ready>>) {
        let (guest, bus, handler) =
            (Arc::clone(&self.guest), self.bus.clone(), Arc::clone(&self.handler));
        let deadline = handler.drain();
        #[cfg(test)]
        let deadline = match self.bug {
            Some(super::Bug::DrainWithoutDeadline) => Duration::MAX,
            _ => deadline,
        };
        self.draining.spawn(drain(guest, handler, previous, deadline, bus));
    }

    /// The event of a refusal.
    fn rejected(&self, source: &StageError) -> EventKind {
        EventKind::Rejected {
            stage: source.stage(),
            error: chain(source),
            hints: source.hints(),
            serving: self.handler.serving(),
        }
    }

    /// Tells of a refusal, which is on the disk when this is ready, unless the disk does not answer.
    pub(super) async fn reject(&mut self, source: StageError, cause: &str) -> Rejected {
        let (handler, serving) = (self.handler.name().clone(), self.handler.serving());
        // What says nothing about a version is not written down.
        if !source.is_of_the_host() {
            let (number, release) = match self.candidate.take() {
                Some((number, release)) => (number, Some(release)),
                None => (self.take_number(), None),
            };
            self.book.rejected(number, release.as_ref(), cause, &source);
        }
        // The end of the host is no news about a candidate; whoever asked for it is told by the answer.
        if !matches!(source, StageError::ShuttingDown | StageError::Removed) {
            self.emit(cause, self.rejected(&source));
        }
        // What is not on the disk by then is told next.
        let _ = self.book.flush_in_time().await;
        self.tell_of_history();
        Rejected { handler, serving, source }
    }

    /// Tells what is wrong with the way of the book to the disk, or is well again.
    fn tell_of_history(&self) {
        for kind in self.book.untold() {
            self.bus.emit(Some(self.handler.name()), None, kind);
        }
    }

    pub(super) fn emit(&self, cause: &str, kind: EventKind) {
        self.bus.emit(Some(self.handler.name()), Some(cause), kind);
    }

    async fn shut_down(mut self) {
        // Dropping an operation answers its caller with the reason of the stop.
        drop(self.mailbox.close());
        self.confirms.close();
        self.optimizing = None;
        self.active = None;
        self.past.clear();
        self.states.clear();
        if let Some(last) = self.handler.active().close() {
            self.drain_aside(last);
        }
        let mut n_cut = 0;
        while let Some(drained) = self.draining.join_next().await {
            n_cut += cut(drained);
        }
        self.end.cut_at_end(n_cut);
        // What is not on the disk by then is told next.
        let _ = self.book.flush_in_time().await;
        self.tell_of_history();
        if matches!(self.stop.reason(), StageError::Removed) {
            self.book.let_go();
            self.bus.emit(Some(self.handler.name()), None, EventKind::Removed);
        }
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    // Rounded to microseconds, which is what the clocks are good for.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
