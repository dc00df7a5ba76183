//! The `wasmtime::Engine`s of a runtime, one for each tier, and the only place that builds a
//! `wasmtime::Config`.

mod compat;
mod epoch;
mod functions;
mod nice;
mod pooling;

use std::sync::Arc;

use wasmtime::{Config, OptLevel, RegallocAlgorithm, Strategy};

use crate::config::RuntimeConfig;
use crate::events::Tier;
use epoch::EpochTicker;
pub(crate) use epoch::TICK;
pub(crate) use functions::{FunctionCache, KeyedCode};
pub(crate) use nice::give_way;

/// Stack of one guest call. wasmtime's default, named because the async stack has to exceed it.
const WASM_STACK: usize = 512 * 1024;

/// Host stack of one guest call: [`WASM_STACK`] plus what host functions need. wasmtime's default.
const ASYNC_STACK: usize = 2 * 1024 * 1024;

/// Compiles components for one tier and holds what the stores of that tier share. Cheap to clone.
///
/// Types of different engines never mix: a component, its linker and its stores are of one engine.
#[derive(Clone)]
pub(crate) struct Engine {
    wasmtime: wasmtime::Engine,
    tier: Tier,
    wasi03: bool,
    functions: Option<Arc<FunctionCache>>,
    /// See [`Engine::bucket`].
    bucket: u64,
    _ticker: Arc<EpochTicker>,
}

/// One engine for each tier, for a process's life.
#[derive(Debug, Clone)]
pub(crate) struct Engines {
    /// Slow to compile, fast to run: what serves in the long run.
    pub(crate) optimized: Engine,
    /// Fast to compile, slow to run; only where a developer waits, and the machine has it.
    pub(crate) baseline: Option<Engine>,
}

/// The engine could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to set up the WebAssembly engine")]
pub struct EngineError {
    source: wasmtime::Error,
}

impl From<wasmtime::Error> for EngineError {
    fn from(source: wasmtime::Error) -> Self {
        Self { source }
    }
}

impl Engines {
    /// Builds the engines that `config` wants.
    ///
    /// # Errors
    ///
    /// [`EngineError`] when wasmtime refuses the configuration on this machine.
    pub(crate) fn new(config: &RuntimeConfig) -> Result<Self, EngineError> {
        let functions = Arc::new(FunctionCache::new(config.cache_functions));
        let mut optimizing = base(config);
        optimizing.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::Speed);
        optimizing.enable_incremental_compilation(Arc::clone(&functions) as _)?;
        let optimized = pooled_or_on_demand(optimizing, config)?;
        let baseline = if config.dev { baseline(config) } else { None };

        let both = std::iter::once(&optimized).chain(&baseline);
        let ticker = Arc::new(EpochTicker::start(both));
        let engine = |wasmtime: wasmtime::Engine, tier, functions| Engine {
            bucket: compat::bucket(&wasmtime, tier),
            wasmtime,
            tier,
            wasi03: config.wasi03,
            functions,
            _ticker: Arc::clone(&ticker),
        };
        let baseline = baseline.map(|wasmtime| engine(wasmtime, Tier::Baseline, None));
        Ok(Self { optimized: engine(optimized, Tier::Optimized, Some(functions)), baseline })
    }
}

/// Winch, or nothing where it has no code generator for this machine.
fn baseline(config: &RuntimeConfig) -> Option<wasmtime::Engine> {
    let mut winch = base(config);
    winch.strategy(Strategy::Winch);
    // What leads into and out of a component is Cranelift's even so, and a third of the time.
    winch.cranelift_opt_level(OptLevel::None);
    winch.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    pooled_or_on_demand(winch, config)
        .inspect_err(|error| tracing::debug!(%error, "no baseline compiler on this machine"))
        .ok()
}

/// Pooled instances where the address space allows it, on demand otherwise.
fn pooled_or_on_demand(
    on_demand: Config,
    config: &RuntimeConfig,
) -> wasmtime::Result<wasmtime::Engine> {
    let mut pooled = on_demand.clone();
    pooling::apply(&mut pooled, config.max_concurrent_calls);
    wasmtime::Engine::new(&pooled).or_else(|error| {
        tracing::debug!(%error, "no pool of instances on this machine, allocating on demand");
        wasmtime::Engine::new(&on_demand)
    })
}

impl Engine {
    /// The wasmtime engine itself.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// How its code trades compile time for speed.
    pub(crate) fn tier(&self) -> Tier {
        self.tier
    }

    /// Stands for everything that compiled code depends on beside the component: two engines with
    /// the same bucket can load each other's code.
    pub(crate) fn bucket(&self) -> u64 {
        self.bucket
    }

    /// Whether components of WASI 0.3 compile.
    pub(crate) fn allows_wasi03(&self) -> bool {
        self.wasi03
    }

    /// The code of functions that earlier compilations left for later ones, if this tier has that.
    pub(crate) fn functions(&self) -> Option<&Arc<FunctionCache>> {
        self.functions.as_ref()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("tier", &self.tier).finish_non_exhaustive()
    }
}

/// What holds for every tier and allocation strategy: proposals that no supported toolchain emits
/// are off, since code that cannot be reached cannot be attacked.
fn base(config: &RuntimeConfig) -> Config {
    let mut wasmtime = Config::new();
    wasmtime
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .wasm_component_model(true)
        .wasm_component_model_async(config.wasi03)
        // What lets a component's calls overlap costs every call; only those of WASI 0.3 do.
        .concurrency_support(config.wasi03)
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
