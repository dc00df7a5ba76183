//! The ready form of a component that wrt serves: HTTP instances or event instances.

use http::HeaderValue;

use super::http::HttpInstances;
use super::typed::{Bounds, Instances};
use crate::cloudevent::CloudEvent;
use crate::contract::event::{self, EventError, Events};
use crate::error::CallFailure;
use crate::events::Serving;
use crate::id::HandlerName;

/// See the [module](self).
pub(crate) struct Served {
    /// The value of the `wrt-generation` header: `NAME/N;DIGEST12`.
    pub(crate) label: HeaderValue,
    pub(crate) kind: ServedKind,
}

/// What calls of it look like.
pub(crate) enum ServedKind {
    Http(HttpInstances),
    Event(Box<Instances<Events>>),
}

impl Served {
    pub(crate) fn new(name: &HandlerName, serving: Serving, kind: ServedKind) -> Self {
        let text = format!("{name}/{};{}", serving.generation, serving.digest.short());
        // A handler's name is letters, digits, `-` and `_`, so the text is a valid value.
        let label = HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unnamed"));
        Self { label, kind }
    }
}

impl Instances<Events> {
    /// Hands `event` to the guest.
    ///
    /// # Errors
    ///
    /// The outer error ended the call; the inner one is the guest's answer.
    pub(crate) async fn handle(
        &self,
        bounds: Bounds<'_>,
        event: CloudEvent,
    ) -> Result<Result<Option<CloudEvent>, EventError>, CallFailure> {
        let event = event::to_guest(event);
        self.call(bounds, async |instance, store| event::call(instance, store, &event).await).await
    }
}
