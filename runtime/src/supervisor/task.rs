//! The single-writer loop of one handler.
//!
//! A swap, in order: read and hash · same digest? stop · stage (compile, check, try out) · wait
//! for a place among the draining generations · publish · drain the predecessor, aside.
//! Everything that can fail comes before the publication, which is one pointer store. A generation
//! that was published on baseline code gets optimized code later, in place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::mailbox::Mailbox;
use super::{Answer, Guest, Operation, Staged, Swap, SwapRequest};
use crate::artifact::{Candidate, Goal, Lease};
use crate::error::{Hint as _, Rejected, StageError, chain};
use crate::events::{EventBus, EventKind, StateOutcome, Tier};
use crate::generation::{Generation, Loaded, Reload, Retirement};
use crate::handler::Handler;
use crate::id::{Digest, GenerationNumber, HandlerName};

pub(super) struct Task<G: Guest> {
    pub(super) guest: Arc<G>,
    pub(super) handler: Arc<Handler<G::Ready>>,
    pub(super) bus: EventBus,
    /// Replaced generations that may drain at once; a further swap waits for one of them.
    pub(super) max_draining: usize,
    pub(super) mailbox: Arc<Mailbox<Operation>>,
    pub(super) stop: CancellationToken,
    /// Number of the next candidate.
    pub(super) number: GenerationNumber,
    pub(super) draining: JoinSet<()>,
    /// Optimized code for the active generation, on its way.
    pub(super) optimizing: Option<Optimizing<G::Ready>>,
    /// Keeps the code of the generation before the active one in memory.
    pub(super) way_back: Option<Lease>,
}

/// Pause between the publication of baseline code and the compilation of optimized code: a save
/// that follows soon would find the processors busy with code that it replaces. With 500 ms, edits
/// at a brisk pace took 60 ms longer each.
const OPTIMIZE_AFTER: Duration = Duration::from_secs(2);

/// See [`Task::optimizing`].
pub(super) type Optimizing<R> =
    Pin<Box<dyn Future<Output = Result<(Loaded<R>, Duration), StageError>> + Send>>;

/// Why an operation ended without a publication.
enum Ended {
    Answered(Swap),
    Failed(StageError),
}

impl From<StageError> for Ended {
    fn from(error: StageError) -> Self {
        Self::Failed(error)
    }
}

