//! The ready form of a component that wrt serves: HTTP instances or event instances.

use http::HeaderValue;
use wasmtime::Store;

use super::aside::Movable;
use super::bounded::Outlive;
use super::http::HttpInstances;
use super::typed::{Bounds, Instances, TypedFailure};
use crate::cloudevent::{CloudEvent, excerpt};
use crate::contract::event::{self, EventError, EventWorld, Events, GuestEvent};
use crate::error::CallFailure;
use crate::events::{Serving, cut};
use crate::generation::Pass;
use crate::host::HostState;
use crate::id::HandlerName;
use crate::snapshot::Keeps;

/// See the [module](self).
pub(crate) struct Served {
    /// The value of the `wrt-generation` header: `NAME/N;DIGEST12`.
    pub(crate) label: HeaderValue,
    pub(crate) kind: ServedKind,
}

/// What calls of it look like.
pub(crate) enum ServedKind {
    Http(HttpInstances),
    Event(EventInstances),
}

/// The instances of one generation of an event handler.
pub(crate) type EventInstances = Instances<Events>;

impl ServedKind {
    /// The instances of an event handler.
    pub(crate) fn events(&self) -> Option<&EventInstances> {
        match self {
            Self::Event(instances) => Some(instances),
            Self::Http(_) => None,
        }
    }
}

impl Served {
    pub(crate) fn new(name: &HandlerName, serving: Serving, kind: ServedKind) -> Self {
        let text = format!("{name}/{};{}", serving.generation, serving.digest.short());
        // A handler's name is letters, digits, `-` and `_`, so the text is a valid value.
        let label = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unnamed"));
        Self { label, kind }
    }
}

/// What an event handler says to an event, in a box, as it goes through many hands; or why it rejects
/// the event as the sender's fault.
pub(crate) type EventAnswer = Result<Option<Box<CloudEvent>>, String>;

/// Hands `event` to one of `instances`, which are those of the generation that the call has `entered`.
///
/// # Errors
///
/// The outer error ended the call; the inner one is the guest's answer.
///
/// # Cancel safety
///
/// Dropping the future ends the call. The call of a singleton goes on to its end, since the memory of that
/// instance is not the caller's.
pub(crate) async fn handle_event<E>(
    entered: E,
    instances: EventInstances,
    event: CloudEvent,
) -> Result<EventAnswer, CallFailure>
where
    E: AsRef<Pass<Served>> + Send + Sync + 'static,
{
    let outlives_caller = instances.keeper().keeps() != Keeps::Nothing;
    let event = event::to_guest(event);
    let computing = instances.keeper().computing().clone();
    if outlives_caller {
        let work = Box::pin(answer_with(entered, instances, event));
        Outlive::new(Movable::new(work, computing)).await
    } else {
        // In a box, as it is large, and would be moved with every future around it; and made there:
        // `Box::pin` would make it first, and copy all of it.
        let place = Box::new_uninit();
        let work = Box::into_pin(Box::write(place, answer_with(entered, instances, event)));
        Movable::new(work, computing).await
    }
}

/// [`answer`] that owns what it needs, so that it may go on elsewhere.
async fn answer_with<E>(
    entered: E,
    instances: EventInstances,
    event: GuestEvent,
) -> Result<EventAnswer, CallFailure>
where
    E: AsRef<Pass<Served>> + Send + Sync + 'static,
{
    answer(entered.as_ref(), &instances, &event).await
}

/// In one piece, with the event by reference: each layer of futures moves what is in it twice, which
/// is a tenth of a call that does nothing.
async fn answer(
    pass: &Pass<Served>,
    instances: &EventInstances,
    event: &GuestEvent,
) -> Result<EventAnswer, CallFailure> {
    let call = async |instance: &EventWorld, store: &mut Store<HostState>| {
        let answer = instance.wrt_plugin_handler().call_handle(store, event).await?;
        let answer = answer.map_err(|error| match error {
            EventError::Rejected(reason) => EventError::Rejected(cut(reason)),
            EventError::Failed(reason) => EventError::Failed(cut(reason)),
        });
        Ok(answer.map(|event| event.map(|event| Box::new(event::from_guest(event)))))
    };
    let (since, cut) = (pass.since(), pass.cut());
    match instances.call(Bounds { since, cut, has_own_errors: false }, call).await {
        Ok(Ok(answer)) => Ok(Ok(answer)),
        Ok(Err(EventError::Rejected(reason))) => Ok(Err(reason)),
        Ok(Err(EventError::Failed(reason))) => {
            let call = format!("event `{}`", excerpt(&event.type_)).into();
            Err(CallFailure::Handler { call, reason })
        }
        Err(TypedFailure::Guest(failure)) => Err(failure),
        // Ruled out above.
        Err(TypedFailure::Caller(error)) => {
            Err(CallFailure::Guest { reason: format!("{error:#}") })
        }
    }
}
