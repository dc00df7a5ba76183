//! The single-writer loop of one handler: one operation after another, and what goes on between.
//!
//! How a candidate becomes the active generation is in [`bring`](super::bring).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::bring::Bring;
use super::mailbox::Mailbox;
use super::past::{Past, Version};
use super::trial::Trial;
use super::{Answer, Confirm, Guest, Mismatch, Operation, Orders, Request, Swap, SwapRequest};
use crate::artifact::{Candidate, Goal};
use crate::error::{Hint as _, Rejected, StageError, chain};
use crate::events::{EventBus, EventKind, Serving};
use crate::generation::{Generation, Loaded, Retirement};
use crate::handler::{Handler, Hold};
use crate::id::{Digest, GenerationNumber};

pub(super) struct Task<G: Guest> {
    pub(super) guest: Arc<G>,
    pub(super) handler: Arc<Handler<G::Ready>>,
    pub(super) bus: EventBus,
    pub(super) max_draining: usize,
    pub(super) mismatch: Mismatch,
    pub(super) mailbox: Arc<Mailbox<Operation>>,
    pub(super) stop: CancellationToken,
    pub(super) book: Book,
    /// Number of the next candidate.
    pub(super) number: GenerationNumber,
    pub(super) draining: JoinSet<()>,
    /// Optimized code for the active generation, on its way.
    pub(super) optimizing: Option<Optimizing<G::Ready>>,
    /// What the active generation was made of.
    pub(super) active: Option<Version>,
    pub(super) past: Past,
    /// The candidate that the running operation has staged, or is about to.
    pub(super) candidate: Option<(GenerationNumber, Digest)>,
    /// The active generation's probation.
    pub(super) trial: Option<Trial>,
    confirms: mpsc::Receiver<Confirm>,
    /// How many generations drain, for others to read.
    told_draining: Arc<AtomicUsize>,
    #[cfg(test)]
    pub(super) bug: Option<super::Bug>,
}

/// Pause between the publication of baseline code and the compilation of optimized code: a save
/// that follows soon would find the processors busy with code that it replaces. With 500 ms, edits
/// at a brisk pace took 60 ms longer each.
const OPTIMIZE_AFTER: Duration = Duration::from_secs(2);

/// Longest that callers are held while the way back from a bad generation is staged. With its code
/// in memory that takes 2 ms; where it has to be compiled, an answer at once is worth more, also
/// from the bad one.
const HOLD_FOR_WAY_BACK: Duration = Duration::from_millis(100);

/// See [`Task::optimizing`].
pub(super) type Optimizing<R> =
    Pin<Box<dyn Future<Output = Result<(Loaded<R>, Duration), StageError>> + Send>>;

/// Why a swap was not published.
enum Ended {
    Failed(StageError),
    /// What serves failed its trial meanwhile.
    Condemned,
}

impl From<StageError> for Ended {
    fn from(error: StageError) -> Self {
        Self::Failed(error)
    }
}

