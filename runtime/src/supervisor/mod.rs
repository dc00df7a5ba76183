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
use crate::artifact::{ComponentBytes, Source};
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

    /// Compiles, checks and tries out `component`. Nothing that it does is visible to calls.
    fn stage(
        &self,
        component: ComponentBytes,
        number: GenerationNumber,
        retirement: &Retirement,
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
}

impl SwapRequest {
    /// A request that begins now, without a build.
    pub fn new(source: Source, cause: impl Into<String>) -> Self {
        Self { source, cause: cause.into(), since: Instant::now(), build_time: None }
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
            guest,
            handler,
            bus,
            max_draining,
            mailbox: Arc::clone(&mailbox),
            stop,
            number: GenerationNumber::FIRST,
            draining: tokio::task::JoinSet::new(),
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
        let (answer, answered) = oneshot::channel();
        match self.mailbox.put(Operation { request, answer }) {
            Put::Accepted => {}
            // Its caller may be gone, which is fine.
            Put::Displaced(older) => drop(older.answer.send(Ok(Swap::Superseded))),
            Put::Refused(_) => return Err(self.shutting_down()),
        }
        answered.await.unwrap_or_else(|_| Err(self.shutting_down()))
    }

    fn shutting_down(&self) -> Rejected {
        let (handler, source) = (self.name.clone(), StageError::ShuttingDown);
        Rejected { handler, serving: None, source }
    }
}