impl<G: Guest> Task<G> {
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            // Cancel-safe: `take` and `join_next` take nothing unless they win, and a pause that
            // loses only begins anew.
            let operation = tokio::select! {
                biased; // A stop comes before work that it would end at once.
                () = stop.cancelled() => break,
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
                    // Looked at without a call: that would count as a use of the code.
                    if let Some(active) = self.handler.active().current() {
                        active.with_code(|ready| self.guest.tidy(ready));
                    }
                    continue;
                }
            };
            let Operation { request, answer } = operation;
            let outcome = self.swap_when_wanted(request, &stop).await;
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
        let cause = request.cause.clone();
        let ended = tokio::select! {
            // Cancel-safe: a candidate that is dropped before its publication was never visible.
            ended = self.try_swap(request) => ended,
            () = stop.cancelled() => Err(Ended::Failed(StageError::ShuttingDown)),
        };
        match ended {
            Ok(swap) | Err(Ended::Answered(swap)) => Ok(swap),
            Err(Ended::Failed(source)) => Err(self.reject(source, &cause)),
        }
    }

    async fn try_swap(&mut self, request: SwapRequest) -> Result<Swap, Ended> {
        let SwapRequest { source, cause, since, build_time, .. } = request;
        let candidate = self.guest.open(source).await?;
        let digest = candidate.digest;
        if let Some(serving) = self.handler.serving().filter(|it| it.digest == digest) {
            self.emit(&cause, EventKind::Unchanged { digest });
            return Ok(Swap::Unchanged { serving });
        }
        let number = self.number;
        self.number = number.next();
        let retirement = Retirement::default();
        let own = retirement.of_code();
        let staged = self.guest.stage(&candidate, number, own.clone()).await?;
        self.emit(&cause, staged_event(digest, &staged, build_time));
        self.wait_for_place().await?;

        let is_baseline = staged.tier == Tier::Baseline;
        let loaded = Loaded::new(staged.ready, staged.lease, own);
        let reload = self.reload(candidate.clone().without_bytes(), number);
        let generation = Generation::new(number, digest, loaded, retirement.clone(), Some(reload));
        let swap = self.publish(generation, &cause, since);
        self.optimizing = is_baseline.then(|| self.optimize(candidate, number, &retirement));
        Ok(swap)
    }

    /// How the code of a generation is made again, by a call that finds it gone.
    fn reload(&self, candidate: Candidate, number: GenerationNumber) -> Reload<G::Ready> {
        let guest = Arc::clone(&self.guest);
        Box::new(move |retirement| {
            let (guest, candidate) = (Arc::clone(&guest), candidate.clone());
            Box::pin(async move { guest.restage(&candidate, number, retirement, Goal::Soon).await })
        })
    }

    /// Compiles optimized code for what runs on baseline code. The candidate has its bytes still:
    /// the next build may have written over its file by then.
    fn optimize(
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

    /// Waits until fewer than the allowed number of generations drain.
    async fn wait_for_place(&mut self) -> Result<(), Ended> {
        while self.draining.try_join_next().map(log_panic).is_some() {}
        while self.draining.len() >= self.max_draining {
            // Cancel-safe: see `run`.
            tokio::select! {
                Some(drained) = self.draining.join_next() => log_panic(drained),
                // The newest wins; what would only start to drain at once is not published.
                () = self.mailbox.waiting() => return Err(Ended::Answered(Swap::Superseded)),
            }
        }
        Ok(())
    }

    fn publish(&mut self, next: Arc<Generation<G::Ready>>, cause: &str, since: Instant) -> Swap {
        let serving = next.serving();
        let previous = self.handler.active().publish(next);
        let from = previous.as_ref().map(|previous| previous.serving().generation);
        self.emit(
            cause,
            EventKind::Swapped {
                generation: serving.generation,
                from,
                digest: serving.digest,
                total_ms: milliseconds(since.elapsed()),
                pause_ms: 0.0,
                state: StateOutcome::None,
            },
        );
        if let Some(previous) = previous {
            self.way_back = previous.spare();
            self.drain_aside(previous);
        }
        Swap::Swapped { serving, from }
    }

    fn drain_aside(&mut self, previous: Arc<Generation<G::Ready>>) {
        let (bus, name) = (self.bus.clone(), self.handler.name().clone());
        let deadline = self.handler.config().drain;
        self.draining.spawn(drain(previous, deadline, bus, name));
    }

    fn reject(&self, source: StageError, cause: &str) -> Rejected {
        let (handler, serving) = (self.handler.name().clone(), self.handler.serving());
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

    fn emit(&self, cause: &str, kind: EventKind) {
        self.bus.emit(Some(self.handler.name()), Some(cause), kind);
    }

    async fn shut_down(mut self) {
        // Dropping an operation answers its caller that the runtime is shutting down.
        drop(self.mailbox.close());
        self.optimizing = None;
        self.way_back = None;
        if let Some(last) = self.handler.active().clear() {
            self.drain_aside(last);
        }
        while let Some(drained) = self.draining.join_next().await {
            log_panic(drained);
        }
    }
}

async fn drain<R: Send + Sync + 'static>(
    generation: Arc<Generation<R>>,
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
}

fn staged_event<R>(digest: Digest, staged: &Staged<R>, build: Option<Duration>) -> EventKind {
    EventKind::Staged {
        digest,
        bytes: staged.bytes,
        build_ms: build.map(milliseconds),
        compile_ms: milliseconds(staged.compile_time),
        compiled_by: staged.compiled_by,
        tier: staged.tier,
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

fn log_panic(drained: Result<(), tokio::task::JoinError>) {
    if let Err(error) = drained {
        // A defect of wrt; the handler goes on, since the generation is closed already.
        tracing::error!(%error, "a drain ended abnormally");
    }
}

fn milliseconds(duration: Duration) -> f64 {
    // Rounded to microseconds, which is what the clocks are good for.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