impl<G: Guest> Task<G> {
    pub(super) fn new(
        guest: G,
        handler: Arc<Handler<G::Ready>>,
        orders: Orders,
        mailbox: Arc<Mailbox<Operation>>,
        confirms: mpsc::Receiver<Confirm>,
        told_draining: Arc<AtomicUsize>,
    ) -> Self {
        let Orders { bus, max_draining, mismatch, book, stop } = orders;
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
            candidate: None,
            trial: None,
            confirms,
            told_draining,
            #[cfg(test)]
            bug: None,
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            self.tell_draining();
            let handler = Arc::clone(&self.handler);
            // Cancel-safe: `take`, `recv` and `join_next` take nothing unless they win, a verdict
            // stands, and a pause that loses only begins anew.
            let operation = tokio::select! {
                biased; // A stop comes before work that it would end at once.
                () = stop.cancelled() => break,
                () = condemned(&handler, self.trial.clone()) => {
                    self.take_back().await;
                    continue;
                }
                trial = over(self.trial.clone()) => {
                    self.judge(trial);
                    continue;
                }
                Some(told) = self.confirms.recv() => {
                    // Whoever asked may be gone.
                    let _ = told.send(self.confirm());
                    continue;
                }
                operation = self.mailbox.take() => operation,
                optimized = next(&mut self.optimizing) => {
                    self.optimizing = None;
                    self.optimized(optimized);
                    continue;
                }
                Some(drained) = self.draining.join_next() => {
                    log_panic(drained);
                    continue;
                }
                () = pause(self.guest.tidy_every()) => {
                    self.tidy();
                    continue;
                }
            };
            let Operation { request, answer } = operation;
            let outcome = match request {
                Request::Swap(request) => self.swap_when_wanted(request, &stop).await,
                Request::Rollback { to, cause } => self.roll_back(to, &cause, &stop, None).await,
            };
            // Before the answer, so that whoever hears of it finds it.
            self.tell_draining();
            // The caller may have gone, which cancels nothing.
            let _ = answer.send(outcome);
        }
        self.shut_down().await;
    }

    /// A lazy request waits for the first call, and is tried again for the next one when it was
    /// refused: its file may have been mended.
    async fn swap_when_wanted(&mut self, request: SwapRequest, stop: &CancellationToken) -> Answer {
        let mut outcome = None;
        while request.is_lazy && self.handler.serving().is_none() {
            // Cancel-safe: nothing is taken from either.
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.mailbox.waiting() => {
                    return outcome.unwrap_or(Ok(Swap::Superseded));
                }
                () = self.handler.active().wanted() => {}
            }
            let attempt = self.swap(request.clone(), stop).await;
            if attempt.is_ok() {
                return attempt;
            }
            self.handler.active().refuse_waiting();
            outcome = Some(attempt);
        }
        match outcome {
            Some(outcome) => outcome,
            None => self.swap(request, stop).await,
        }
    }

    async fn swap(&mut self, request: SwapRequest, stop: &CancellationToken) -> Answer {
        loop {
            let request = request.clone();
            let cause = request.cause.clone();
            let ended = tokio::select! {
                biased; // What is done is told, also at the end.
                // Cancel-safe: a candidate that is dropped before its publication was never visible.
                ended = self.try_swap(request) => ended,
                () = stop.cancelled() => Err(StageError::ShuttingDown.into()),
            };
            match ended {
                Ok(swap) => return Ok(swap),
                Err(Ended::Failed(source)) => return Err(self.reject(source, &cause).await),
                // What serves is bad: that is mended first, in no time, and then this goes on.
                Err(Ended::Condemned) => self.take_back().await,
            }
        }
    }

    async fn try_swap(&mut self, request: SwapRequest) -> Result<Swap, Ended> {
        let SwapRequest { source, cause, since, build_time, is_fresh, is_lazy } = request;
        self.candidate = None;
        let opened = self.guest.open(source).await;
        if self.handler.serving().is_none() {
            self.boot(opened.as_ref().ok().map(|candidate| candidate.digest)).await;
        }
        let candidate = opened?;
        let digest = candidate.digest;
        if let Some(serving) = self.handler.serving().filter(|it| it.digest == digest) {
            self.emit(&cause, EventKind::Unchanged { digest });
            return Ok(Swap::Unchanged { serving });
        }
        if self.book.is_refused(digest) {
            self.candidate = Some((self.take_number(), digest));
            return Err(StageError::RolledBack { digest: digest.short() }.into());
        }
        let (is_proved, back_from, kept) = (false, None, None);
        let bring = Bring {
            candidate,
            cause,
            since,
            build_time,
            is_fresh,
            is_lazy,
            is_proved,
            back_from,
            kept,
        };
        let (handler, trial) = (Arc::clone(&self.handler), self.trial.clone());
        let in_turn = async {
            let prepared = self.prepare(bring).await?;
            Ok::<_, StageError>(self.has_place().await.then_some(prepared))
        };
        // Only up to here a verdict comes in between: state that moves is not left on its way.
        let prepared = tokio::select! {
            biased; // A bad generation is taken back first.
            () = condemned(&handler, trial) => return Err(Ended::Condemned),
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
        let Some((digest, source)) = self.book.to_boot() else { return };
        if Some(digest) == next {
            return;
        }
        let booted = async {
            let candidate = self.guest.open(source).await?;
            if candidate.digest != digest {
                let (digest, found) = (digest.short(), candidate.digest.short());
                return Err(StageError::Changed { digest, found });
            }
            let cause = "the last confirmed version, after a restart".to_owned();
            self.bring(Bring::again(candidate, cause)).await
        };
        if let Err(error) = booted.await {
            // The candidate decides alone, as without a history.
            let error = chain(&error);
            tracing::warn!(handler = %self.handler.name(), %error, "the confirmed version is lost");
        }
    }

    /// Goes back to generation `to`, or to the one before. Callers that are held already stay so
    /// until its publication, unless that takes long.
    async fn roll_back(
        &mut self,
        to: Option<GenerationNumber>,
        cause: &str,
        stop: &CancellationToken,
        hold: Option<Hold<'_, G::Ready>>,
    ) -> Answer {
        let ended = tokio::select! {
            biased; // As in `swap`.
            // Cancel-safe: as in `swap`.
            ended = self.try_roll_back(to, cause, hold) => ended,
            () = stop.cancelled() => Err(StageError::ShuttingDown),
        };
        match ended {
            Ok(swap) => Ok(swap),
            Err(source) => Err(self.reject(source, cause).await),
        }
    }

    async fn try_roll_back(
        &mut self,
        to: Option<GenerationNumber>,
        cause: &str,
        hold: Option<Hold<'_, G::Ready>>,
    ) -> Result<Swap, StageError> {
        let Some(from) = self.handler.serving() else {
            return Err(no_way_back("nothing is active that could be rolled back"));
        };
        let is_refused = |digest| self.book.is_refused(digest);
        let Some(version) = self.past.find(to, is_refused) else {
            return Err(no_way_back(&match to {
                Some(to) => format!("generation {to} is not among those that can be gone back to"),
                None => "there is no generation before the active one".to_owned(),
            }));
        };
        let (candidate, kept) = (version.candidate.clone(), version.snapshot.clone());
        if candidate.digest == from.digest {
            return Ok(Swap::Unchanged { serving: from });
        }
        let again = Bring::again(candidate, cause.to_owned());
        // Without waiting for a place among those that drain: the bytes that were taken back do not
        // come again, so this is no way around the bound.
        let back = Bring { back_from: Some(from.generation), kept, ..again };
        let (prepared, hold) = while_held(hold, HOLD_FOR_WAY_BACK, self.prepare(back)).await;
        let swap = self.finish(prepared?, hold).await?;
        self.book.rolled_back(from.generation, cause);
        Ok(swap)
    }

    /// The active generation failed its trial.
    async fn take_back(&mut self) {
        let Some(trial) = self.trial.take() else { return };
        let counts = self.handler.active().current().map(|it| it.tally().counts());
        let counts = counts.unwrap_or_default();
        let cause = format!(
            "{} of {} calls of generation {} failed",
            counts.failures, counts.calls, trial.generation
        );
        let (stop, handler) = (self.stop.clone(), Arc::clone(&self.handler));
        // Who calls now would only be one more that fails.
        let hold = handler.active().hold();
        // The calls that were its last straws may be answered.
        drop(trial);
        // A refusal is told as an event; what was active goes on, which is all that is left.
        let _ = self.roll_back(None, &cause, &stop, hold).await;
    }

    /// The time of the active generation's trial is over.
    fn judge(&mut self, trial: Trial) {
        let counts = self.handler.active().current().map(|it| it.tally().counts());
        if trial.is_passed(counts.unwrap_or_default()) {
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
        let candidate = self.active.as_ref().map(|version| version.candidate.clone());
        if self.trust(serving.generation, candidate) {
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

    /// The active generation counts as good from now on; returns whether it did not before.
    pub(super) fn trust(&mut self, generation: GenerationNumber, kept: Option<Candidate>) -> bool {
        self.past.forget_snapshot();
        self.book.confirmed(generation, kept)
    }

    fn tell_draining(&self) {
        // Ordering: a figure for people.
        self.told_draining.store(self.draining.len(), Ordering::Relaxed);
    }

    fn tidy(&self) {
        // Looked at without a call: that would count as a use of the code.
        if let Some(loaded) = self.handler.active().current().and_then(|active| active.peek()) {
            self.guest.tidy(loaded.ready());
        }
    }

    /// Compiles optimized code for what runs on baseline code. The candidate has its bytes still:
    /// the next build may have written over its file by then.
    pub(super) fn optimize(
        &self,
        candidate: Candidate,
        number: GenerationNumber,
        retirement: &Retirement,
    ) -> Optimizing<G::Ready> {
        let (guest, own) = (Arc::clone(&self.guest), retirement.of_code());
        Box::pin(async move {
            tokio::time::sleep(OPTIMIZE_AFTER).await;
            let staged = guest.restage(&candidate, number, own.clone(), Goal::Best).await?;
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
                    self.guest.retire(before.ready());
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
        let deadline = handler.config().drain;
        #[cfg(test)]
        let deadline = match self.bug {
            Some(super::Bug::DrainWithoutDeadline) => Duration::MAX,
            _ => deadline,
        };
        self.draining.spawn(drain(guest, handler, previous, deadline, bus));
    }

    /// Tells of a refusal, which is on the disk when this is ready.
    async fn reject(&mut self, source: StageError, cause: &str) -> Rejected {
        let (handler, serving) = (self.handler.name().clone(), self.handler.serving());
        // Neither is about a version.
        if !matches!(source, StageError::ShuttingDown | StageError::NoWayBack { .. }) {
            let (number, digest) = match self.candidate.take() {
                Some((number, digest)) => (number, Some(digest)),
                None => (self.take_number(), None),
            };
            self.book.rejected(number, digest, cause, &source);
        }
        self.emit(
            cause,
            EventKind::Rejected {
                stage: source.stage(),
                error: chain(&source),
                hints: source.hints(),
                serving,
            },
        );
        self.book.flush().await;
        Rejected { handler, serving, source }
    }

    pub(super) fn emit(&self, cause: &str, kind: EventKind) {
        self.bus.emit(Some(self.handler.name()), Some(cause), kind);
    }

    async fn shut_down(mut self) {
        // Dropping an operation answers its caller that the runtime is shutting down.
        drop(self.mailbox.close());
        self.confirms.close();
        self.optimizing = None;
        self.active = None;
        self.past.clear();
        if let Some(last) = self.handler.active().close() {
            self.drain_aside(last);
        }
        while let Some(drained) = self.draining.join_next().await {
            log_panic(drained);
        }
        self.book.flush().await;
    }
}

fn no_way_back(problem: &str) -> StageError {
    StageError::NoWayBack { problem: problem.to_owned() }
}

async fn drain<G: Guest>(
    guest: Arc<G>,
    handler: Arc<Handler<G::Ready>>,
    generation: Arc<Generation<G::Ready>>,
    deadline: Duration,
    bus: EventBus,
) {
    if let Some(loaded) = generation.peek() {
        guest.retire(loaded.ready());
    }
    let drained = generation.drain(deadline).await;
    bus.emit(
        Some(handler.name()),
        None,
        EventKind::Drained {
            generation: generation.serving().generation,
            cut: drained.cut,
            waited_ms: milliseconds(drained.waited),
        },
    );
    if let Some(loaded) = generation.peek() {
        // Bounded also where many instances each take their time; one of them always has its own.
        let bound = deadline.max(handler.config().hand_over);
        let _ = tokio::time::timeout(bound, guest.close(loaded.ready())).await;
    }
}

/// Waits until the generation on trial has failed too often, for ever without a trial.
/// Cancel-safe: the figures stay.
pub(super) async fn condemned<R>(handler: &Handler<R>, trial: Option<Trial>) {
    let active = handler.active().current();
    if let (Some(trial), Some(active)) = (trial, active) {
        loop {
            let counts = active.tally().counts();
            if trial.is_failed(counts) {
                return;
            }
            trial.goes_on(counts);
            active.tally().alarmed().await;
        }
    }
    std::future::pending().await
}

/// Does `work` while callers are held, though they are let go after `limit`.
async fn while_held<'a, R, T>(
    hold: Option<Hold<'a, R>>,
    limit: Duration,
    work: impl Future<Output = T>,
) -> (T, Option<Hold<'a, R>>) {
    let mut work = std::pin::pin!(work);
    if hold.is_some() {
        if let Ok(done) = tokio::time::timeout(limit, work.as_mut()).await {
            return (done, hold);
        }
        drop(hold);
    }
    (work.await, None)
}

/// Waits for the end of a trial's time, for ever without one.
async fn over(trial: Option<Trial>) -> Trial {
    match trial {
        Some(trial) => {
            tokio::time::sleep_until(trial.until).await;
            trial
        }
        None => std::future::pending().await,
    }
}

/// Waits for optimized code, for ever when none is on its way. Cancel-safe: it stays on its way.
async fn next<R>(
    optimizing: &mut Option<Optimizing<R>>,
) -> Result<(Loaded<R>, Duration), StageError> {
    match optimizing {
        Some(optimizing) => optimizing.await,
        None => std::future::pending().await,
    }
}

async fn pause(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

pub(super) fn log_panic(drained: Result<(), tokio::task::JoinError>) {
    if let Err(error) = drained {
        // A defect of wrt; the handler goes on, since the generation is closed already.
        tracing::error!(%error, "a drain ended abnormally");
    }
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    // Rounded to microseconds, which is what the clocks are good for.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
