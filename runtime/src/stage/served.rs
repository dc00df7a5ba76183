//! Stages components for the contracts that wrt serves: HTTP and events.

use std::sync::Arc;
use std::time::Duration;

use super::{Linkers, Own, Plan, Shared, first_instance_error, goal_of, tidy_every};
use crate::artifact::{Artifact, Candidate, Goal, Obtained, Release, Source, Staged, Survey};
use crate::config::Settings;
use crate::contract;
use crate::contract::served::Kind;
use crate::error::{HandOverError, ProbeError, StageError};
use crate::events::Serving;
use crate::generation::Retirement;
use crate::host::HostState;
use crate::id::GenerationNumber;
use crate::instance::http::{Direct, HttpInstances, Workers};
use crate::instance::{Instances, Served, ServedKind};
use crate::snapshot::{Keeps, Restored, Snapshot};
use crate::supervisor::Guest;

/// See the [module](self).
pub(crate) struct ServedGuest {
    pub(crate) shared: Shared,
    pub(crate) own: Own,
    /// Made once for all handlers: they take longer to fill than a small component to link.
    pub(crate) linkers: Arc<Linkers<HostState>>,
}

/// Does the same with the keeper of each kind.
macro_rules! with_keeper {
    ($kind:expr, $keeper:ident => $do:expr) => {
        match &$kind {
            ServedKind::Http(HttpInstances::Direct(direct)) => {
                let $keeper = direct.keeper();
                $do
            }
            ServedKind::Http(HttpInstances::Workers(workers)) => {
                let $keeper = workers.keeper();
                $do
            }
            ServedKind::Event(events) => {
                let $keeper = events.keeper();
                $do
            }
        }
    };
}

impl ServedGuest {
    fn link(
        &self,
        artifact: &Artifact,
        settings: &Settings,
        number: GenerationNumber,
        retirement: &Retirement,
    ) -> Result<(ServedKind, Kind), StageError> {
        let Self { shared, own, linkers } = self;
        let component = artifact.component();
        let kind = Kind::of(&contract::export_names(component))?;
        let (world, wasi03) = (kind.world(), shared.config.wasi03);
        let pre = contract::link(linkers.of(artifact.tier()), component, world, wasi03)?;
        let plan = Plan { artifact, own, settings, number };
        let (mode, timeout) = (settings.instances, settings.timeout);
        let make_host = Arc::new(|| ());
        let served = match kind {
            Kind::Http02 => {
                let keeper = shared.keeper(plan, pre, make_host)?;
                let direct = Direct::new(keeper, timeout, retirement.cut.clone());
                ServedKind::Http(HttpInstances::Direct(direct))
            }
            Kind::Http03 => {
                let keeper = shared.keeper(plan, pre, make_host)?;
                let workers = Workers::new(keeper, mode, timeout, retirement.clone());
                ServedKind::Http(HttpInstances::Workers(workers))
            }
            Kind::Event => ServedKind::Event(Instances::new(shared.keeper(plan, pre, make_host)?)),
        };
        Ok((served, kind))
    }

    fn staged(
        &self,
        obtained: Obtained,
        candidate: &Candidate,
        number: GenerationNumber,
        kind: ServedKind,
    ) -> Staged<Served> {
        let serving = Serving { generation: number, digest: candidate.digest };
        obtained.staged(candidate, Served::new(&self.own.name, serving, kind))
    }
}

impl Guest for ServedGuest {
    type Ready = Served;

    async fn open(&self, source: Source) -> Result<Candidate, StageError> {
        self.shared.artifacts.open(source).await
    }

    async fn stage(
        &self,
        release: &Release,
        number: GenerationNumber,
        retirement: Retirement,
    ) -> Result<Staged<Served>, StageError> {
        let Release { candidate, settings, .. } = release;
        let goal = goal_of(settings);
        let wasi03 = self.shared.config.wasi03;
        let world = |survey: &Survey| match Kind::of(&survey.exports)? {
            // The compiler would not get past its types.
            Kind::Http03 if !wasi03 => {
                let interface = survey.clone().wasi03().unwrap_or_default();
                Err(StageError::Wasi03 { interface })
            }
            kind => Ok(kind.world()),
        };
        let obtained = self.shared.obtain(candidate, goal, world).await?;
        let (served, kind) = self.link(&obtained.artifact, settings, number, &retirement)?;
        let stocked = with_keeper!(served, keeper => keeper.stock().await);
        let component = obtained.artifact.component();
        stocked.map_err(|error| first_instance_error(error, kind.world(), component))?;
        Ok(self.staged(obtained, candidate, number, served))
    }

    async fn restage(
        &self,
        release: &Release,
        number: GenerationNumber,
        retirement: Retirement,
        goal: Goal,
    ) -> Result<Staged<Served>, StageError> {
        let Release { candidate, settings, .. } = release;
        let obtained = self.shared.artifacts.obtain(candidate, goal).await?;
        let (served, _) = self.link(&obtained.artifact, settings, number, &retirement)?;
        Ok(self.staged(obtained, candidate, number, served))
    }

    fn keeps(&self, ready: &Served) -> Keeps {
        with_keeper!(ready.kind, keeper => keeper.keeps())
    }

    fn kind(&self, ready: &Served) -> Option<&'static str> {
        Some(match &ready.kind {
            ServedKind::Http(_) => "HTTP requests",
            ServedKind::Event(_) => "events",
        })
    }

    fn has_lost(&self, ready: &Served) -> bool {
        with_keeper!(ready.kind, keeper => keeper.has_lost())
    }

    async fn start(&self, ready: &Served) -> Result<(), StageError> {
        let started = with_keeper!(ready.kind, keeper => keeper.start().await);
        started.map_err(|source| StageError::Init { source })
    }

    async fn save(&self, ready: &Served) -> Result<Snapshot, HandOverError> {
        with_keeper!(ready.kind, keeper => keeper.save().await)
    }

    async fn restore(
        &self,
        ready: &Served,
        snapshot: &Snapshot,
    ) -> Result<Restored, HandOverError> {
        with_keeper!(ready.kind, keeper => keeper.restore(snapshot).await)
    }

    async fn warm(&self, ready: &Served, n: usize) -> Result<(), StageError> {
        let n_instances = match &ready.kind {
            ServedKind::Http(http) => http.instances_for(n),
            ServedKind::Event(_) => n,
        };
        let warmed = with_keeper!(ready.kind, keeper => keeper.warm(n_instances).await);
        warmed.map_err(|error| StageError::Init { source: error.into() })
    }

    async fn probe(&self, ready: &Served, settings: &Settings) -> Result<(), StageError> {
        let Some(path) = &settings.probe else { return Ok(()) };
        let passed = match &ready.kind {
            ServedKind::Http(http) => http.probe(path).await,
            ServedKind::Event(_) => Err(ProbeError::NotHttp),
        };
        passed.map_err(|source| StageError::Probe { path: path.clone(), source: Box::new(source) })
    }

    fn retire(&self, ready: &Served) {
        with_keeper!(ready.kind, keeper => keeper.retire());
    }

    async fn close(&self, ready: &Served) {
        with_keeper!(ready.kind, keeper => keeper.close().await);
    }

    fn tidy_every(&self, settings: &Settings) -> Option<Duration> {
        tidy_every(settings.instances)
    }

    fn tidy(&self, ready: &Served) {
        // Workers of WASI 0.3 expire by themselves; this is for instances that are with the keeper.
        with_keeper!(ready.kind, keeper => keeper.expire_idle());
    }
}
