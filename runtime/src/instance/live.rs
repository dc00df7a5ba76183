//! A live instance with its store, and what makes one, starts it, moves its state and ends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::bounded::within;
use super::{StoreFactory, failure, failure_in};
use crate::config::Policy;
use crate::contract::hooks::{Hooks, Unrestored};
use crate::contract::{Contract, ContractError};
use crate::error::{CallFailure, HandOverError, chain};
use crate::events::{EventBus, EventKind, LogLevel, cut};
use crate::host::HostState;
use crate::id::{GenerationNumber, HandlerName};
use crate::snapshot::{Keeps, Restored, Snapshot};

/// An instance and the store it lives in.
pub(crate) struct Live<C: Contract> {
    // Both are handles into the store; only the store owns anything.
    pub(crate) instance: Instance,
    pub(crate) exports: C::Instance,
    pub(crate) store: Store<HostState<C::Host>>,
    pub(super) age: Age,
    pub(super) idle_since: Instant,
}

/// Which instance it is, and how much it has behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age {
    /// Which of its generation's instances it is.
    pub(super) number: u64,
    /// Calls that it has answered.
    pub(super) calls: usize,
    pub(super) made_at: Instant,
}

/// Whose instances these are, for the guest and for events.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) handler: HandlerName,
    pub(crate) generation: GenerationNumber,
    pub(crate) bus: EventBus,
}

/// How long and how much a guest may take outside of its calls.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    /// Longest time to make and start an instance.
    pub(crate) start: Duration,
    /// Has the longest time of `save`, of `restore` and of `shutdown`, each, as it is then.
    pub(crate) policy: Arc<ArcSwap<Policy>>,
}

/// Makes the instances of one generation.
pub(crate) struct Maker<C: Contract> {
    pre: InstancePre<HostState<C::Host>>,
    indices: C::Indices,
    hooks: Hooks,
    factory: StoreFactory<C::Host>,
    identity: Identity,
    allowance: Allowance,
    n_made: AtomicU64,
}

/// Why there is no instance.
pub(crate) enum MakeError {
    /// An export has another type than the contract says. Only the first instance tells.
    Exports(wasmtime::Error),
    /// It could not be made or started.
    Failed(CallFailure),
}

