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
use super::lazy::Lazy;
use super::mailbox::Mailbox;
use super::past::{Past, Version};
use super::protocol::Way;
use super::states::States;
use super::trial::Trial;
use super::{Answer, Confirm, Guest, Mismatch, Operation, Orders, Request, Swap, SwapRequest};
use crate::artifact::{Candidate, Goal};
use crate::error::{Hint as _, Rejected, StageError, chain};
use crate::events::{EventBus, EventKind, Serving};
use crate::generation::{Generation, Loaded, Retirement};
use crate::handler::Handler;
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
    pub(super) states: States,
    /// The candidate that the running operation has staged, or is about to.
    pub(super) candidate: Option<(GenerationNumber, Digest)>,
    /// The active generation's probation.
    pub(super) trial: Option<Trial>,
    confirms: mpsc::Receiver<Confirm>,
    /// How many generations drain, for others to read.
    told_draining: Arc<AtomicUsize>,
    /// What waits for a first call, for others to read.
    pub(super) lazy: Arc<Lazy>,
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
        lazy: Arc<Lazy>,
    ) -> Self {
        let Orders { bus, max_draining, mismatch, book, stop } = orders;
        let states = States::new(handler.config().max_state);
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
            states,
            candidate: None,
            trial: None,
            confirms,
            told_draining,
            lazy,
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
                Request::Rollback(request) => self.roll_back(request, &stop).await,
            };
            // Before the answer, so that whoever hears of it finds it.
            self.tell_draining();
            // The caller may have gone, which cancels nothing.
            let _ = answer.send(outcome);
        }
        self.shut_down().await;
    }

    pub(super) async fn swap(&mut self, request: SwapRequest, stop: &CancellationToken) -> Answer {
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
        let SwapRequest { source, cause, since, build_time, is_fresh, is_lazy, .. } = request;
        let SwapRequest { is_again, is_other_kind, .. } = request;
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
        if self.book.is_refused(digest) && !is_again {
            self.candidate = Some((self.take_number(), digest));
            return Err(StageError::RolledBack { digest: digest.short() }.into());
        }
        let (way, back_from, is_proved) = (Way::Forward, None, false);
        let bring = Bring {
            candidate,
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
        let deadline = handler.drain();
        #[cfg(test)]
        let deadline = match self.bug {
            Some(super::Bug::DrainWithoutDeadline) => Duration::MAX,
            _ => deadline,
        };
        self.draining.spawn(drain(guest, handler, previous, deadline, bus));
    }

    /// Tells of a refusal, which is on the disk when this is ready.
    pub(super) async fn reject(&mut self, source: StageError, cause: &str) -> Rejected {
        let (handler, serving) = (self.handler.name().clone(), self.handler.serving());
        // Neither is about a version.
        if !matches!(source, StageError::ShuttingDown | StageError::NoWayBack { .. }) {
            let (number, digest) = match self.candidate.take() {
                Some((number, digest)) => (number, Some(digest)),
                None => (self.take_number(), None),
            };
            self.book.rejected(number, digest, cause, &source);
        }
        // The end of the host is no news about a candidate; whoever asked for it is told by the answer.
        if !(matches!(source, StageError::ShuttingDown) && self.stop.is_cancelled()) {
            let (stage, error, hints) = (source.stage(), chain(&source), source.hints());
            self.emit(cause, EventKind::Rejected { stage, error, hints, serving });
        }
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
        self.states.clear();
        if let Some(last) = self.handler.active().close() {
            self.drain_aside(last);
        }
        while let Some(drained) = self.draining.join_next().await {
            log_panic(drained);
        }
        self.book.flush().await;
    }
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
