//! Runs an event handler for the component's export.

pub use super::bindings::exports::wrt::plugin::handler::{
    Error as WireError, Event as WireEvent, Guest,
};
use crate::{Error, Event, EventHandler};

/// Answers one event.
pub fn serve<H: EventHandler<S>, S>(
    handler: H,
    event: WireEvent,
) -> Result<Option<WireEvent>, WireError> {
    match wstd::runtime::block_on(handler.call(event.into())) {
        Ok(answer) => Ok(answer.map(Into::into)),
        Err(error) => Err(error.into()),
    }
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
