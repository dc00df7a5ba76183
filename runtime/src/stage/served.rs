//! Stages components for the contracts that wrt serves: HTTP and events.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Linker;

use super::{Shared, first_instance_error};
use crate::artifact::{ComponentBytes, compile};
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
use crate::supervisor::{Guest, Staged};

/// See the [module](self).
pub(crate) struct ServedGuest {
    pub(crate) shared: Shared,
    pub(crate) config: HandlerConfig,
    /// Made once for all handlers: it takes longer to fill than a small component to link.
    pub(crate) linker: Arc<Linker<HostState>>,
}

impl Guest for ServedGuest {
    type Ready = Served;

    async fn stage(
        &self,
        component: ComponentBytes,
        number: GenerationNumber,
        retirement: &Retirement,
    ) -> Result<Staged<Served>, StageError> {
        let Self { shared, config, linker } = self;
        let artifact = compile(&shared.engine, &component).await?;
        let kind = Kind::of(&artifact.component)?;
        let wasi03 = shared.config.wasi03;
        let pre = contract::link(linker, &artifact.component, kind.world(), wasi03)?;
        let factory = StoreFactory::new(
            &shared.engine,
            config,
            &shared.bus,
            number,
            Arc::new(|| ()),
            &shared.stores,
        );
        let (mode, retirement, timeout) = (config.instances, retirement.clone(), config.timeout);
        let (world, bare, spare) = (kind.world(), pre.clone(), factory.clone());
        let (kind, tried) = match ServedPre::new(kind, pre)? {
            ServedPre::Http(pre) => {
                let http = HttpInstances::new(pre, factory, mode, timeout, retirement);
                let tried = http.try_out().await;
                (ServedKind::Http(http), tried)
            }
            ServedPre::Event(pre) => {
                let events = Instances::new(pre, factory, mode, retirement);
                let tried = events.try_out(timeout).await;
                (ServedKind::Event(events), tried)
            }
        };
        if let Err(failure) = tried {
            let store = spare.store();
            return Err(first_instance_error(&bare, store, world, timeout, failure).await);
        }
        let serving = Serving { generation: number, digest: artifact.digest };
        Ok(artifact.staged(Served::new(&config.name, serving, kind)))
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
