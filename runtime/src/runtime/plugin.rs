//! `Plugin`: swap and call a component of the embedder's own world, typed.

use std::sync::Arc;

use wasmtime::Store;

use crate::artifact::Source;
use crate::contract::Contract;
use crate::error::{CallError, Rejected};
use crate::events::{EventBus, Serving};
use crate::handler::{Begun, Handler};
use crate::host::HostState;
use crate::id::{GenerationNumber, HandlerName};
use crate::instance::{Bounds, Instances, TypedFailure};
use crate::supervisor::{RollbackRequest, SupervisorHandle, Swap, SwapRequest};

/// A handler under the embedder's own [`Contract`]. Cheap to clone; dropping it changes nothing.
///
/// Instances never leave the runtime: [`Plugin::call`] lends one to a closure.
pub struct Plugin<C: Contract> {
    handler: Arc<Handler<Instances<C>>>,
    supervisor: Arc<SupervisorHandle>,
    bus: EventBus,
}

impl<C: Contract> Clone for Plugin<C> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            supervisor: Arc::clone(&self.supervisor),
            bus: self.bus.clone(),
        }
    }
}

impl<C: Contract> Plugin<C> {
    pub(super) fn new(
        handler: Arc<Handler<Instances<C>>>,
        supervisor: Arc<SupervisorHandle>,
        bus: EventBus,
    ) -> Self {
        Self { handler, supervisor, bus }
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

    /// The first component, or any later one: [`Plugin::swap`] with the cause "load". The first one is
    /// [standing](SwapRequest::standing), as with
    /// [`HandlerHandle::load`](crate::HandlerHandle::load).
    ///
    /// # Errors
    ///
    /// As [`Plugin::swap`].
    pub async fn load(&self, source: Source) -> Result<Swap, Rejected> {
        let request = SwapRequest::new(source, "load");
        let is_first = self.serving().is_none();
        self.supervisor.swap(if is_first { request.standing() } else { request }).await
    }

    /// Replaces what the plugin runs. Ready when the new generation is active; no call fails.
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

    /// [`Plugin::swap`] with what a [`SwapRequest`] can say, such as to leave the state behind.
    ///
    /// # Errors
    ///
    /// As [`Plugin::swap`].
    ///
    /// # Cancel safety
    ///
    /// As [`Plugin::swap`].
    pub async fn request_swap(&self, request: SwapRequest) -> Result<Swap, Rejected> {
        self.supervisor.swap(request).await
    }

    /// [`HandlerHandle::roll_back`](crate::HandlerHandle::roll_back) of a plugin.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As [`Plugin::swap`].
    pub async fn roll_back(&self, to: Option<GenerationNumber>) -> Result<Swap, Rejected> {
        self.request_rollback(RollbackRequest::new(to)).await
    }

    /// [`HandlerHandle::request_rollback`](crate::HandlerHandle::request_rollback) of a plugin.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As [`Plugin::swap`].
    pub async fn request_rollback(&self, request: RollbackRequest) -> Result<Swap, Rejected> {
        self.supervisor.roll_back(request).await
    }

    /// [`HandlerHandle::confirm`](crate::HandlerHandle::confirm) of a plugin.
    ///
    /// # Cancel safety
    ///
    /// The confirmation may or may not happen.
    pub async fn confirm(&self) -> Option<Serving> {
        self.supervisor.confirm().await.ok()?
    }

    /// Lends an instance of the active generation to `call`: a fresh one, or a warm one when the
    /// handler is pooled.
    ///
    /// ```ignore
    /// let text = plugin.call(async |filter, store| filter.call_transform(store, "in").await).await?;
    /// ```
    ///
    /// # Errors
    ///
    /// [`CallError`] when the call was not let in, or failed: after [`CallError::Failed`] the guest is at
    /// fault, and its instance is gone. An error of `call`'s own comes back as it is in
    /// [`CallError::Caller`]; the instance is kept, and nothing is counted against the plugin. A guest's
    /// own `result` is part of `R`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call and its instance; with a singleton, its state is lost. A
    /// caller that may be dropped spawns the call as a task of its own.
    pub async fn call<R, F>(&self, call: F) -> Result<R, CallError>
    where
        F: AsyncFnOnce(&C::Instance, &mut Store<HostState<C::Host>>) -> wasmtime::Result<R>,
    {
        let entered = self.handler.enter().await.inspect_err(|error| error.report(&self.bus))?;
        let (timeout, pass) = (self.handler.timeout(), &entered.pass);
        let (since, cut) = (pass.since(), pass.cut());
        let bounds = Bounds { timeout, since, cut, has_own_errors: true };
        let begun = Begun::of(&entered);
        let source = match pass.call(bounds, call).await {
            Ok(result) => {
                begun.answered(None);
                return Ok(result);
            }
            Err(TypedFailure::Caller(source)) => {
                return Err(CallError::Caller { handler: self.name().clone(), source });
            }
            Err(TypedFailure::Guest(failure)) => failure,
        };
        let (handler, serving) = (self.name().clone(), pass.serving());
        drop(entered);
        let report = begun.report(&self.bus, self.name(), None);
        // In a box, as it is rare, and would be moved with every call otherwise.
        Box::pin(report.failed_before_answer(&source)).await;
        Err(CallError::Failed { handler, serving, source })
    }
}

impl<C: Contract> std::fmt::Debug for Plugin<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", self.name())
            .field("serving", &self.serving())
            .finish_non_exhaustive()
    }
}
