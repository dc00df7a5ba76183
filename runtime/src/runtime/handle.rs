//! `HandlerHandle`: swap and call a handler that wrt serves.

use std::sync::Arc;

use super::control::LazyMark;
use crate::artifact::Source;
use crate::cloudevent::CloudEvent;
use crate::config::Settings;
use crate::error::{CallError, Rejected};
use crate::events::{EventBus, Serving};
use crate::handler::{Begun, EnterError, Handler, Obstacle};
use crate::id::{GenerationNumber, HandlerName};
use crate::instance::{Served, ServedKind, handle_event};
use crate::supervisor::{RollbackRequest, SupervisorHandle, Swap, SwapRequest};

/// A handler of HTTP requests or events. Cheap to clone; dropping it changes nothing.
#[derive(Clone)]
pub struct HandlerHandle {
    handler: Arc<Handler<Served>>,
    supervisor: Arc<SupervisorHandle>,
    is_lazy: LazyMark,
    bus: EventBus,
}

impl HandlerHandle {
    pub(super) fn new(
        handler: Arc<Handler<Served>>,
        supervisor: Arc<SupervisorHandle>,
        is_lazy: LazyMark,
        bus: EventBus,
    ) -> Self {
        Self { handler, supervisor, is_lazy, bus }
    }

    /// The handler's name.
    #[must_use]
    pub fn name(&self) -> &HandlerName {
        self.handler.name()
    }

    /// What answers calls now; `None` before the first generation.
    #[must_use]
    pub fn serving(&self) -> Option<Serving> {
        self.handler.serving()
    }

