//! Stages components for an embedder's own contract.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::InstancePre;

use super::served::tidy_every;
use super::{Linkers, Shared, first_instance_error};
use crate::artifact::{Artifact, Candidate, Goal, Source, Staged};
use crate::config::HandlerConfig;
use crate::contract::{self, Contract, ContractError, export_names};
use crate::error::StageError;
use crate::generation::Retirement;
use crate::host::HostState;
use crate::id::GenerationNumber;
use crate::instance::{Instances, StoreFactory};
use crate::supervisor::Guest;

/// See the [module](self).
pub(crate) struct TypedGuest<C: Contract> {
    pub(crate) shared: Shared,
    pub(crate) config: HandlerConfig,
    pub(crate) linkers: Linkers<HostState<C::Host>>,
    pub(crate) make_host: Arc<dyn Fn() -> C::Host + Send + Sync>,
}

/// A component that is linked, before it was proved to run.
struct Linked<C: Contract> {
    instances: Instances<C>,
    /// For a second look when no instance can be made.
    bare: InstancePre<HostState<C::Host>>,
    factory: StoreFactory<C::Host>,
}

impl<C: Contract> TypedGuest<C> {
    fn link(
        &self,
        artifact: &Artifact,
        number: GenerationNumber,
        retirement: Retirement,
    ) -> Result<Linked<C>, StageError> {
        let Self { shared, config, linkers, make_host } = self;
        let (component, wasi03) = (artifact.component(), shared.config.wasi03);
        let bare = contract::link(linkers.of(artifact.tier()), component, C::WORLD, wasi03)?;
        let pre = C::pre(bare.clone()).map_err(|source| ContractError::WrongExport {
            world: C::WORLD,
            found: export_names(component),
            source,
        })?;
        let factory = shared.stores(artifact, config, number, Arc::clone(make_host));
        let instances = Instances::new(pre, factory.clone(), config.instances, retirement);
        Ok(Linked { instances, bare, factory })
    }
}

impl<C: Contract> Guest for TypedGuest<C> {
    type Ready = Instances<C>;

    async fn open(&self, source: Source) -> Result<Candidate, StageError> {
        self.shared.artifacts.open(source).await
    }

    async fn stage(
        &self,
        candidate: &Candidate,
        number: GenerationNumber,
        retirement: Retirement,
    ) -> Result<Staged<Instances<C>>, StageError> {
        let obtained = self.shared.artifacts.obtain(candidate, Goal::Soon).await?;
        let Linked { instances, bare, factory } =
            self.link(&obtained.artifact, number, retirement)?;
        let timeout = self.config.timeout;
        match instances.try_out(timeout).await {
            Ok(()) => Ok(obtained.staged(candidate, instances)),
            Err(failure) => {
                let store = factory.store();
                Err(first_instance_error(&bare, store, C::WORLD, timeout, failure).await)
            }
        }
    }

    async fn restage(
        &self,
        candidate: &Candidate,
        number: GenerationNumber,
        retirement: Retirement,
        goal: Goal,
    ) -> Result<Staged<Instances<C>>, StageError> {
        let obtained = self.shared.artifacts.obtain(candidate, goal).await?;
        let linked = self.link(&obtained.artifact, number, retirement)?;
        Ok(obtained.staged(candidate, linked.instances))
    }

    fn tidy_every(&self) -> Option<Duration> {
        tidy_every(self.config.instances)
    }

    fn tidy(&self, ready: &Instances<C>) {
        ready.expire_idle();
    }
}
