//! The single-writer loop of one handler: one operation after another, and what goes on between.
//!
//! How a candidate becomes the active generation is in [`bring`](super::bring).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::book::Book;
use super::bring::{Bring, Ended};
use super::mailbox::Mailbox;
use super::past::{Past, Version};
use super::trial::Trial;
use super::{
    Answer, Condition, Confirm, Guest, Mismatch, Operation, Orders, Request, Swap, SwapRequest,
};
use crate::artifact::{Candidate, Goal};
use crate::error::{Hint as _, Rejected, StageError, chain};
use crate::events::{EventBus, EventKind, Serving};
use crate::generation::{Generation, Loaded, Retirement};
use crate::handler::Handler;
use crate::id::{Digest, GenerationNumber, HandlerName};
use crate::snapshot::Snapshot;

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
    /// The state that the generation before the active one handed over.
    pub(super) handed_over: Option<Snapshot>,
    /// The active generation's probation.
    pub(super) trial: Option<Trial>,
    confirms: mpsc::Receiver<Confirm>,
    confirmed: Option<GenerationNumber>,
    condition: watch::Sender<Condition>,
    #[cfg(test)]
    pub(super) bug: Option<super::Bug>,
}

/// Pause between the publication of baseline code and the compilation of optimized code: a save
/// that follows soon would find the processors busy with code that it replaces. With 500 ms, edits
/// at a brisk pace took 60 ms longer each.
const OPTIMIZE_AFTER: Duration = Duration::from_secs(2);

/// See [`Task::optimizing`].
pub(super) type Optimizing<R> =
    Pin<Box<dyn Future<Output = Result<(Loaded<R>, Duration), StageError>> + Send>>;

