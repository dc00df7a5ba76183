//! Stage: from component bytes to something that takes calls, off to the side.
//!
//! The two ways differ in the contract only: [`served`] finds it in the component's exports,
//! [`typed`] has it from the embedder.

pub(crate) mod served;
pub(crate) mod typed;

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use crate::config::RuntimeConfig;
use crate::contract::{ContractError, export_names};
use crate::engine::Engine;
use crate::error::{CallFailure, StageError};
use crate::events::EventBus;
use crate::host::HostState;
use crate::instance::StoreCount;

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
    pub(crate) engine: Engine,
    pub(crate) bus: EventBus,
    pub(crate) stores: StoreCount,
}
