//! The event handler contract: `wrt:plugin/handler`, one function from an event to an answer.

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package wrt:host-event;
            world event-world { export wrt:plugin/handler@0.1.0; }
        ",
        world: "wrt:host-event/event-world",
        exports: { default: async },
    });
}

use bytes::Bytes;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, Linker};

use super::Contract;
use crate::cloudevent::CloudEvent;
use crate::host::HostState;
pub(crate) use bindings::EventWorld;
use bindings::EventWorldIndices;
pub(crate) use bindings::exports::wrt::plugin::handler::{
    Error as EventError, Event as GuestEvent,
};

/// The export that makes a component an event handler.
pub(super) const EXPORT: (&str, &str) = ("wrt:plugin/handler", "0.1.0");

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Events;

impl Contract for Events {
    type Host = ();
    type Indices = EventWorldIndices;
    type Instance = EventWorld;

    const WORLD: &'static str = "wrt:plugin/event-handler@0.1.0";

    fn link(_: &mut Linker<HostState>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn indices(pre: &InstancePre<HostState>) -> wasmtime::Result<EventWorldIndices> {
        EventWorldIndices::new(pre)
    }

    fn exports(
        indices: &EventWorldIndices,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<EventWorld> {
        indices.load(store, instance)
    }
}

/// The event as the guest's types have it.
pub(crate) fn to_guest(event: CloudEvent) -> GuestEvent {
    // Most events have none, and to walk over nothing takes its time, too.
    let has_extensions = !event.extensions.is_empty();
    let extensions =
        if has_extensions { event.extensions.into_iter().collect() } else { Vec::new() };
    GuestEvent {
        id: event.id,
        source: event.source,
        type_: event.event_type,
        subject: event.subject,
        time: event.time,
        datacontenttype: event.datacontenttype,
        dataschema: event.dataschema,
        data: event.data.map(Vec::from),
        extensions,
    }
}

/// The answer as everybody else's types have it.
pub(crate) fn from_guest(event: GuestEvent) -> CloudEvent {
    CloudEvent {
        id: event.id,
        source: event.source,
        event_type: event.type_,
        subject: event.subject,
        time: event.time,
        datacontenttype: event.datacontenttype,
        dataschema: event.dataschema,
        data: event.data.map(Bytes::from),
        extensions: event.extensions.into_iter().collect(),
    }
}
