//! Stage: from component bytes to something that takes calls, off to the side.
//!
//! The two ways differ in the contract only: [`served`] finds it in the component's exports,
//! [`typed`] has it from the embedder.

pub(crate) mod served;
pub(crate) mod typed;

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

use crate::artifact::{Artifact, Artifacts};
use crate::config::{HandlerConfig, RuntimeConfig};
use crate::contract::{ContractError, export_names};
use crate::engine::{Engine, Engines};
use crate::error::{CallFailure, StageError};
use crate::events::{EventBus, Tier};
use crate::host::HostState;
use crate::id::GenerationNumber;
use crate::instance::{StoreCount, StoreFactory};

/// The error for a candidate whose first instance failed with `failure`.
///
/// The bindings look at the types of exports when an instance is made, not before. So when the
/// component can be instantiated without them, it is its exports that do not fit.
async fn first_instance_error<H: Send + 'static>(
    pre: &InstancePre<HostState<H>>,
    mut store: Store<HostState<H>>,
    world: &'static str,
    timeout: Duration,
    failure: CallFailure,
) -> StageError {
    let CallFailure::Instantiate { source } = failure else {
        return StageError::Init { source: failure };
    };
    let bare = tokio::time::timeout(timeout, pre.instantiate_async(&mut store)).await;
    if matches!(bare, Ok(Ok(_))) {
        let found = export_names(pre.component());
        return ContractError::WrongExport { world, found, source }.into();
    }
    StageError::Init { source: CallFailure::Instantiate { source } }
}

/// What every handler of a runtime shares.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<RuntimeConfig>,
    pub(crate) engines: Engines,
    pub(crate) artifacts: Artifacts,
    pub(crate) bus: EventBus,
    pub(crate) stores: StoreCount,
}

impl Shared {
    /// What makes the stores of generation `number`, which runs `artifact`.
    fn stores<H: Send + 'static>(
        &self,
        artifact: &Artifact,
        config: &HandlerConfig,
        number: GenerationNumber,
        make_host: Arc<dyn Fn() -> H + Send + Sync>,
    ) -> StoreFactory<H> {
        StoreFactory::new(artifact.engine(), config, &self.bus, number, make_host, &self.stores)
    }
}

/// A linker for each engine, since their types never mix.
pub(crate) struct Linkers<T: 'static> {
    optimized: Linker<T>,
    baseline: Option<Linker<T>>,
}

impl<T: 'static> Linkers<T> {
    /// Linkers that `fill` has filled.
    ///
    /// # Errors
    ///
    /// What `fill` ended with.
    pub(crate) fn new(
        engines: &Engines,
        fill: impl Fn(&mut Linker<T>) -> wasmtime::Result<()>,
    ) -> wasmtime::Result<Self> {
        let make = |engine: &Engine| {
            let mut linker = Linker::new(engine.wasmtime());
            fill(&mut linker).map(|()| linker)
        };
        let baseline = engines.baseline.as_ref().map(make).transpose()?;
        Ok(Self { optimized: make(&engines.optimized)?, baseline })
    }

    /// The linker for code of `tier`.
    fn of(&self, tier: Tier) -> &Linker<T> {
        match (tier, &self.baseline) {
            (Tier::Baseline, Some(baseline)) => baseline,
            _ => &self.optimized,
        }
    }
}
