//! Stage: from component bytes to something that takes calls, off to the side.
//!
//! The two ways differ in the contract only: [`served`] finds it in the component's exports,
//! [`typed`] has it from the embedder.

pub(crate) mod served;
pub(crate) mod typed;

use std::sync::Arc;

use crate::config::RuntimeConfig;
use crate::engine::Engine;
use crate::events::EventBus;
use crate::instance::StoreCount;

/// What every handler of a runtime shares.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<RuntimeConfig>,
    pub(crate) engine: Engine,
    pub(crate) bus: EventBus,
    pub(crate) stores: StoreCount,
}
