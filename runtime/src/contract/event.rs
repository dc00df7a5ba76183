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
use wasmtime::component::{InstancePre, Linker};

use super::Contract;
use crate::cloudevent::CloudEvent;
use crate::host::HostState;
use bindings::exports::wrt::plugin::handler;
pub(crate) use bindings::exports::wrt::plugin::handler::Error as EventError;
use bindings::{EventWorld, EventWorldPre};

/// The export that makes a component an event handler.
pub(crate) const EXPORT: &str = "wrt:plugin/handler@0.1.0";

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Events;

impl Contract for Events {
    type Host = ();
    type Pre = EventWorldPre<HostState>;
    type Instance = EventWorld;

    const WORLD: &'static str = "wrt:plugin/event-handler@0.1.0";

    fn link(_: &mut Linker<HostState>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn pre(pre: InstancePre<HostState>) -> wasmtime::Result<Self::Pre> {
        EventWorldPre::new(pre)
    }

    async fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<HostState>,
    ) -> wasmtime::Result<EventWorld> {
        pre.instantiate_async(store).await
    }
}

/// Calls the handler's one function.
///
/// # Errors
///
/// The outer error is a trap; the inner one is the handler's own.
pub(crate) async fn call(
    instance: &EventWorld,
    store: &mut Store<HostState>,
    event: &handler::Event,
) -> wasmtime::Result<Result<Option<CloudEvent>, EventError>> {
    let answer = instance.wrt_plugin_handler().call_handle(store, event).await?;
    Ok(answer.map(|event| event.map(from_guest)))
}

/// The event as the guest's types have it.
pub(crate) fn to_guest(event: CloudEvent) -> handler::Event {
    handler::Event {
        id: event.id,
        source: event.source,
        type_: event.event_type,
        subject: event.subject,
        time: event.time,
        datacontenttype: event.datacontenttype,
        dataschema: event.dataschema,
        data: event.data.map(|bytes| bytes.to_vec()),
        extensions: event.extensions.into_iter().collect(),
    }
}

fn from_guest(event: handler::Event) -> CloudEvent {
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
