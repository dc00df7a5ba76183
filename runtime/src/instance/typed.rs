//! Typed calls: an instance lent to one call at a time.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use super::bounded::{at_once, when_woken};
use super::keeper::Keeper;
use super::live::Live;
use super::outcome::{failure_in, is_of_guest};
use crate::contract::Contract;
use crate::error::CallFailure;
use crate::host::HostState;

/// What ends a call from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// When the call began.
    pub(crate) since: Instant,
    /// Cancelled at the drain deadline of the call's generation.
    pub(crate) cut: &'a CancellationToken,
    /// Whether the code that calls the guest has errors of its own.
    pub(crate) has_own_errors: bool,
}

/// How a typed call went wrong.
pub(crate) enum TypedFailure {
    /// The call failed, and its instance is gone.
    Guest(CallFailure),
    /// The closure's own error, which no guest caused.
    Caller(wasmtime::Error),
}

impl From<CallFailure> for TypedFailure {
    fn from(failure: CallFailure) -> Self {
        Self::Guest(failure)
    }
}

/// The instances of one generation, for typed calls under contract `C`. All clones are one.
pub(crate) struct Instances<C: Contract> {
    keeper: Arc<Keeper<C>>,
}

impl<C: Contract> Clone for Instances<C> {
    fn clone(&self) -> Self {
        Self { keeper: Arc::clone(&self.keeper) }
    }
}

impl<C: Contract> Instances<C> {
    pub(crate) fn new(keeper: Arc<Keeper<C>>) -> Self {
        Self { keeper }
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper<C>> {
        &self.keeper
    }

    /// Runs `call` on an instance that no other call has meanwhile.
    ///
    /// # Errors
    ///
    /// [`TypedFailure::Guest`]; the instance is then gone, whatever state it was in. After
    /// [`TypedFailure::Caller`] it is kept.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the guest at its next await or epoch tick and drops its store.
    pub(crate) async fn call<R, F>(&self, bounds: Bounds<'_>, call: F) -> Result<R, TypedFailure>
    where
        F: AsyncFnOnce(&C::Instance, &mut Store<HostState<C::Host>>) -> wasmtime::Result<R>,
    {
        let Bounds { since, cut, has_own_errors } = bounds;
        let timeout = self.keeper.timeout();
        let mut run = std::pin::pin!(async {
            let (mut live, lent) = self.keeper.take(since).await?;
            let Live { exports, store, .. } = &mut *live;
            let result = call(exports, store).await;
            let result = match result {
                Err(error) if !has_own_errors || is_of_guest(&error) => {
                    return Err(failure_in(store.data(), error).into());
                }
                result => result.map_err(TypedFailure::Caller),
            };
            lent.give_back(live);
            result
        });
        // Most calls end before they wait for anything, so nothing that ends one is set up before.
        if let Some(done) = at_once(run.as_mut()).await {
            return done;
        }
        // Cancel-safe: whichever loses is dropped, and with it the store it may own.
        tokio::select! {
            done = tokio::time::timeout(timeout, when_woken(run)) => {
                done.unwrap_or(Err(CallFailure::Deadline { timeout }.into()))
            }
            () = cut.cancelled() => Err(CallFailure::Cut.into()),
        }
    }
}