impl<G: Guest> Task<G> {
    pub(super) fn new(
        guest: G,
        handler: Arc<Handler<G::Ready>>,
        orders: Orders,
        mailbox: Arc<Mailbox<Operation>>,
        confirms: mpsc::Receiver<Confirm>,
        condition: watch::Sender<Condition>,
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
            handed_over: None,
            trial: None,
            confirms,
            confirmed: None,
            condition,
            #[cfg(test)]
            bug: None,
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            self.tell_condition();
            let handler = Arc::clone(&self.handler);
            // Cancel-safe: `take`, `recv` and `join_next` take nothing unless they win, a verdict
            // stands, and a pause that loses only begins anew.
            let operation = tokio::select! {
                biased; // A stop comes before work that it would end at once.
                () = stop.cancelled() => break,
                () = condemned(&handler, self.trial) => {
                    self.take_back().await;
                    continue;
                }
                trial = over(self.trial) => {
                    self.judge(trial);
                    continue;
                }
                Some(told) = self.confirms.recv() => {
                    let confirmed = self.confirm();
                    self.tell_condition();
                    // Whoever asked may be gone.
                    let _ = told.send(confirmed);
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
                Request::Rollback { to, cause } => self.roll_back(to, &cause, &stop).await,
            };
            // Before the answer, so that whoever hears of it finds it.
            self.tell_condition();
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
                () = stop.cancelled() => Err(Ended::Failed(StageError::ShuttingDown)),
            };
            match ended {
                Ok(swap) | Err(Ended::Answered(swap)) => return Ok(swap),
                Err(Ended::Failed(source)) => {
                    let rejected = self.reject(source, &cause);
                    self.book.flush().await;
                    return Err(rejected);
                }
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
            return Err(StageError::RolledBack { digest: digest.short() }.into());
        }
        self.bring(Bring {
            candidate,
            cause,
            since,
            build_time,
            is_fresh,
            is_lazy,
            is_proved: false,
            back_from: None,
            kept: None,
        })
        .await
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
                return Err(StageError::Changed { digest, found }.into());
            }
            let cause = "the last confirmed version, after a restart".to_owned();
            let since = std::time::Instant::now();
            self.bring(Bring {
                candidate,
                cause,
                since,
                build_time: None,
                is_fresh: false,
                is_lazy: false,
                is_proved: true,
                back_from: None,
                kept: None,
            })
            .await
        };
        if let Err(Ended::Failed(error)) = booted.await {
            // The candidate decides alone, as without a history.
            let error = chain(&error);
            tracing::warn!(handler = %self.handler.name(), %error, "the confirmed version is lost");
        }
    }

    /// Goes back to generation `to`, or to the one before.
    async fn roll_back(
        &mut self,
        to: Option<GenerationNumber>,
        cause: &str,
        stop: &CancellationToken,
    ) -> Answer {
        let ended = tokio::select! {
            biased; // As in `swap`.
            // Cancel-safe: as in `swap`.
            ended = self.try_roll_back(to, cause) => ended,
            () = stop.cancelled() => Err(Ended::Failed(StageError::ShuttingDown)),
        };
        match ended {
            Ok(swap) | Err(Ended::Answered(swap)) => Ok(swap),
            Err(Ended::Failed(source)) => {
                let rejected = self.reject(source, cause);
                self.book.flush().await;
                Err(rejected)
            }
            // Nobody is judged during a roll-back.
            Err(Ended::Condemned) => Err(self.reject(StageError::ShuttingDown, cause)),
        }
    }

    async fn try_roll_back(
        &mut self,
        to: Option<GenerationNumber>,
        cause: &str,
    ) -> Result<Swap, Ended> {
        let Some(from) = self.handler.serving() else {
            return Err(no_way_back("nothing is active that could be rolled back").into());
        };
        let is_refused = |digest| self.book.is_refused(digest);
        let Some(version) = self.past.find(to, is_refused) else {
            let problem = match to {
                Some(to) => format!("generation {to} is not among those that can be gone back to"),
                None => "there is no generation before the active one".to_owned(),
            };
            return Err(no_way_back(&problem).into());
        };
        let (candidate, kept) = (version.candidate.clone(), version.snapshot.clone());
        if candidate.digest == from.digest {
            return Ok(Swap::Unchanged { serving: from });
        }
        let since = std::time::Instant::now();
        let (cause, reason) = (cause.to_owned(), cause.to_owned());
        let back_from = Some(from.generation);
        let swap = self
            .bring(Bring {
                candidate,
                cause,
                since,
                build_time: None,
                is_fresh: false,
                is_lazy: false,
                is_proved: true,
                back_from,
                kept,
            })
            .await?;
        self.book.rolled_back(from.generation, &reason);
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
        let stop = self.stop.clone();
        // A refusal is told as an event; what was active goes on, which is all that is left.
        let _ = self.roll_back(None, &cause, &stop).await;
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
        let was_on_trial = self.trial.take().is_some();
        let serving = self.handler.serving()?;
        self.past.forget_snapshot();
        let is_new = self.confirmed.replace(serving.generation) != Some(serving.generation);
        self.book
            .confirmed(serving.generation, self.active.as_ref().map(|it| it.candidate.clone()));
        if was_on_trial || is_new {
            let generation = serving.generation;
            self.bus.emit(Some(self.handler.name()), None, EventKind::Confirmed { generation });
        }
        Some(serving)
    }

    /// A number for a candidate: never used twice, not even over restarts.
    pub(super) fn take_number(&mut self) -> GenerationNumber {
        let number = self.number.max(self.book.next_number());
        self.number = number.next();
        number
    }

    /// The active generation counts as good without a trial.
    pub(super) fn trust(&mut self, generation: GenerationNumber, kept: Option<Candidate>) {
        self.confirmed = Some(generation);
        self.book.confirmed(generation, kept);
        self.past.forget_snapshot();
    }

    fn tell_condition(&self) {
        let condition = Condition { confirmed: self.confirmed, draining: self.draining.len() };
        self.condition.send_if_modified(|told| std::mem::replace(told, condition) != condition);
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
                active.replace_code(loaded);
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
        let (guest, bus) = (Arc::clone(&self.guest), self.bus.clone());
        let (name, deadline) = (self.handler.name().clone(), self.handler.config().drain);
        #[cfg(test)]
        let deadline = match self.bug {
            Some(super::Bug::DrainWithoutDeadline) => Duration::MAX,
            _ => deadline,
        };
        self.draining.spawn(drain(guest, previous, deadline, bus, name));
    }

    fn reject(&mut self, source: StageError, cause: &str) -> Rejected {
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
    generation: Arc<Generation<G::Ready>>,
    deadline: Duration,
    bus: EventBus,
    handler: HandlerName,
) {
    let drained = generation.drain(deadline).await;
    bus.emit(
        Some(&handler),
        None,
        EventKind::Drained {
            generation: generation.serving().generation,
            cut: drained.cut,
            waited_ms: milliseconds(drained.waited),
        },
    );
    if let Some(loaded) = generation.peek() {
        // Bounded also where many instances each take their time.
        let _ = tokio::time::timeout(deadline, guest.close(loaded.ready())).await;
    }
}

/// Waits until the generation on trial has failed too often, for ever without a trial.
/// Cancel-safe: the figures stay.
pub(super) async fn condemned<R>(handler: &Handler<R>, trial: Option<Trial>) {
    let active = handler.active().current();
    if let (Some(trial), Some(active)) = (trial, active) {
        while !trial.is_failed(active.tally().counts()) {
            active.tally().alarmed().await;
        }
        return;
    }
    std::future::pending().await
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
