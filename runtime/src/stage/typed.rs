//! Stages components for an embedder's own contract.

use std::sync::Arc;
use std::time::Duration;

use super::{Linkers, Own, Plan, Shared, first_instance_error, goal_of, tidy_every};
use crate::artifact::{Artifact, Candidate, Goal, Release, Source, Staged};
use crate::config::Settings;
use crate::contract::{self, Contract};
use crate::error::{HandOverError, ProbeError, StageError};
use crate::generation::Retirement;
use crate::host::HostState;
use crate::id::GenerationNumber;
use crate::instance::Instances;
use crate::snapshot::{Keeps, Restored, Snapshot};
use crate::supervisor::Guest;

/// See the [module](self).
pub(crate) struct TypedGuest<C: Contract> {
    pub(crate) shared: Shared,
    pub(crate) own: Own,
    pub(crate) linkers: Arc<Linkers<HostState<C::Host>>>,
    pub(crate) make_host: Arc<dyn Fn() -> C::Host + Send + Sync>,
}

impl<C: Contract> TypedGuest<C> {
    fn link(
        &self,
        artifact: &Artifact,
        settings: &Settings,
        number: GenerationNumber,
    ) -> Result<Instances<C>, StageError> {
        let Self { shared, own, linkers, make_host } = self;
        let (component, wasi03) = (artifact.component(), shared.config.wasi03);
        let pre = contract::link(linkers.of(artifact.tier()), component, C::WORLD, wasi03)?;
        let plan = Plan { artifact, own, settings, number };
        Ok(Instances::new(shared.keeper(plan, pre, Arc::clone(make_host))?))
    }
}

impl<C: Contract> Guest for TypedGuest<C> {
    type Ready = Instances<C>;

    async fn open(&self, source: Source) -> Result<Candidate, StageError> {
        self.shared.artifacts.open(source).await
    }

    async fn stage(
        &self,
        release: &Release,
        number: GenerationNumber,
        _: Retirement,
    ) -> Result<Staged<Instances<C>>, StageError> {
        let Release { candidate, settings, .. } = release;
        let goal = goal_of(settings);
        let obtained = self.shared.obtain(candidate, goal, |_| Ok(C::WORLD)).await?;
        let instances = self.link(&obtained.artifact, settings, number)?;
        let component = obtained.artifact.component();
        let stocked = instances.keeper().stock().await;
        stocked.map_err(|error| first_instance_error(error, C::WORLD, component))?;
        Ok(obtained.staged(candidate, instances))
    }

    async fn restage(
        &self,
        release: &Release,
        number: GenerationNumber,
        _: Retirement,
        goal: Goal,
    ) -> Result<Staged<Instances<C>>, StageError> {
        let Release { candidate, settings, .. } = release;
        let obtained = self.shared.artifacts.obtain(candidate, goal).await?;
        let instances = self.link(&obtained.artifact, settings, number)?;
        Ok(obtained.staged(candidate, instances))
    }

    fn keeps(&self, ready: &Instances<C>) -> Keeps {
        ready.keeper().keeps()
    }

    fn has_lost(&self, ready: &Instances<C>) -> bool {
        ready.keeper().has_lost()
    }

    async fn start(&self, ready: &Instances<C>) -> Result<(), StageError> {
        ready.keeper().start().await.map_err(|source| StageError::Init { source })
    }

    async fn save(&self, ready: &Instances<C>) -> Result<Snapshot, HandOverError> {
        ready.keeper().save().await
    }

    async fn restore(
        &self,
        ready: &Instances<C>,
        snapshot: &Snapshot,
    ) -> Result<Restored, HandOverError> {
        ready.keeper().restore(snapshot).await
    }

    async fn warm(&self, ready: &Instances<C>, n: usize) -> Result<(), StageError> {
        let warmed = ready.keeper().warm(n).await;
        warmed.map_err(|error| StageError::Init { source: error.into() })
    }

    async fn probe(&self, _: &Instances<C>, settings: &Settings) -> Result<(), StageError> {
        match &settings.probe {
            Some(path) => {
                let source = Box::new(ProbeError::NotHttp);
                Err(StageError::Probe { path: path.clone(), source })
            }
            None => Ok(()),
        }
    }

    fn retire(&self, ready: &Instances<C>) {
        ready.keeper().retire();
    }

    async fn close(&self, ready: &Instances<C>) {
        ready.keeper().close().await;
    }

    fn tidy_every(&self, settings: &Settings) -> Option<Duration> {
        tidy_every(settings.instances)
    }

    fn tidy(&self, ready: &Instances<C>) {
        ready.keeper().expire_idle();
    }
}
