//! Supervisors: one task for each handler, the only one that publishes its generations.
//!
//! The core is generic over [`Guest`], so that tests run it on fakes.

mod mailbox;
mod task;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use crate::artifact::Staged;
use crate::artifact::{Candidate, Goal, Source};
use crate::error::{Rejected, StageError};
use crate::events::{EventBus, Serving};
use crate::generation::Retirement;
use crate::handler::Handler;
use crate::id::{GenerationNumber, HandlerName};
use mailbox::{Mailbox, Put};

/// What the swap core needs to know about guests: how a candidate becomes ready to take calls.
pub(crate) trait Guest: Send + Sync + 'static {
    /// A candidate that is linked, checked, and able to take calls.
    type Ready: Send + Sync + 'static;

    /// Finds out what `source` holds.
    fn open(&self, source: Source) -> impl Future<Output = Result<Candidate, StageError>> + Send {
        Candidate::read(source)
    }

    /// Compiles, checks and tries out `candidate`. Nothing that it does is visible to calls.
    fn stage(
        &self,
        candidate: &Candidate,
        number: GenerationNumber,
        retirement: Retirement,
    ) -> impl Future<Output = Result<Staged<Self::Ready>, StageError>> + Send;

    /// Makes the ready form of what was staged before, once more, with the code that `goal` wants.
    fn restage(
        &self,
        candidate: &Candidate,
        number: GenerationNumber,
        retirement: Retirement,
        goal: Goal,
    ) -> impl Future<Output = Result<Staged<Self::Ready>, StageError>> + Send;

    /// Pause between two calls of [`Guest::tidy`] on the active generation, if it wants any.
    fn tidy_every(&self) -> Option<Duration> {
        None
    }

    /// Gives back what has been idle for too long.
    fn tidy(&self, ready: &Self::Ready) {
        let _ = ready;
    }
}

/// A request to replace what a handler runs.
#[derive(Debug, Clone)]
pub struct SwapRequest {
    /// The candidate.
    pub source: Source,
    /// Why, in words that end up in events and logs: "`src/lib.rs` changed".
    pub cause: String,
    /// When the change began: the first file event, or the request. Events count from here.
    pub since: Instant,
    /// How long the guest's build took, if there was one.
    pub build_time: Option<Duration>,
    /// Whether a handler that runs nothing yet waits for its first call with this.
    pub is_lazy: bool,
}

impl SwapRequest {
    /// A request that begins now, without a build.
    pub fn new(source: Source, cause: impl Into<String>) -> Self {
        let (cause, since) = (cause.into(), Instant::now());
        Self { source, cause, since, build_time: None, is_lazy: false }
    }

    /// The same, put off until the first call wants it, if the handler runs nothing yet. When it
    /// is then refused, that call fails, and the next one tries again.
    #[must_use]
    pub fn lazily(mut self) -> Self {
        self.is_lazy = true;
        self
    }
}

/// How a swap that was not refused ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a request may have changed nothing"]
pub enum Swap {
    /// The candidate is active.
    Swapped {
        /// It.
        serving: Serving,
        /// What it replaced.
        from: Option<GenerationNumber>,
    },
    /// The candidate's bytes are those already active.
    Unchanged {
        /// They.
        serving: Serving,
    },
    /// A newer request took this one's place before it was published.
    Superseded,
}

type Answer = Result<Swap, Rejected>;

struct Operation {
    request: SwapRequest,
    answer: oneshot::Sender<Answer>,
}

/// Asks a handler's supervisor for swaps. Cheap to clone; the task ends when it is stopped.
pub(crate) struct SupervisorHandle {
    name: HandlerName,
    mailbox: Arc<Mailbox<Operation>>,
}

impl SupervisorHandle {
    /// Starts the supervisor of `handler` as a task of `tasks`. `stop` ends it: the active
    /// generation is then drained, and no further one published.
    pub(crate) fn start<G: Guest>(
        guest: G,
        handler: Arc<Handler<G::Ready>>,
        bus: EventBus,
        max_draining: usize,
        stop: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::new());
        let name = handler.name().clone();
        let task = task::Task {
            guest: Arc::new(guest),
            handler,
            bus,
            max_draining,
            mailbox: Arc::clone(&mailbox),
            stop,
            number: GenerationNumber::FIRST,
            draining: tokio::task::JoinSet::new(),
            optimizing: None,
            way_back: None,
        };
        tasks.spawn(task.run());
        Self { name, mailbox }
    }

    /// Replaces what the handler runs, when the running operation is done; the latest request wins.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when a step of the stage failed; what was serving still is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the request stands, only its answer is not awaited.
    pub(crate) async fn swap(&self, request: SwapRequest) -> Answer {
        let answered = self.swap_aside(request);
        answered.await.unwrap_or_else(|_| Err(self.shutting_down()))
    }

    /// [`swap`](Self::swap) for those who need not wait; the answer comes to nobody if the runtime
    /// is shutting down.
    pub(crate) fn swap_aside(&self, request: SwapRequest) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        match self.mailbox.put(Operation { request, answer }) {
            // Dropping a refused operation is its answer.
            Put::Accepted | Put::Refused(_) => {}
            // Its caller may be gone, which is fine.
            Put::Displaced(older) => drop(older.answer.send(Ok(Swap::Superseded))),
        }
        answered
    }

    fn shutting_down(&self) -> Rejected {
        let (handler, source) = (self.name.clone(), StageError::ShuttingDown);
        Rejected { handler, serving: None, source }
    }
}
