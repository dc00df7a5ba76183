//! `Plugin`: calls of a component of the embedder's own world, typed.

use std::ops::Deref;
use std::sync::Arc;

use wasmtime::Store;

use super::handle::HandlerHandle;
use crate::contract::Contract;
use crate::error::CallError;
use crate::handler::{Begun, Handler};
use crate::host::HostState;
use crate::instance::{Bounds, Instances, TypedFailure};

/// A handler under the embedder's own [`Contract`]. Cheap to clone; dropping it changes nothing.
///
/// It is a [`HandlerHandle`] with typed calls on top: `plugin.swap(..)`, `plugin.status()` and all else
/// that controls a handler are those of the handle. `HandlerHandle::clone(&plugin)` is the handle alone,
/// without the type of the contract.
///
/// Instances never leave the runtime: [`Plugin::call`] lends one to a closure.
pub struct Plugin<C: Contract> {
    handler: Arc<Handler<Instances<C>>>,
    handle: HandlerHandle,
}

impl<C: Contract> Clone for Plugin<C> {
    fn clone(&self) -> Self {
        Self { handler: Arc::clone(&self.handler), handle: self.handle.clone() }
    }
}

impl<C: Contract> Deref for Plugin<C> {
    type Target = HandlerHandle;

    fn deref(&self) -> &HandlerHandle {
        &self.handle
    }
}

impl<C: Contract> Plugin<C> {
    pub(super) fn new(handler: Arc<Handler<Instances<C>>>, handle: HandlerHandle) -> Self {
        Self { handler, handle }
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
        let entered =
            self.handler.enter().await.inspect_err(|error| error.report(&self.handle.inner.bus))?;
        let pass = &entered.pass;
        let (since, cut) = (pass.since(), pass.cut());
        let bounds = Bounds { since, cut, has_own_errors: true };
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
        let report = begun.report(&self.handle.inner.bus, self.name(), None);
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
