//! `HandlerHandle`: controls one handler, whatever its calls look like.

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

#[cfg(feature = "dev")]
use tokio::sync::oneshot;

use super::Inner;
use super::control::ControlError;
use super::precompile::precompile;
use crate::artifact::Source;
use crate::config::{Binding, Policy, Settings};
use crate::error::Rejected;
use crate::events::{EventBus, Serving};
use crate::handler::{Handler, Obstacle};
use crate::history::NotKept;
use crate::id::{GenerationNumber, HandlerName};
use crate::instance::Served;
use crate::supervisor::{RollbackRequest, Stop, SupervisorHandle, Swap, SwapRequest};

/// Controls a handler: swaps and rollbacks, status and history. Cheap to clone; dropping it changes
/// nothing.
///
/// All handles of a handler do the same, wherever they come from:
/// [`Runtime::add_handler`](crate::Runtime::add_handler), [`Runtime::handler`](crate::Runtime::handler),
/// or a [`Plugin`](crate::Plugin), which is a handle with typed calls on top of it. Events are handed to
/// an event handler by [`HandlerHandle::call`].
///
/// A handle does not keep its runtime alive. After [`Runtime::remove`](crate::Runtime::remove), swaps are
/// refused with [`StageError::Removed`](crate::StageError::Removed), and after the end of the runtime with
/// [`StageError::ShuttingDown`](crate::StageError::ShuttingDown).
#[derive(Clone)]
pub struct HandlerHandle {
    pub(super) inner: Arc<Controlled>,
}

/// What all handles of a handler share.
pub(super) struct Controlled {
    pub(super) handler: AnyHandler,
    pub(super) supervisor: SupervisorHandle,
    pub(super) stop: Stop,
    pub(super) bus: EventBus,
    /// Why no history is kept for the next start at all, although one was asked for.
    pub(super) history_problem: Option<NotKept>,
    /// Weak, because the runtime holds the handles of all its handlers.
    pub(super) runtime: Weak<Inner>,
}

/// A handler by what its calls look like.
pub(super) enum AnyHandler {
    /// A handler that takes HTTP requests or events.
    Served(Arc<Handler<Served>>),
    /// A handler that takes the calls of a [`Plugin`](crate::Plugin).
    Typed(Arc<dyn Erased>),
}

impl Deref for AnyHandler {
    type Target = dyn Erased;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Served(handler) => &**handler,
            Self::Typed(handler) => &**handler,
        }
    }
}

/// What control needs of a handler, whatever its calls look like.
pub(super) trait Erased: Send + Sync {
    fn name(&self) -> &HandlerName;
    fn binding(&self) -> Arc<Binding>;
    fn policy(&self) -> Arc<Policy>;
    fn settings(&self) -> Arc<Settings>;
    fn configured(&self) -> Arc<Settings>;
    fn serving(&self) -> Option<Serving>;
    fn in_flight(&self) -> usize;
    fn obstacle(&self) -> Option<Arc<Obstacle>>;
    fn mend(&self);
    fn obstruct(&self, why: Obstacle);
    fn give_up_mending(&self);
    fn begin_ending(&self);
}

impl<R: Send + Sync + 'static> Erased for Handler<R> {
    fn name(&self) -> &HandlerName {
        self.name()
    }

    fn binding(&self) -> Arc<Binding> {
        self.binding()
    }

    fn policy(&self) -> Arc<Policy> {
        self.policy()
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings()
    }

    fn configured(&self) -> Arc<Settings> {
        self.configured()
    }

    fn serving(&self) -> Option<Serving> {
        self.serving()
    }

    fn in_flight(&self) -> usize {
        self.active().in_flight()
    }

    fn obstacle(&self) -> Option<Arc<Obstacle>> {
        self.active().obstacle()
    }

    fn mend(&self) {
        self.active().mend();
    }

    fn obstruct(&self, why: Obstacle) {
        self.active().obstruct(why);
    }

    fn give_up_mending(&self) {
        self.active().give_up_mending();
    }

    fn begin_ending(&self) {
        self.begin_ending();
    }
}

impl HandlerHandle {
    pub(super) fn new(controlled: Controlled) -> Self {
        Self { inner: Arc::new(controlled) }
    }

