//! The optional exports of any component: `wrt:plugin/lifecycle` and `wrt:plugin/state`.

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package wrt:host-hooks;
            world hooks {
                export wrt:plugin/lifecycle@0.1.0;
                export wrt:plugin/state@0.1.0;
            }
        ",
        world: "wrt:host-hooks/hooks",
        exports: { default: async },
    });
}

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use super::{ContractError, export_names};
use crate::host::HostState;
use crate::id::{GenerationNumber, HandlerName};
use crate::snapshot::{Restored, Snapshot};
use bindings::exports::wrt::plugin::{lifecycle, state};

const LIFECYCLE: &str = "wrt:plugin/lifecycle@0.1.0";
const STATE: &str = "wrt:plugin/state@0.1.0";

/// See the [module](self): where those that a component has are.
pub(crate) struct Hooks {
    lifecycle: Option<lifecycle::GuestIndices>,
    state: Option<state::GuestIndices>,
}

/// Why a guest did not take a snapshot over.
pub(crate) enum Unrestored {
    /// It says that its shape is another.
    Incompatible(String),
    /// It says that it failed.
    Failed(String),
}

impl Hooks {
    /// Finds the optional exports of `pre`.
    ///
    /// # Errors
    ///
    /// [`ContractError::WrongExport`] when one is there and has another shape.
    pub(crate) fn of<T: 'static>(pre: &InstancePre<T>) -> Result<Self, ContractError> {
        let component = pre.component();
        let has = |name: &str| component.get_export_index(None, name).is_some();
        let wrong = |world| {
            move |source| ContractError::WrongExport {
                world,
                found: export_names(component),
                source,
            }
        };
        let lifecycle = has(LIFECYCLE).then(|| lifecycle::GuestIndices::new(pre)).transpose();
        let state = has(STATE).then(|| state::GuestIndices::new(pre)).transpose();
        Ok(Self {
            lifecycle: lifecycle.map_err(wrong(LIFECYCLE))?,
            state: state.map_err(wrong(STATE))?,
        })
    }

    /// Whether there is state to hand over.
    pub(crate) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    /// Whether an instance wants to be told of its end.
    pub(crate) fn has_lifecycle(&self) -> bool {
        self.lifecycle.is_some()
    }

    /// Calls `init`, if there is one; the inner error is the guest's own.
    pub(crate) async fn init<H: Send>(
        &self,
        store: &mut Store<HostState<H>>,
        instance: &Instance,
        handler: &HandlerName,
        generation: GenerationNumber,
    ) -> wasmtime::Result<Result<(), String>> {
        let Some(indices) = &self.lifecycle else { return Ok(Ok(())) };
        let guest = indices.load(&mut *store, instance)?;
        let context = lifecycle::Context {
            handler: handler.as_str().to_owned(),
            generation: generation.get(),
        };
        guest.call_init(store, &context).await
    }

    /// Calls `shutdown`, if there is one.
    pub(crate) async fn shutdown<H: Send>(
        &self,
        store: &mut Store<HostState<H>>,
        instance: &Instance,
    ) -> wasmtime::Result<()> {
        let Some(indices) = &self.lifecycle else { return Ok(()) };
        indices.load(&mut *store, instance)?.call_shutdown(store).await
    }

    /// Calls `save`; the inner error is the guest's own. `None` when there is no state to hand over.
    pub(crate) async fn save<H: Send>(
        &self,
        store: &mut Store<HostState<H>>,
        instance: &Instance,
    ) -> wasmtime::Result<Option<Result<Snapshot, String>>> {
        let Some(indices) = &self.state else { return Ok(None) };
        let saved = indices.load(&mut *store, instance)?.call_save(store).await?;
        Ok(Some(saved.map(|state::Snapshot { schema, version, payload }| Snapshot {
            schema,
            version,
            payload,
        })))
    }

    /// Calls `restore`; the inner error is the guest's own. `None` when it takes no state over.
    pub(crate) async fn restore<H: Send>(
        &self,
        store: &mut Store<HostState<H>>,
        instance: &Instance,
        snapshot: &Snapshot,
    ) -> wasmtime::Result<Option<Result<Restored, Unrestored>>> {
        let Some(indices) = &self.state else { return Ok(None) };
        let guest = indices.load(&mut *store, instance)?;
        let Snapshot { schema, version, payload } = snapshot.clone();
        let snapshot = state::Snapshot { schema, version, payload };
        let restored = guest.call_restore(store, &snapshot).await?;
        Ok(Some(match restored {
            Ok(state::Restored::Carried) => Ok(Restored::Carried),
            Ok(state::Restored::Migrated) => Ok(Restored::Migrated),
            Err(state::RestoreError::Incompatible(why)) => Err(Unrestored::Incompatible(why)),
            Err(state::RestoreError::Failed(why)) => Err(Unrestored::Failed(why)),
        }))
    }
}
