//! Begins and ends an instance for the component's export.

pub use super::bindings::lifecycle::exports::wrt::plugin::lifecycle::{
    Context as WireContext, Guest,
};

use super::report;
use crate::state::slot::Slot;
use crate::{Context, Init, Shutdown};
use std::thread::LocalKey;

/// Begins an instance; its state is there once all has gone well.
pub fn init<F: Init<S, Shape>, S, Shape>(
    function: F,
    slot: &'static LocalKey<Slot<S>>,
    context: WireContext,
) -> Result<(), String> {
    let context = Context { handler: context.handler, generation: context.generation };
    let state = wstd::runtime::block_on(function.call(context)).map_err(|error| error.chain())?;
    slot.with(|slot| slot.put(state));
    Ok(())
}

/// Ends an instance; one that has not begun has nothing to end.
pub fn shutdown<F: Shutdown<S, Shape>, S, Shape>(function: F, slot: &'static LocalKey<Slot<S>>) {
    let Ok(state) = slot.with(|slot| slot.take(None)) else { return };
    if let Err(error) = wstd::runtime::block_on(function.call(state)) {
        report("shutdown failed", &error);
    }
}