impl From<CallFailure> for MakeError {
    fn from(failure: CallFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<MakeError> for CallFailure {
    fn from(error: MakeError) -> Self {
        match error {
            MakeError::Exports(source) => Self::Instantiate { source },
            MakeError::Failed(failure) => failure,
        }
    }
}

impl<C: Contract> Maker<C> {
    /// A maker of instances of `pre`.
    ///
    /// # Errors
    ///
    /// [`ContractError::WrongExport`] when one of the optional exports has another shape.
    pub(crate) fn new(
        pre: InstancePre<HostState<C::Host>>,
        indices: C::Indices,
        factory: StoreFactory<C::Host>,
        identity: Identity,
        allowance: Allowance,
    ) -> Result<Self, ContractError> {
        let hooks = Hooks::of(&pre)?;
        Ok(Self { pre, indices, hooks, factory, identity, allowance, n_made: AtomicU64::new(0) })
    }

    /// What a long-lived instance keeps.
    pub(super) fn keeps(&self) -> Keeps {
        if self.hooks.has_state() { Keeps::State } else { Keeps::Memory }
    }

    /// Says that an instance was made in place of one whose state is gone.
    pub(super) fn tell_of_loss(&self) {
        let Identity { handler, generation, bus } = &self.identity;
        let reason = "a call ended the instance that had it".to_owned();
        bus.emit(Some(handler), None, EventKind::StateLost { generation: *generation, reason });
    }

    /// Says that a component which keeps state is used as if it did not.
    pub(super) fn warn_of_state(&self) {
        if !self.hooks.has_state() {
            return;
        }
        let message = "its state is not kept: set `instances = \"singleton\"` of the handler";
        let kind = EventKind::Log {
            level: LogLevel::Warn,
            message: message.to_owned(),
            fields: BTreeMap::from([("context", "wrt".to_owned())]),
            generation: self.identity.generation,
        };
        self.identity.bus.emit(Some(&self.identity.handler), None, kind);
    }

    /// Longest time of `save`, of `restore` and of `shutdown`, each.
    pub(super) fn hand_over(&self) -> Duration {
        self.allowance.policy.load().hand_over
    }

    /// Longest time of a call.
    pub(super) fn timeout(&self) -> Duration {
        self.allowance.start
    }

    /// An instance that was started and can take calls.
    ///
    /// # Errors
    ///
    /// [`MakeError`], within the time allowed.
    pub(super) async fn make(&self) -> Result<Box<Live<C>>, MakeError> {
        let timeout = self.allowance.start;
        let made = async {
            let mut live = self.instantiate().await?;
            self.init(&mut live).await?;
            Ok(live)
        };
        let deadline = || Err(CallFailure::Deadline { timeout }.into());
        within(timeout, made).await.unwrap_or_else(deadline)
    }

    /// An instance in which nothing but its start function has run.
    ///
    /// # Errors
    ///
    /// [`MakeError`], within the time allowed.
    pub(super) async fn make_bare(&self) -> Result<Box<Live<C>>, MakeError> {
        let timeout = self.allowance.start;
        let deadline = || Err(CallFailure::Deadline { timeout }.into());
        within(timeout, self.instantiate()).await.unwrap_or_else(deadline)
    }

    /// Starts an instance that was made bare.
    ///
    /// # Errors
    ///
    /// What the guest's or the contract's `init` ended with, within the time allowed.
    pub(super) async fn start(&self, live: &mut Live<C>) -> Result<(), CallFailure> {
        let timeout = self.allowance.start;
        let deadline = || Err(CallFailure::Deadline { timeout });
        within(timeout, self.init(live)).await.unwrap_or_else(deadline)
    }

    /// The instance `instance` of `store`, after a call that somebody else made in it.
    pub(super) fn revive(
        &self,
        mut store: Store<HostState<C::Host>>,
        instance: Instance,
        age: Age,
    ) -> Option<Box<Live<C>>> {
        // They had the right types when the instance was made.
        let exports = C::exports(&self.indices, &mut store, &instance).ok()?;
        Some(Box::new(Live { instance, exports, store, age, idle_since: Instant::now() }))
    }

    /// The state of `live`, which goes on when the guest itself refuses, and must be dropped when
    /// the error says [`HandOverError::Lost`].
    pub(super) async fn save(&self, live: &mut Live<C>) -> Result<Snapshot, HandOverError> {
        let saved =
            bounded(self.hand_over(), self.hooks.save(&mut live.store, &live.instance)).await;
        match saved.map_err(|source| HandOverError::Lost { source })? {
            Some(Ok(snapshot)) => Ok(snapshot),
            Some(Err(reason)) => Err(HandOverError::Refused { reason: cut(reason) }),
            None => {
                let reason = "it does not export `wrt:plugin/state`".to_owned();
                Err(HandOverError::Refused { reason })
            }
        }
    }

    /// Makes the state of `live`, which was made bare, that of `snapshot`. On an error `live` must
    /// be dropped. What the guest does meanwhile has no effect outside.
    pub(super) async fn restore(
        &self,
        live: &mut Live<C>,
        snapshot: &Snapshot,
    ) -> Result<Restored, HandOverError> {
        live.store.data_mut().refuse_effects(true);
        let restoring = self.hooks.restore(&mut live.store, &live.instance, snapshot);
        let restored = bounded(self.hand_over(), restoring).await;
        live.store.data_mut().refuse_effects(false);
        match restored.map_err(|source| HandOverError::Broken { source })? {
            Some(Ok(restored)) => Ok(restored),
            Some(Err(Unrestored::Incompatible(reason))) => {
                Err(HandOverError::Incompatible { reason: cut(reason) })
            }
            Some(Err(Unrestored::Failed(reason))) => {
                Err(HandOverError::Unrestored { reason: cut(reason) })
            }
            None => {
                let reason = "it does not export `wrt:plugin/state`".to_owned();
                Err(HandOverError::Incompatible { reason })
            }
        }
    }

    /// Tells `live` of its end, if it wants to know, and drops it.
    pub(super) async fn shut_down(&self, mut live: Box<Live<C>>) {
        if !self.hooks.has_lifecycle() {
            return;
        }
        let started = Instant::now();
        let ending = self.hooks.shutdown(&mut live.store, &live.instance);
        if let Err(failure) = bounded(self.hand_over(), ending).await {
            let kind = EventKind::CallFailed {
                generation: self.identity.generation,
                outcome: "shutdown",
                answered: false,
                error: chain(&failure),
                elapsed_ms: started.elapsed().as_secs_f64() * 1e3,
                request_id: None,
            };
            self.identity.bus.emit(Some(&self.identity.handler), None, kind);
        }
    }

    /// Whether an instance wants to be told of its end.
    pub(super) fn has_shutdown(&self) -> bool {
        self.hooks.has_lifecycle()
    }

    async fn instantiate(&self) -> Result<Box<Live<C>>, MakeError> {
        let mut store = self.factory.store();
        let made = self.pre.instantiate_async(&mut store).await;
        let instance = made.map_err(|error| match failure_in(store.data(), error) {
            CallFailure::Guest { reason } => {
                CallFailure::Instantiate { source: wasmtime::Error::msg(reason) }
            }
            other => other,
        })?;
        let exports =
            C::exports(&self.indices, &mut store, &instance).map_err(MakeError::Exports)?;
        let now = Instant::now();
        // Ordering: neighbours get different numbers, and that is all they are for.
        let number = self.n_made.fetch_add(1, Ordering::Relaxed);
        let age = Age { number, calls: 0, made_at: now };
        Ok(Box::new(Live { instance, exports, store, age, idle_since: now }))
    }

    async fn init(&self, live: &mut Live<C>) -> Result<(), CallFailure> {
        let Identity { handler, generation, .. } = &self.identity;
        let Live { store, instance, exports, .. } = live;
        let said = self.hooks.init(store, instance, handler, *generation).await;
        match said.map_err(|error| failure_in(store.data(), error))? {
            Ok(()) => {}
            Err(reason) => return Err(CallFailure::Init { reason: cut(reason) }),
        }
        let made = C::init(exports, store).await;
        made.map_err(|error| failure_in(store.data(), error))
    }
}

/// Bounds a guest's phase in time, and classifies its end.
async fn bounded<T>(
    timeout: Duration,
    phase: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, CallFailure> {
    match within(timeout, phase).await {
        Some(result) => result.map_err(failure),
        None => Err(CallFailure::Deadline { timeout }),
    }
}
