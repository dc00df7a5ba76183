//! A host that calls components through wasmtime by hand, with the settings that wrt has: what is
//! left between the two is wrt's own work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use wasmtime::component::{Component, HasSelf, InstancePre, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

/// Bindings of the event handler's world.
mod event_bindings {
    wasmtime::component::bindgen!({
        path: "../../../wit",
        inline: "
            package bench:by-hand;
            world event-world { export wrt:plugin/handler@0.1.0; }
        ",
        world: "bench:by-hand/event-world",
        exports: { default: async },
    });
}

/// Bindings of an embedder's own world.
mod own_bindings {
    wasmtime::component::bindgen!({
        path: "../../guests/wit",
        world: "acme:filters/filter",
        exports: { default: async },
    });
}

pub(crate) use event_bindings::exports::wrt::plugin::handler::Event;
use event_bindings::{EventWorld, EventWorldIndices};
use own_bindings::{Filter, FilterIndices};

/// Time between two epochs; this and the numbers below are those of `wrt`'s engine and stores.
const TICK: Duration = Duration::from_millis(10);
/// Stacks of a call, of the guest and of the host.
const STACKS: [usize; 2] = [512 << 10, 2 << 20];
/// Calls at once, with places to spare.
const SLOTS: u32 = 1000 + 256;
/// Bytes of a memory, and of a table, that are cleared by writing zeros.
const KEEP_RESIDENT: [usize; 2] = [2 << 20, 512 << 10];
/// Entries of one table.
const TABLE_ELEMENTS: usize = 100_000;
/// Bytes of metadata of one instance.
const INSTANCE_SIZE: usize = 10 << 20;
/// Bytes that one call may copy at once.
const HOSTCALL_BYTES: usize = 32 << 20;
/// Bytes of memory of one instance.
const MEMORY: usize = 64 << 20;

/// An engine whose epoch is advanced as long as this lives.
pub(crate) struct Host {
    engine: Engine,
    is_stopped: Arc<AtomicBool>,
    ticker: Option<JoinHandle<()>>,
}

impl Host {
    pub(crate) fn new() -> Result<Self> {
        let mut pool = PoolingAllocationConfig::default();
        // For each component 20 core instances, 2 memories and 5 tables.
        pool.total_component_instances(SLOTS)
            .total_core_instances(SLOTS * 20)
            .total_memories(SLOTS * 2)
            .total_tables(SLOTS * 5)
            .total_stacks(SLOTS)
            .max_memories_per_module(2)
            .max_tables_per_module(5)
            .table_elements(TABLE_ELEMENTS)
            .max_component_instance_size(INSTANCE_SIZE)
            .max_core_instance_size(INSTANCE_SIZE)
            .linear_memory_keep_resident(KEEP_RESIDENT[0])
            .table_keep_resident(KEEP_RESIDENT[1])
            .pagemap_scan(wasmtime::Enabled::Auto);
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .max_wasm_stack(STACKS[0])
            .async_stack_size(STACKS[1])
            .wasm_component_model_async(false)
            .concurrency_support(false)
            .wasm_memory64(false)
            .wasm_threads(false)
            .wasm_gc(false)
            .gc_support(false)
            .wasm_exceptions(false)
            .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable);
        let mut pooled = config.clone();
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        // As wrt does where the address space is too small, such as under a profiler.
        let engine = Engine::new(&pooled).or_else(|_| Engine::new(&config));
        let engine = engine.map_err(anyhow::Error::from).context("failed to make an engine")?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let ticker = thread::spawn({
            let (engine, is_stopped) = (engine.clone(), Arc::clone(&is_stopped));
            move || {
                // Ordering: it only has to be seen soon.
                while !is_stopped.load(Ordering::Relaxed) {
                    thread::sleep(TICK);
                    engine.increment_epoch();
                }
            }
        });
        Ok(Self { engine, is_stopped, ticker: Some(ticker) })
    }

    /// An event handler made of `component`.
    pub(crate) fn events(&self, component: &[u8]) -> Result<Events> {
        let pre = self.prepare(component, |_| Ok(()))?;
        let indices = EventWorldIndices::new(&pre).map_err(anyhow::Error::from)?;
        Ok(Events { pre, indices })
    }

    /// A filter made of `component`.
    pub(crate) fn filters(&self, component: &[u8]) -> Result<Filters> {
        let pre = self.prepare(component, |linker| {
            own_bindings::acme::filters::host::add_to_linker::<_, HasSelf<State>>(linker, |it| it)
        })?;
        let indices = FilterIndices::new(&pre).map_err(anyhow::Error::from)?;
        Ok(Filters { pre, indices })
    }

    fn prepare(
        &self,
        component: &[u8],
        link: impl FnOnce(&mut Linker<State>) -> wasmtime::Result<()>,
    ) -> Result<InstancePre<State>> {
        let prepare = || {
            let component = Component::from_binary(&self.engine, component)?;
            let mut linker = Linker::new(&self.engine);
            wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
            link(&mut linker)?;
            linker.instantiate_pre(&component)
        };
        prepare().map_err(anyhow::Error::from).context("failed to prepare a component")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ordering: see the thread.
        self.is_stopped.store(true, Ordering::Relaxed);
        if let Some(ticker) = self.ticker.take() {
            // It cannot panic.
            let _ = ticker.join();
        }
    }
}

