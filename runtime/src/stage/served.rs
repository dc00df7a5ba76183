//! Stages components for the contracts that wrt serves: HTTP and events.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::InstancePre;

use super::{Linkers, Shared, first_instance_error};
use crate::artifact::{Artifact, Candidate, Goal, Obtained, Source, Staged};
use crate::config::{HandlerConfig, InstanceMode};
use crate::contract;
use crate::contract::served::{Kind, ServedPre};
use crate::error::StageError;
use crate::events::Serving;
use crate::generation::Retirement;
use crate::host::HostState;
use crate::id::GenerationNumber;
use crate::instance::http::HttpInstances;
use crate::instance::{Instances, Served, ServedKind, StoreFactory};
use crate::supervisor::Guest;

/// See the [module](self).
pub(crate) struct ServedGuest {
    pub(crate) shared: Shared,
    pub(crate) config: HandlerConfig,
    /// Made once for all handlers: they take longer to fill than a small component to link.
    pub(crate) linkers: Arc<Linkers<HostState>>,
}

/// A component that is linked, before it was proved to run.
struct Linked {
    kind: ServedKind,
    world: &'static str,
    /// For a second look when no instance can be made.
    bare: InstancePre<HostState>,
    factory: StoreFactory<()>,
}

impl ServedGuest {
    fn link(
        &self,
        artifact: &Artifact,
        number: GenerationNumber,
        retirement: Retirement,
    ) -> Result<Linked, StageError> {
        let Self { shared, config, linkers } = self;
        let component = artifact.component();
        let kind = Kind::of(component)?;
        let (world, wasi03) = (kind.world(), shared.config.wasi03);
        let bare = contract::link(linkers.of(artifact.tier()), component, world, wasi03)?;
        let factory = shared.stores(artifact, config, number, Arc::new(|| ()));
        let (mode, timeout, spare) = (config.instances, config.timeout, factory.clone());
        let kind = match ServedPre::new(kind, bare.clone())? {
            ServedPre::Http(pre) => {
                ServedKind::Http(HttpInstances::new(pre, factory, mode, timeout, retirement))
            }
            ServedPre::Event(pre) => {
                ServedKind::Event(Box::new(Instances::new(pre, factory, mode, retirement)))
            }
        };
        Ok(Linked { kind, world, bare, factory: spare })
    }

    fn staged(
        &self,
        obtained: Obtained,
        candidate: &Candidate,
        number: GenerationNumber,
        kind: ServedKind,
    ) -> Staged<Served> {
        let serving = Serving { generation: number, digest: candidate.digest };
        obtained.staged(candidate, Served::new(&self.config.name, serving, kind))
    }
}

impl Guest for ServedGuest {
    type Ready = Served;

    async fn open(&self, source: Source) -> Result<Candidate, StageError> {
        self.shared.artifacts.open(source).await
    }

    async fn stage(
        &self,
        candidate: &Candidate,
        number: GenerationNumber,
        retirement: Retirement,
    ) -> Result<Staged<Served>, StageError> {
        let obtained = self.shared.artifacts.obtain(candidate, Goal::Soon).await?;
        let Linked { kind, world, bare, factory } =
            self.link(&obtained.artifact, number, retirement)?;
        let timeout = self.config.timeout;
        let tried = match &kind {
            ServedKind::Http(http) => http.try_out().await,
            ServedKind::Event(events) => events.try_out(timeout).await,
        };
        if let Err(failure) = tried {
            let store = factory.store();
            return Err(first_instance_error(&bare, store, world, timeout, failure).await);
        }
        Ok(self.staged(obtained, candidate, number, kind))
    }

    async fn restage(
        &self,
        candidate: &Candidate,
        number: GenerationNumber,
        retirement: Retirement,
        goal: Goal,
    ) -> Result<Staged<Served>, StageError> {
        let obtained = self.shared.artifacts.obtain(candidate, goal).await?;
        let linked = self.link(&obtained.artifact, number, retirement)?;
        Ok(self.staged(obtained, candidate, number, linked.kind))
    }

    fn tidy_every(&self) -> Option<Duration> {
        tidy_every(self.config.instances)
    }

    fn tidy(&self, ready: &Served) {
        // HTTP workers expire by themselves.
        if let ServedKind::Event(events) = &ready.kind {
            events.expire_idle();
        }
    }
}

/// Idle instances go within half their allowed time after it has passed.
pub(super) fn tidy_every(mode: InstanceMode) -> Option<Duration> {
    match mode {
        InstanceMode::Fresh => None,
        InstanceMode::Pooled { max_idle, .. } => Some((max_idle / 2).max(Duration::from_secs(1))),
    }
}
