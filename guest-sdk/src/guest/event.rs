//! Runs an event handler for the component's export.

pub use super::bindings::sdk::exports::wrt::plugin::handler::{
    Error as WireError, Event as WireEvent, Guest,
};
use crate::state::slot::Slot;
use crate::{Error, Event, EventHandler, Result, StatefulEventHandler};
use std::thread::LocalKey;

/// Answers one event.
pub fn serve<H: EventHandler<S>, S>(
    handler: H,
    event: WireEvent,
) -> Result<Option<WireEvent>, WireError> {
    answer(wstd::runtime::block_on(handler.call(event.into())))
}

/// Answers one event with the state of the instance.
pub fn serve_with<H: StatefulEventHandler<S, Shape>, S, Shape>(
    handler: H,
    slot: &'static LocalKey<Slot<S>>,
    begin: Option<fn() -> S>,
    event: WireEvent,
) -> Result<Option<WireEvent>, WireError> {
    let mut state = slot.with(|slot| slot.take(begin))?;
    let result = wstd::runtime::block_on(handler.call(&mut state, event.into()));
    slot.with(|slot| slot.put(state));
    answer(result)
}

fn answer(result: Result<Option<Event>>) -> Result<Option<WireEvent>, WireError> {
    Ok(result?.map(Into::into))
}

impl From<Error> for WireError {
    fn from(error: Error) -> Self {
        match error.status() {
            Some(status) if status.is_client_error() => Self::Rejected(error.to_string()),
            _ => Self::Failed(error.chain()),
        }
    }
}

impl From<WireEvent> for Event {
    fn from(event: WireEvent) -> Self {
        Self {
            id: event.id,
            source: event.source,
            ty: event.type_,
            subject: event.subject,
            time: event.time,
            datacontenttype: event.datacontenttype,
            dataschema: event.dataschema,
            data: event.data,
            extensions: event.extensions.into_iter().collect(),
        }
    }
}

impl From<Event> for WireEvent {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            source: event.source,
            type_: event.ty,
            subject: event.subject,
            time: event.time,
            datacontenttype: event.datacontenttype,
            dataschema: event.dataschema,
            data: event.data,
            extensions: event.extensions.into_iter().collect(),
        }
    }
}