/// What a store holds.
pub(crate) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: wasmtime::StoreLimits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl own_bindings::acme::filters::host::Host for State {
    fn lookup(&mut self, _: String) -> Option<String> {
        Some("!".to_owned())
    }
}

fn store(engine: &Engine) -> Store<State> {
    let limits = wasmtime::StoreLimitsBuilder::new().memory_size(MEMORY).build();
    let state = State { wasi: WasiCtxBuilder::new().build(), table: ResourceTable::new(), limits };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.epoch_deadline_async_yield_and_update(1);
    store.set_epoch_deadline(1);
    store
}

/// Event handlers of one component.
pub(crate) struct Events {
    pre: InstancePre<State>,
    indices: EventWorldIndices,
}

/// One event handler.
pub(crate) struct EventInstance {
    store: Store<State>,
    exports: EventWorld,
}

impl Events {
    pub(crate) async fn instance(&self) -> Result<EventInstance> {
        let mut store = store(self.pre.engine());
        let instance = self.pre.instantiate_async(&mut store).await?;
        let exports = self.indices.load(&mut store, &instance)?;
        Ok(EventInstance { store, exports })
    }
}

impl EventInstance {
    pub(crate) async fn call(&mut self, event: &Event) -> Result<Option<Event>> {
        let answer = self.exports.wrt_plugin_handler().call_handle(&mut self.store, event).await?;
        answer.map_err(|error| anyhow::anyhow!("the guest refused the event: {error:?}"))
    }
}

/// Filters of one component.
pub(crate) struct Filters {
    pre: InstancePre<State>,
    indices: FilterIndices,
}

/// One filter.
pub(crate) struct FilterInstance {
    store: Store<State>,
    exports: Filter,
}

impl Filters {
    pub(crate) async fn instance(&self) -> Result<FilterInstance> {
        let mut store = store(self.pre.engine());
        let instance = self.pre.instantiate_async(&mut store).await?;
        let exports = self.indices.load(&mut store, &instance)?;
        Ok(FilterInstance { store, exports })
    }
}

impl FilterInstance {
    /// The call that does nothing.
    pub(crate) async fn count(&mut self) -> Result<u32> {
        Ok(self.exports.call_count(&mut self.store).await?)
    }

    pub(crate) async fn transform(&mut self, text: &str) -> Result<String> {
        let answer = self.exports.call_transform(&mut self.store, text).await?;
        answer.map_err(anyhow::Error::msg)
    }
}
