//! Instances: the one constructor of stores with all their limits, and what uses the stores.

mod aside;
mod bounded;
pub(crate) mod http;
pub(crate) mod keeper;
pub(crate) mod live;
mod outcome;
mod served;
mod typed;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmtime::{Store, UpdateDeadline};

use crate::config::Settings;
use crate::engine::Engine;
use crate::events::EventBus;
use crate::host::{Budget, Grants, HostState, LogSink, Outgoing};
use crate::id::{GenerationNumber, HandlerName};
pub(crate) use outcome::{failure, failure_in};
pub(crate) use served::{EventInstances, Served, ServedKind, handle_event};
pub(crate) use typed::{Bounds, Instances, TypedFailure};

/// Bytes that one call may copy between guest and host at once through lists and strings.
const HOSTCALL_BYTES: usize = 32 * 1024 * 1024;

/// Resource handles one store may hold in its own tables; charged to no memory limit.
const MAX_HANDLES: usize = 20_000;

/// Stores alive, for the leak check of tests and for status.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreCount(Arc<AtomicUsize>);

impl StoreCount {
    /// Stores alive at this moment.
    pub(crate) fn get(&self) -> usize {
        // Ordering: a figure; nothing is decided on it.
        self.0.load(Ordering::Relaxed)
    }

    fn enter(&self) -> LiveStore {
        self.0.fetch_add(1, Ordering::Relaxed);
        LiveStore(self.clone())
    }
}

/// Counts one store as alive until it is dropped with it.
#[derive(Debug)]
pub(crate) struct LiveStore(StoreCount);

impl Drop for LiveStore {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<H> Clone for StoreFactory<H> {
    fn clone(&self) -> Self {
        let Self { engine, grants, log, make_host, live } = self;
        Self {
            engine: engine.clone(),
            grants: grants.clone(),
            log: log.clone(),
            make_host: Arc::clone(make_host),
            live: live.clone(),
        }
    }
}

/// Makes the stores of one generation.
pub(crate) struct StoreFactory<H> {
    engine: Engine,
    grants: Grants,
    log: LogSink,
    make_host: Arc<dyn Fn() -> H + Send + Sync>,
    live: StoreCount,
}

impl<H: Send + 'static> StoreFactory<H> {
    pub(crate) fn new(
        engine: &Engine,
        (handler, settings, outgoing): (&HandlerName, &Settings, &Outgoing),
        (bus, budget): (&EventBus, &Budget),
        generation: GenerationNumber,
        make_host: Arc<dyn Fn() -> H + Send + Sync>,
        live: &StoreCount,
    ) -> Self {
        Self {
            engine: engine.clone(),
            grants: Grants::of(settings, outgoing, budget),
            log: LogSink::new(bus.clone(), handler.clone(), generation),
            make_host,
            live: live.clone(),
        }
    }

    /// The only way to make a store: every limit is set here.
    pub(crate) fn store(&self) -> Store<HostState<H>> {
        let state = HostState::new(&self.grants, &self.log, (self.make_host)(), self.live.enter());
        let mut store = Store::new(self.engine.wasmtime(), state);
        store.limiter(HostState::limiter);
        store.set_hostcall_fuel(HOSTCALL_BYTES);
        store.set_max_component_handles(MAX_HANDLES);
        // A guest that computes yields at each tick, so that the call's timeout, which is a timer
        // of the async runtime, can end it, and other calls of the thread go on meanwhile. One that
        // computes on goes aside.
        store.epoch_deadline_callback(|_| {
            aside::ticked();
            Ok(UpdateDeadline::Yield(1))
        });
        store.set_epoch_deadline(1);
        store
    }
}
