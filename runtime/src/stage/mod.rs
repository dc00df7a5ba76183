//! Stage: from component bytes to something that takes calls, off to the side.
//!
//! The two ways differ in the contract only: [`served`] finds it in the component's exports,
//! [`typed`] has it from the embedder.

pub(crate) mod served;
pub(crate) mod typed;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::artifact::{Artifact, Artifacts, Candidate, Goal, Obtained, Survey};
use crate::config::{InstanceMode, Policy, RuntimeConfig, Settings};
use crate::contract::{self, Contract, ContractError, export_names};
use crate::engine::{Engine, Engines};
use crate::error::StageError;
use crate::events::{EventBus, Tier};
use crate::handler::Handler;
use crate::host::{Budget, HostState, Outgoing};
use crate::id::{GenerationNumber, HandlerName};
use crate::instance::keeper::Keeper;
use crate::instance::live::{Allowance, Identity, MakeError, Maker};
use crate::instance::{StoreCount, StoreFactory};

/// What every handler of a runtime shares.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) config: Arc<RuntimeConfig>,
    pub(crate) engines: Engines,
    pub(crate) artifacts: Artifacts,
    pub(crate) bus: EventBus,
    pub(crate) budget: Budget,
    pub(crate) stores: StoreCount,
}

impl Shared {
    /// Compiled code of `candidate`. What its names show to be no fit is refused before it is
    /// compiled; `world` says by the names which world it has to fit.
    ///
    /// # Errors
    ///
    /// [`StageError`] when the names or the compiler refuse it.
    ///
    /// # Cancel safety
    ///
    /// A compilation that was begun goes on, for whoever asks next.
    async fn obtain(
        &self,
        candidate: &Candidate,
        goal: Goal,
        world: impl Fn(&Survey) -> Result<&'static str, StageError>,
    ) -> Result<Obtained, StageError> {
        if let Some(survey) = self.artifacts.survey(candidate).await? {
            let world = world(&survey)?;
            contract::refuse_prereleases(&survey.imports, world, self.config.wasi03)?;
        }
        self.artifacts.obtain(candidate, goal).await
    }

    /// Who keeps the instances of generation `number`, which runs `artifact`.
    ///
    /// # Errors
    ///
    /// [`ContractError::WrongExport`] when an export has another shape.
    fn keeper<C: Contract>(
        &self,
        plan: Plan<'_>,
        pre: InstancePre<HostState<C::Host>>,
        make_host: Arc<dyn Fn() -> C::Host + Send + Sync>,
    ) -> Result<Arc<Keeper<C>>, ContractError> {
        let Plan { artifact, own, settings, number } = plan;
        let indices = C::indices(&pre).map_err(|source| ContractError::WrongExport {
            world: C::WORLD,
            found: export_names(pre.component()),
            source,
        })?;
        let (shared, stores) = ((&self.bus, &self.budget), &self.stores);
        let engine = artifact.engine();
        let of = (&own.name, settings, &own.outgoing);
        let factory = StoreFactory::new(engine, of, shared, number, make_host, stores);
        let identity =
            Identity { handler: own.name.clone(), generation: number, bus: self.bus.clone() };
        let allowance = Allowance { start: settings.timeout, policy: Arc::clone(&own.policy) };
        let maker = Maker::new(pre, indices, factory, identity, allowance)?;
        Ok(Keeper::new(maker, settings.instances))
    }
}

/// What is one handler's own, over all of its versions.
pub(crate) struct Own {
    name: HandlerName,
    policy: Arc<ArcSwap<Policy>>,
    outgoing: Outgoing,
}

impl Own {
    pub(crate) fn of<R>(handler: &Handler<R>, budget: &Budget) -> Self {
        Self {
            name: handler.name().clone(),
            policy: handler.live_policy(),
            outgoing: Outgoing::new(budget, handler.outgoing()),
        }
    }
}

/// What is to become of compiled code.
#[derive(Clone, Copy)]
struct Plan<'a> {
    artifact: &'a Artifact,
    own: &'a Own,
    settings: &'a Settings,
    number: GenerationNumber,
}

/// Code that a candidate's instances run. A long-lived instance begins on optimized code: it could
/// not change to it later without a hand-over.
fn goal_of(settings: &Settings) -> Goal {
    if settings.instances == InstanceMode::Singleton { Goal::BestSoon } else { Goal::Soon }
}

/// Idle instances go within half their allowed time after it has passed.
fn tidy_every(mode: InstanceMode) -> Option<Duration> {
    match mode {
        InstanceMode::Fresh | InstanceMode::Singleton => None,
        InstanceMode::Pooled { max_idle, .. } => Some((max_idle / 2).max(Duration::from_secs(1))),
    }
}

/// The stage's error for a first instance that was not made. The bindings look at the types of
/// exports when an instance is made, not before.
fn first_instance_error(
    error: MakeError,
    world: &'static str,
    component: &Component,
) -> StageError {
    match error {
        MakeError::Exports(source) => {
            ContractError::WrongExport { world, found: export_names(component), source }.into()
        }
        MakeError::Failed(source) => StageError::Init { source },
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