    /// The handler's name.
    #[must_use]
    pub fn name(&self) -> &HandlerName {
        self.inner.handler.name()
    }

    /// What answers calls now; `None` before the first generation.
    #[must_use]
    pub fn serving(&self) -> Option<Serving> {
        self.inner.handler.serving()
    }

    /// Calls inside the active generation, streamed responses included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.inner.handler.in_flight()
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
    ///
    /// # Cancel safety
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
    /// [`Rejected`] when the candidate cannot be read, compiled, linked, instantiated or
    /// initialised; what was active still is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the request stands, only its answer is not awaited.
    pub async fn swap(&self, source: Source, cause: impl Into<String>) -> Result<Swap, Rejected> {
        self.request_swap(SwapRequest::new(source, cause)).await
    }

    /// [`HandlerHandle::swap`] with all that a [`SwapRequest`] can say, such as when the change began,
    /// or that the state is left behind.
    ///
    /// # Errors
    ///
    /// As [`HandlerHandle::swap`].
    ///
    /// # Cancel safety
    ///
    /// As [`HandlerHandle::swap`].
    pub async fn request_swap(&self, request: SwapRequest) -> Result<Swap, Rejected> {
        self.inner.supervisor.swap(request).await
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
    pub async fn rollback(&self, to: Option<GenerationNumber>) -> Result<Swap, Rejected> {
        self.request_rollback(RollbackRequest::new(to)).await
    }

    /// [`HandlerHandle::rollback`] with a cause, or without the state.
    ///
    /// # Errors
    ///
    /// As [`HandlerHandle::rollback`].
    ///
    /// # Cancel safety
    ///
    /// As [`HandlerHandle::swap`].
    pub async fn request_rollback(&self, request: RollbackRequest) -> Result<Swap, Rejected> {
        self.inner.supervisor.rollback(request).await
    }

    /// What the version that serves runs with; what is configured where nothing serves yet. A change of
    /// settings is a swap: see [`SwapRequest::settings`].
    #[must_use]
    pub fn settings(&self) -> Settings {
        (*self.inner.handler.settings()).clone()
    }

    /// Whether a version that was confirmed is kept, so that a start has something to begin with whatever
    /// became of its file.
    #[must_use]
    pub fn has_confirmed(&self) -> bool {
        self.inner.supervisor.has_confirmed()
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
        self.inner.supervisor.boot().await
    }

    /// Ends the probation of the active generation, well: it is the one to boot from now on. Returns
    /// that generation.
    ///
    /// # Errors
    ///
    /// [`ControlError::NothingToConfirm`] when nothing is active, and [`ControlError::NotConfirmed`] when
    /// the handler's supervisor has ended.
    ///
    /// # Cancel safety
    ///
    /// The confirmation may or may not happen.
    pub async fn confirm(&self) -> Result<Serving, ControlError> {
        let handler = || self.name().clone();
        match self.inner.supervisor.confirm().await {
            Ok(Some(serving)) => Ok(serving),
            Ok(None) => Err(ControlError::NothingToConfirm { handler: handler() }),
            Err(source) => {
                let serving = self.serving();
                Err(ControlError::NotConfirmed { handler: handler(), serving, source })
            }
        }
    }

    /// Waits until what became of each version of the handler is on the disk. Ready at once where there
    /// is no [`state_dir`](crate::RuntimeConfig::state_dir).
    ///
    /// # Errors
    ///
    /// [`NotKept`] when the disk has refused it or has not answered for 5 s, or the directory cannot be
    /// used at all. What was asked of the handler is done all the same, and what the disk refused is tried
    /// again.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same.
    pub async fn history_kept(&self) -> Result<(), NotKept> {
        if let Some(problem) = &self.inner.history_problem {
            return Err(problem.clone());
        }
        match self.inner.supervisor.flush().await {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// Puts `request` off until the first call wants it, if nothing is loaded yet; otherwise it is a
    /// swap like any other. Its outcome is told by events. When it is refused, the call that wanted
    /// it fails, and the next one tries again.
    pub fn load_when_called(&self, request: SwapRequest) {
        self.inner.supervisor.swap_aside(request.lazily());
    }

    /// Compiles what waits for the first call of the handler into the cache directory, on a thread that
    /// gives way to everything else. Does nothing when nothing waits, when its code is there, or when the
    /// handler was removed or the runtime has ended. A component that cannot be compiled makes the handler
    /// not ready, with that reason, until its file changes or a call loads it; what may pass by itself, such
    /// as a compiler that is too busy, does not.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when what waits cannot be read or compiled.
    ///
    /// # Cancel safety
    ///
    /// What was begun goes on.
    pub async fn compile_ahead(&self) -> Result<(), Rejected> {
        let Controlled { supervisor, stop, runtime, .. } = &*self.inner;
        let Some(source) = supervisor.waits_for_a_call() else { return Ok(()) };
        if stop.handler.is_cancelled() {
            return Ok(());
        }
        // What is compiled does not keep the runtime alive.
        let shared = runtime.upgrade().map(|runtime| runtime.shared.clone());
        let Some(shared) = shared else { return Ok(()) };
        let then = supervisor.stamp();
        let Err(source) = precompile(&shared, source, true).await else { return Ok(()) };
        supervisor.cannot_load(&source, then);
        Err(Rejected { handler: self.name().clone(), serving: self.serving(), source })
    }

    /// The settings that the handler is configured with. A swap uses them unless its request names others.
    #[cfg(feature = "dev")]
    pub(crate) fn configured(&self) -> Arc<Settings> {
        self.inner.handler.configured()
    }

    /// What the handler is to be: its binding, its policy, and what a version runs with where nobody says
    /// otherwise.
    #[cfg(feature = "admin")]
    pub(crate) fn configuration(&self) -> (Arc<Binding>, Arc<Policy>, Arc<Settings>) {
        let handler = &self.inner.handler;
        (handler.binding(), handler.policy(), handler.configured())
    }

    /// Whether both are handles of one handler, and not of two that had the same name one after the other.
    #[cfg(feature = "dev")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The bus of the handler's runtime.
    #[cfg(feature = "dev")]
    pub(crate) fn bus(&self) -> &EventBus {
        &self.inner.bus
    }

    /// [`HandlerHandle::request_swap`] for those who do not wait for the answer.
    #[cfg(feature = "dev")]
    pub(crate) fn swap_aside(
        &self,
        request: SwapRequest,
    ) -> oneshot::Receiver<Result<Swap, Rejected>> {
        self.inner.supervisor.swap_aside(request)
    }

    /// [`HandlerHandle::load_when_called`] with what becomes of it.
    #[cfg(feature = "dev")]
    pub(crate) fn load_aside_when_called(
        &self,
        request: SwapRequest,
    ) -> oneshot::Receiver<Result<Swap, Rejected>> {
        self.inner.supervisor.swap_aside(request.lazily())
    }

    /// [`HandlerHandle::boot`] for those who need no answer: its outcome is told by events.
    #[cfg(feature = "dev")]
    pub(crate) fn boot_aside(&self) {
        self.inner.supervisor.boot_aside();
    }

    /// Tells the handler that its component is being built: requests that come before the first
    /// generation wait for it, whatever an earlier build or component failed by.
    pub fn build_began(&self) {
        self.inner.handler.mend();
    }

    /// Tells the handler that its component was not built. As long as nothing was ever active, its
    /// requests are answered at once, in `dev` with `why`, until a build or a swap begins.
    pub fn build_failed(&self, why: Obstacle) {
        self.inner.handler.obstruct(why);
    }

    /// Tells the handler that the build which began was given up: what its requests were answered
    /// with before stands.
    pub fn build_given_up(&self) {
        self.inner.handler.give_up_mending();
    }

    /// Ends the handler's supervisor, because the handler was removed.
    pub(super) fn stop(&self) {
        self.inner.stop.remove();
    }

    /// Waits until the handler's supervisor has ended; returns how many calls were cut for that.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, dropped or not.
    pub(super) async fn over(&self) -> usize {
        self.inner.supervisor.over().await
    }

    /// Starts the clock of the handler's drain. Returns what stops its supervisor.
    pub(super) fn begin_ending(&self) -> Stop {
        self.inner.handler.begin_ending();
        self.inner.stop.clone()
    }

    /// Time that the handler's calls get to end when the runtime ends.
    pub(super) fn drain(&self) -> Duration {
        self.inner.handler.policy().drain
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
