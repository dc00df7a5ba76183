//! What is called, and with what.

/// How instances are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One for each call.
    Fresh,
    /// Again and again.
    Pooled,
    /// One for all calls, with its state.
    Singleton,
}

/// What the guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// An event handler does nothing.
    Noop,
    /// An event handler reads a document, changes a field and writes it.
    Json,
    /// An event handler gives 1 MiB back.
    Bytes,
    /// A function without arguments of an embedder's own world.
    Count,
    /// A function of that world that calls the host and gives 1 KiB of text back.
    Transform,
}

impl Work {
    /// Type of the event, and name for Extism's plugin.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Noop => "noop",
            Self::Json => "json",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Transform => "transform",
        }
    }

    /// Whether an event handler does it.
    pub(crate) fn is_event(self) -> bool {
        matches!(self, Self::Noop | Self::Json | Self::Bytes)
    }
}

/// A document of 1 KiB: an order with as many items as fit.
#[must_use]
pub fn document() -> String {
    /// Length of the document.
    const LEN: usize = 1024;
    let mut text =
        r#"{"number":17,"customer":"A. Miller","total":0,"items":[{"sku":"first"}"#.to_owned();
    for number in 0.. {
        let item = format!(
            r#",{{"sku":"item-{number}","quantity":{},"price":{}.5}}"#,
            number % 7,
            number * 3
        );
        // The two that close it.
        if text.len() + item.len() + 2 > LEN {
            break;
        }
        text += &item;
    }
    text + "]}"
}

/// What `transform` is given: 1 KiB.
pub(crate) fn text() -> String {
    "a filter's text ".repeat(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_is_json_of_about_a_kibibyte() {
        let document = document();
        assert!((960..=1024).contains(&document.len()), "{}", document.len());
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(value["total"], 0);
    }
}
