//! The one `wasmtime::Engine` of a runtime, and the only place that builds a `wasmtime::Config`.

mod epoch;
mod functions;
mod pooling;

use std::sync::Arc;

use wasmtime::{Config, OptLevel, Strategy};

use crate::config::RuntimeConfig;
use epoch::EpochTicker;
pub(crate) use epoch::TICK;
pub(crate) use functions::{FunctionCache, KeyedCode};

/// Stack of one guest call. wasmtime's default, named because the async stack has to exceed it.
const WASM_STACK: usize = 512 * 1024;

/// Host stack of one guest call: [`WASM_STACK`] plus what host functions need. wasmtime's default.
const ASYNC_STACK: usize = 2 * 1024 * 1024;

/// Compiles components and holds what all stores share. Cheap to clone; one for a process's life.
#[derive(Clone)]
pub(crate) struct Engine {
    wasmtime: wasmtime::Engine,
    functions: Option<Arc<FunctionCache>>,
    wasi03: bool,
    _ticker: Arc<EpochTicker>,
}

/// The engine could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up the WebAssembly engine")]
pub struct EngineError {
    source: wasmtime::Error,
}

impl Engine {
    /// Builds the engine: pooled instances where the address space allows it, on demand otherwise.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when wasmtime refuses the configuration on this machine.
    pub(crate) fn new(config: &RuntimeConfig) -> Result<Self, EngineError> {
        // Only a developer compiles almost the same component again and again.
        let functions = config.dev.then(|| Arc::new(FunctionCache::new(config.cache_memory)));
        let mut wasmtime_config = base(config);
        if let Some(functions) = &functions {
            wasmtime_config
                .enable_incremental_compilation(Arc::clone(functions) as _)
                .map_err(|source| EngineError { source })?;
        }
        let on_demand = wasmtime_config.clone();
        pooling::apply(&mut wasmtime_config, config.max_concurrent_calls);
        let wasmtime = wasmtime::Engine::new(&wasmtime_config)
            .or_else(|error| {
                tracing::debug!(%error, "no pool of instances on this machine, allocating on demand");
                wasmtime::Engine::new(&on_demand)
            })
            .map_err(|source| EngineError { source })?;
        let ticker = Arc::new(EpochTicker::start(&wasmtime));
        Ok(Self { wasmtime, functions, wasi03: config.wasi03, _ticker: ticker })
    }

    /// The wasmtime engine itself.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// Whether components of WASI 0.3 compile.
    pub(crate) fn allows_wasi03(&self) -> bool {
        self.wasi03
    }

    /// Functions that compilations so far took over from earlier ones.
    pub(crate) fn functions_reused(&self) -> usize {
        self.functions.as_ref().map_or(0, |functions| functions.hits())
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// What holds for every allocation strategy: proposals that no supported toolchain emits are off,
/// since code that cannot be reached cannot be attacked.
fn base(config: &RuntimeConfig) -> Config {
    let mut wasmtime = Config::new();
    wasmtime
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .wasm_component_model(true)
        .wasm_component_model_async(config.wasi03)
        .wasm_memory64(false)
        .wasm_threads(false)
        .wasm_gc(false)
        .gc_support(false)
        .wasm_exceptions(false);
    // Backtraces with source lines are for the developer, who has debug information; in
    // production they would cost memory for each component.
    wasmtime.wasm_backtrace_details(if config.dev {
        wasmtime::WasmBacktraceDetails::Enable
    } else {
        wasmtime::WasmBacktraceDetails::Disable
    });
    wasmtime
}
