//! Hands a state over for the component's export.

pub use super::bindings::state::exports::wrt::plugin::state::{
    Guest, RestoreError as WireRestoreError, Restored as WireRestored, Snapshot as WireSnapshot,
};

use crate::State;
use crate::state::slot::Slot;
use crate::state::{RestoreError, Restored, Snapshot};
use std::thread::LocalKey;

/// Saves the state, which stays as it is.
pub fn save<S: State>(
    slot: &'static LocalKey<Slot<S>>,
    begin: Option<fn() -> S>,
) -> Result<WireSnapshot, String> {
    let state = slot.with(|slot| slot.take(begin)).map_err(|error| error.chain())?;
    let saved = crate::state::save(&state);
    slot.with(|slot| slot.put(state));
    match saved {
        Ok(Snapshot { schema, version, payload }) => Ok(WireSnapshot { schema, version, payload }),
        Err(error) => Err(error.chain()),
    }
}

/// Begins the instance with a snapshot, once all of it has been read.
pub fn restore<S: State>(
    slot: &'static LocalKey<Slot<S>>,
    snapshot: WireSnapshot,
) -> Result<WireRestored, WireRestoreError> {
    let WireSnapshot { schema, version, payload } = snapshot;
    match crate::state::restore::<S>(&Snapshot { schema, version, payload }) {
        Ok((state, restored)) => {
            slot.with(|slot| slot.put(state));
            Ok(match restored {
                Restored::Carried => WireRestored::Carried,
                Restored::Migrated => WireRestored::Migrated,
            })
        }
        Err(RestoreError::Incompatible(text)) => Err(WireRestoreError::Incompatible(text)),
        Err(RestoreError::Failed(text)) => Err(WireRestoreError::Failed(text)),
    }
}
