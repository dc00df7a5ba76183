//! Events that tests of several modules use.

use std::sync::Arc;
use std::time::SystemTime;

use super::{Event, EventKind};
use crate::id::HandlerName;

pub(crate) fn name(name: &str) -> HandlerName {
    HandlerName::new(name).unwrap()
}

/// An event of the handler called `handler`.
pub(crate) fn event(handler: &str, kind: EventKind) -> Arc<Event> {
    let handler = Some(name(handler));
    Arc::new(Event { kind, time: SystemTime::UNIX_EPOCH, handler, cause: None })
}

/// A failed call of `handler`.
pub(crate) fn failed(handler: &str, error: &str) -> Arc<Event> {
    event(handler, kinds::failed(error))
}

/// A log line of `handler`.
pub(crate) fn log(handler: &str, message: &str) -> Arc<Event> {
    event(handler, kinds::log(message))
}

/// What happened in such events.
pub(crate) mod kinds {
    use std::collections::BTreeMap;

    use super::super::{EventKind, LogLevel};
    use crate::id::GenerationNumber;

    pub(crate) fn failed(error: &str) -> EventKind {
        EventKind::CallFailed {
            generation: GenerationNumber::FIRST,
            outcome: "guest",
            error: error.to_owned(),
            elapsed_ms: 1.0,
            request_id: None,
            answered: false,
        }
    }

    pub(crate) fn log(message: &str) -> EventKind {
        EventKind::Log {
            level: LogLevel::Info,
            message: message.to_owned(),
            fields: BTreeMap::new(),
            generation: GenerationNumber::FIRST,
        }
    }

    pub(crate) fn confirmed() -> EventKind {
        EventKind::Confirmed { generation: GenerationNumber::FIRST }
    }
}
