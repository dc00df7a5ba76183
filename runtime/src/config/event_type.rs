//! Patterns over CloudEvents types, such as `order.*`.

use std::fmt;
use std::str::FromStr;

/// Which event types a handler accepts: `order.created` is that type, `order.*` is every type that
/// goes on after `order.` (not `order` itself), `*` is every type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventTypePattern {
    /// The text before a final `*`, or all of it.
    stem: String,
    open: bool,
}

/// A string that is not an [`EventTypePattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an event type such as `order.created`, `order.*` or `*`, found `{}`",
    .found.escape_debug()
)]
pub struct InvalidEventType {
    found: String,
}

impl EventTypePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`InvalidEventType`] when it is empty, has white space or control characters, or has a `*`
    /// anywhere but alone or after a final `.`.
    pub fn parse(text: &str) -> Result<Self, InvalidEventType> {
        let (stem, open) = match text.strip_suffix('*') {
            Some(stem) => (stem, true),
            None => (text, false),
        };
        let well_ended =
            if open { stem.is_empty() || stem.ends_with('.') } else { !stem.is_empty() };
        let clean = !stem.contains(|c: char| c == '*' || c.is_whitespace() || c.is_control());
        if well_ended && clean && stem != "." {
            Ok(Self { stem: stem.to_owned(), open })
        } else {
            Err(InvalidEventType { found: text.to_owned() })
        }
    }

    /// Whether `event_type` is one of those described.
    #[must_use]
    pub fn matches(&self, event_type: &str) -> bool {
        match event_type.strip_prefix(self.stem.as_str()) {
            Some(rest) => rest.is_empty() != self.open,
            None => false,
        }
    }
}

impl FromStr for EventTypePattern {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, InvalidEventType> {
        Self::parse(text)
    }
}

impl fmt::Display for EventTypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.stem, if self.open { "*" } else { "" })
    }
}
