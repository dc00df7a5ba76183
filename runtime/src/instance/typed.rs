//! Typed calls: an instance checked out for one call at a time, fresh or from a pool.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;

use super::{StoreFactory, failure};
use crate::config::InstanceMode;
use crate::contract::Contract;
use crate::error::CallFailure;
use crate::generation::Retirement;
use crate::host::HostState;

/// What ends a call from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// Longest time from here to the result.
    pub(crate) timeout: Duration,
    /// Cancelled at the drain deadline of the call's generation.
    pub(crate) cut: &'a CancellationToken,
}

/// The instances of one generation under contract `C`.
pub(crate) struct Instances<C: Contract> {
    pre: C::Pre,
    factory: StoreFactory<C::Host>,
    mode: InstanceMode,
    retirement: Retirement,
    /// Least recently used first. Never locked across an await.
    idle: Mutex<VecDeque<Warm<C>>>,
}

/// An instance and the store it lives in.
struct Warm<C: Contract> {
    // The instance is a set of handles into the store; only the store owns anything.
    instance: C::Instance,
    store: Store<HostState<C::Host>>,
    calls: usize,
    idle_since: Instant,
}

impl<C: Contract> Instances<C> {
    pub(crate) fn new(
        pre: C::Pre,
        factory: StoreFactory<C::Host>,
        mode: InstanceMode,
        retirement: Retirement,
    ) -> Self {
        Self { pre, factory, mode, retirement, idle: Mutex::default() }
    }

    /// Proves that the component can run: one instance, the contract's `init`, and away with it.
    ///
    /// # Errors
    ///
    /// What the instantiation or `init` ended with; `timeout` bounds both together.
    pub(crate) async fn try_out(&self, timeout: Duration) -> Result<(), CallFailure> {
        let run = async {
            let mut warm = self.make().await?;
            C::init(&warm.instance, &mut warm.store).await.map_err(|error| failure(error, timeout))
        };
        tokio::time::timeout(timeout, run).await.unwrap_or(Err(CallFailure::Deadline { timeout }))
    }

    /// Runs `call` on an instance of its own.
    ///
    /// # Errors
    ///
    /// [`CallFailure`]; the instance is then gone, whatever state it was in.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the guest at its next await or epoch tick and drops its store.
    pub(crate) async fn call<R, F>(&self, bounds: Bounds<'_>, call: F) -> Result<R, CallFailure>
    where
        F: AsyncFnOnce(&C::Instance, &mut Store<HostState<C::Host>>) -> wasmtime::Result<R>,
    {
        let Bounds { timeout, cut } = bounds;
        let run = async {
            let mut warm = match self.take() {
                Some(warm) => warm,
                None => self.make().await?,
            };
            let result = call(&warm.instance, &mut warm.store)
                .await
                .map_err(|error| failure(error, timeout))?;
            Ok((warm, result))
        };
        // Cancel-safe: whichever loses is dropped, and with it the store it may own.
        let (warm, result) = tokio::select! {
            done = tokio::time::timeout(timeout, run) => {
                done.unwrap_or(Err(CallFailure::Deadline { timeout }))?
            }
            () = cut.cancelled() => return Err(CallFailure::Cut),
        };
        self.give_back(warm);
        Ok(result)
    }

    async fn make(&self) -> Result<Warm<C>, CallFailure> {
        let mut store = self.factory.store();
        let instance = C::instantiate(&self.pre, &mut store).await.map_err(|source| {
            match source.downcast_ref::<crate::host::MemoryExceeded>() {
                Some(it) => CallFailure::Memory { wanted: it.wanted, limit: it.limit },
                None => CallFailure::Instantiate { source },
            }
        })?;
        Ok(Warm { instance, store, calls: 0, idle_since: Instant::now() })
    }

    /// The most recently used idle instance: its memory is the warmest, and the others can expire.
    fn take(&self) -> Option<Warm<C>> {
        let InstanceMode::Pooled { max_idle, .. } = self.mode else { return None };
        // Instances are pushed and popped whole, so a panic elsewhere leaves the queue sound.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let warm = idle.pop_back();
        let expired = expired(&mut idle, max_idle);
        drop(idle);
        // Stores are dropped outside of the lock: that unmaps memory.
        drop(expired);
        warm.filter(|warm| warm.idle_since.elapsed() <= max_idle)
    }

    /// Keeps an instance for the next call, if the mode, its age and the generation's life allow.
    fn give_back(&self, mut warm: Warm<C>) {
        let InstanceMode::Pooled { max_calls, max_idle } = self.mode else { return };
        warm.calls += 1;
        if warm.calls >= max_calls || self.retirement.retiring.is_cancelled() {
            return;
        }
        warm.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push_back(warm);
        let expired = expired(&mut idle, max_idle);
        drop(idle);
        drop(expired);
    }

    /// Drops the instances that have been idle for too long; to be called from time to time.
    pub(crate) fn expire_idle(&self) {
        let InstanceMode::Pooled { max_idle, .. } = self.mode else { return };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let expired = expired(&mut idle, max_idle);
        drop(idle);
        drop(expired);
    }
}

/// Takes those out of `idle` that have been there longer than `max_idle`.
fn expired<C: Contract>(idle: &mut VecDeque<Warm<C>>, max_idle: Duration) -> Vec<Warm<C>> {
    let fresh = |warm: &Warm<C>| warm.idle_since.elapsed() <= max_idle;
    let n_expired = idle.iter().position(fresh).unwrap_or(idle.len());
    idle.drain(..n_expired).collect()
}
