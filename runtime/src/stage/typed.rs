//! Stages components for an embedder's own contract.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;

use super::served::tidy_every;
use super::{Shared, first_instance_error};
use crate::artifact::{ComponentBytes, compile};
use crate::config::HandlerConfig;
use crate::contract::{self, Contract, ContractError, export_names};
use crate::error::StageError;
use crate::generation::Retirement;
use crate::host::HostState;
use crate::id::GenerationNumber;
use crate::instance::{Instances, StoreFactory};
use crate::supervisor::{Guest, Staged};

/// See the [module](self).
pub(crate) struct TypedGuest<C: Contract> {
    pub(crate) shared: Shared,
    pub(crate) config: HandlerConfig,
    pub(crate) linker: Linker<HostState<C::Host>>,
    pub(crate) make_host: Arc<dyn Fn() -> C::Host + Send + Sync>,
}

impl<C: Contract> Guest for TypedGuest<C> {
    type Ready = Instances<C>;

    async fn stage(
        &self,
        component: ComponentBytes,
        number: GenerationNumber,
        retirement: &Retirement,
    ) -> Result<Staged<Instances<C>>, StageError> {
        let Self { shared, config, linker, make_host } = self;
        let artifact = compile(&shared.engine, &component).await?;
        let wasi03 = shared.config.wasi03;
        let pre = contract::link(linker, &artifact.component, C::WORLD, wasi03)?;
        let bare = pre.clone();
        let pre = C::pre(pre).map_err(|source| ContractError::WrongExport {
            world: C::WORLD,
            found: export_names(&artifact.component),
            source,
        })?;
        let factory = StoreFactory::new(
            &shared.engine,
            config,
            &shared.bus,
            number,
            Arc::clone(make_host),
            &shared.stores,
        );
        let (spare, timeout) = (factory.clone(), config.timeout);
        let instances = Instances::<C>::new(pre, factory, config.instances, retirement.clone());
        match instances.try_out(timeout).await {
            Ok(()) => Ok(artifact.staged(instances)),
            Err(failure) => {
                let store = spare.store();
                Err(first_instance_error(&bare, store, C::WORLD, timeout, failure).await)
            }
        }
    }

    fn tidy_every(&self) -> Option<Duration> {
        tidy_every(self.config.instances)
    }

    fn tidy(&self, ready: &Instances<C>) {
        ready.expire_idle();
    }
}
