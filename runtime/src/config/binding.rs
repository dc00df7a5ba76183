//! How calls reach a handler.

use super::{EventTypePattern, Route, keys};

/// How calls reach a handler. A change of it is a change of the runtime's table, and no version of the
/// handler is replaced for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// Which request paths reach the handler. Default `None`: only the embedder calls it.
    pub route: Option<Route>,
    /// Event types that an event handler accepts. Default empty, which accepts every type: the
    /// route already says that the events are meant for it.
    pub types: Vec<EventTypePattern>,
}

impl Binding {
    /// What differs from `before`, by its keys in the manifest.
    pub(crate) fn changed_from(&self, before: &Self) -> Vec<&'static str> {
        let Self { route, types } = self;
        let changed = [("route", *route != before.route), ("types", *types != before.types)];
        keys(changed)
    }

    /// Whether an event of type `event_type` is meant for the handler.
    #[must_use]
    pub fn accepts_type(&self, event_type: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|pattern| pattern.matches(event_type))
    }
}