    /// Calls inside the active generation, streamed responses included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.handler.active().in_flight()
    }

    /// The first component, or any later one: [`HandlerHandle::swap`] with the cause "load".
    ///
    /// With a [`state_dir`](crate::RuntimeConfig::state_dir), the first one is
    /// [standing](SwapRequest::standing): a version that was swapped in over it and confirmed stays
    /// over a restart, as long as `source` holds the same bytes.
    ///
    /// # Errors
    ///
    /// As [`HandlerHandle::swap`].
    pub async fn load(&self, source: Source) -> Result<Swap, Rejected> {
        let request = SwapRequest::new(source, "load");
        let is_first = self.serving().is_none();
        self.request_swap(if is_first { request.standing() } else { request }).await
    }

    /// Replaces what the handler runs. Ready when the new generation is active; no call fails.
    ///
    /// Swaps of one handler run one after another; while one runs, of those that wait only the
    /// newest is kept, and the others are told [`Swap::Superseded`].
    ///
    /// # Errors
    ///
    /// [`Rejected`] when the candidate cannot be read, compiled, linked or instantiated; what was
    /// active still is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the request stands, only its answer is not awaited.
    pub async fn swap(&self, source: Source, cause: impl Into<String>) -> Result<Swap, Rejected> {
        self.request_swap(SwapRequest::new(source, cause)).await
    }

    /// [`HandlerHandle::swap`] for a change that began earlier, such as a saved file.
    ///
    /// # Errors
    ///
    /// As [`HandlerHandle::swap`].
    pub async fn request_swap(&self, request: SwapRequest) -> Result<Swap, Rejected> {
        if request.is_lazy {
            self.is_lazy.set();
        }
        self.supervisor.swap(request).await
    }

    /// Publishes what the generation before the active one ran, or what generation `to` ran, as a new
    /// generation: in no time where its code is at hand. The bytes that served until then are refused
    /// until they change, or until a request says [`again`](SwapRequest::again).
    ///
    /// State is handed over. An earlier version that cannot read the state of now gets the latest
    /// earlier state that it can read, and [`Swap::Swapped`] says so. Without such a state the
    /// rollback is refused; [`RollbackRequest::fresh`] leaves the state behind on purpose.
    ///
    /// With a state directory, the components of the eight versions that were confirmed last are kept
    /// over restarts; without one, those of the last four.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when there is no such generation any more, or it cannot be staged again, or would
    /// begin without the state.
    ///
    /// # Cancel safety
    ///
    /// As [`HandlerHandle::swap`].
    pub async fn roll_back(&self, to: Option<GenerationNumber>) -> Result<Swap, Rejected> {
        self.request_rollback(RollbackRequest::new(to)).await
    }

    /// [`HandlerHandle::roll_back`] with a cause, or without the state.
    ///
    /// # Errors
    ///
    /// As [`HandlerHandle::roll_back`].
    ///
    /// # Cancel safety
    ///
    /// As [`HandlerHandle::swap`].
    pub async fn request_rollback(&self, request: RollbackRequest) -> Result<Swap, Rejected> {
        self.supervisor.roll_back(request).await
    }

    /// What the version that serves runs with; what is configured where nothing serves yet. A change of
    /// settings is a swap: see [`SwapRequest::settings`].
    #[must_use]
    pub fn settings(&self) -> Settings {
        (*self.handler.settings()).clone()
    }

    /// Whether a version that was confirmed is kept, so that a start has something to begin with whatever
    /// became of its file.
    #[must_use]
    pub fn has_confirmed(&self) -> bool {
        self.supervisor.has_confirmed()
    }

    /// Publishes the version that was confirmed last before this start, unless something is active. A
    /// [`load`](Self::load) does so by itself before it stages its candidate; this is for a start at
    /// which there is no candidate.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when no version was confirmed, or it cannot be staged again.
    ///
    /// # Cancel safety
    ///
    /// As [`HandlerHandle::swap`].
    pub async fn boot(&self) -> Result<Swap, Rejected> {
        self.supervisor.boot().await
    }

    /// Ends the probation of the active generation, well: it is the one to boot from now on. `None`
    /// when nothing is active, or the handler's supervisor has ended;
    /// [`Runtime::confirm`](crate::Runtime::confirm) says which.
    ///
    /// # Cancel safety
    ///
    /// The confirmation may or may not happen.
    pub async fn confirm(&self) -> Option<Serving> {
        self.supervisor.confirm().await.ok()?
    }

    /// Puts `request` off until the first call wants it, if nothing is loaded yet; otherwise it is a
    /// swap like any other. Its outcome is told by events. When it is refused, the call that wanted
    /// it fails, and the next one tries again.
    pub fn load_when_called(&self, request: SwapRequest) {
        self.is_lazy.set();
        self.supervisor.swap_aside(request.lazily());
    }

    /// The bus of the handler's runtime.
    #[cfg(feature = "dev")]
    pub(crate) fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// [`HandlerHandle::request_swap`] for those who need no answer: its outcome is told by events.
    #[cfg(feature = "dev")]
    pub(crate) fn swap_aside(&self, request: SwapRequest) {
        self.supervisor.swap_aside(request);
    }

    /// [`HandlerHandle::boot`] for those who need no answer: its outcome is told by events.
    #[cfg(feature = "dev")]
    pub(crate) fn boot_aside(&self) {
        self.supervisor.boot_aside();
    }

    /// Tells the handler that its component is being built: requests that come before the first
    /// generation wait for it, whatever an earlier build or component failed by.
    pub fn build_began(&self) {
        self.handler.active().mend();
    }

    /// Tells the handler that its component was not built. As long as nothing was ever active, its
    /// requests are answered at once, in `dev` with `why`, until a build or a swap begins.
    pub fn build_failed(&self, why: Obstacle) {
        self.handler.active().obstruct(why);
    }

    /// Tells the handler that the build which began was given up: what its requests were answered
    /// with before stands.
    pub fn build_given_up(&self) {
        self.handler.active().give_up_mending();
    }

    /// Hands `event` to an event handler and returns its answer, if it gives one.
    ///
    /// # Errors
    ///
    /// [`CallError`] when the call was not let in, the handler takes HTTP requests instead, the
    /// guest rejected the event, or the call failed; the guest's store is then gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call and its store; the call of a singleton goes on.
    pub async fn call(&self, event: CloudEvent) -> Result<Option<CloudEvent>, CallError> {
        event.validate().map_err(|source| CallError::InvalidEvent { source })?;
        let entered = self.handler.enter().await.inspect_err(|error| error.report(&self.bus))?;
        if matches!(entered.pass.kind, ServedKind::Http(_)) {
            let problem = "takes HTTP requests, not events";
            return Err(CallError::WrongKind { handler: self.name().clone(), problem });
        }
        let (serving, timeout) = (entered.pass.serving(), self.handler.timeout());
        let begun = Begun::of(&entered);
        let source = match handle_event(entered, timeout, event).await {
            Ok(Ok(answer)) => {
                begun.answered(None);
                return Ok(answer.map(|event| *event));
            }
            Ok(Err(reason)) => {
                begun.answered(None);
                return Err(CallError::Declined { handler: self.name().clone(), reason });
            }
            Err(failure) => failure,
        };
        let report = begun.report(&self.bus, self.name(), None);
        // In a box, as it is rare, and would be moved with every call otherwise.
        Box::pin(report.failed_before_answer(&source)).await;
        Err(CallError::Failed { handler: self.name().clone(), serving, source })
    }
}

impl std::fmt::Debug for HandlerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandlerHandle")
            .field("name", self.name())
            .field("serving", &self.serving())
            .finish_non_exhaustive()
    }
}

impl From<EnterError> for CallError {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Saturated { ref handler, .. } => {
                Self::Saturated { handler: handler.clone(), reason: error.to_string() }
            }
            EnterError::NothingActive { handler, .. } => Self::NothingActive { handler },
            EnterError::NotLoaded { handler, source, .. } => Self::NotLoaded { handler, source },
        }
    }
}
