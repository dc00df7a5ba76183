//! The event of event handlers: CloudEvents 1.0.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// One event, with the attributes of CloudEvents 1.0.
///
/// ```
/// use wrt_guest::Event;
///
/// let event = Event::new("17", "/shop", "order.created")
///     .with_subject("order-9")
///     .with_json(&serde_json::json!({ "total": 30 }))?;
/// assert_eq!(event.datacontenttype.as_deref(), Some("application/json"));
/// assert_eq!(event.json::<serde_json::Value>()?["total"], 30);
/// # Ok::<(), wrt_guest::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Event {
    /// Identifies the event; `source` and `id` together are unique.
    pub id: String,
    /// Where the event happened, as a URI reference.
    pub source: String,
    /// What happened: the attribute `type`, which is a keyword in Rust.
    pub ty: String,
    /// What it happened to, within the source.
    pub subject: Option<String>,
    /// When it happened, as an RFC 3339 timestamp.
    pub time: Option<String>,
    /// The media type of the data.
    pub datacontenttype: Option<String>,
    /// Where the schema of the data is found, as a URI.
    pub dataschema: Option<String>,
    /// The payload.
    pub data: Option<Vec<u8>>,
    /// Further attributes by name.
    pub extensions: BTreeMap<String, String>,
}

impl Event {
    /// An event with the attributes that every event has.
    pub fn new(id: impl Into<String>, source: impl Into<String>, ty: impl Into<String>) -> Self {
        Self { id: id.into(), source: source.into(), ty: ty.into(), ..Self::default() }
    }

    /// Says what it happened to.
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Says when it happened, as an RFC 3339 timestamp.
    pub fn with_time(mut self, time: impl Into<String>) -> Self {
        self.time = Some(time.into());
        self
    }

    /// Adds a further attribute; its name is made of lower-case letters and digits.
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Sets the payload and its media type.
    pub fn with_data(
        mut self,
        datacontenttype: impl Into<String>,
        data: impl Into<Vec<u8>>,
    ) -> Self {
        self.datacontenttype = Some(datacontenttype.into());
        self.data = Some(data.into());
        self
    }

    /// Sets the payload to the JSON of `value`.
    ///
    /// # Errors
    ///
    /// The value has no JSON form.
    pub fn with_json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self> {
        Ok(self.with_data("application/json", serde_json::to_vec(value)?))
    }

    /// Reads the payload as JSON.
    ///
    /// # Errors
    ///
    /// Rejects an event without data, of another media type, or that is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if let Some(media_type) = &self.datacontenttype
            && !is_json(media_type)
        {
            let message = format!("event data has type `{media_type}`, expected JSON");
            return Err(Error::rejected(message));
        }
        let data = self.data.as_deref().ok_or_else(|| Error::rejected("event has no data"))?;
        crate::json::read(data, "event data")
    }
}

/// `application/json`, `text/json` and every `+json`, whatever the parameters and the case.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_rejected(event: Event, expected: &str) {
        let error = event.json::<u32>().unwrap_err();
        assert_eq!(error.status(), Some(http::StatusCode::BAD_REQUEST));
        assert!(error.to_string().starts_with(expected), "{error}");
    }

    #[test]
    fn data_that_is_not_the_expected_json_is_rejected() {
        let event = Event::new("1", "/test", "test");
        check_rejected(event.clone(), "event has no data");
        check_rejected(
            event.clone().with_data("text/plain", "7"),
            "event data has type `text/plain`, expected JSON",
        );
        check_rejected(
            event.with_data("application/json", "\"seven\""),
            "event data is not the expected JSON: invalid type: string",
        );
    }

    #[test]
    fn every_json_media_type_is_read() {
        for media_type in ["application/json", "Application/JSON; charset=utf-8", "a/b+json"] {
            let event = Event::new("1", "/test", "test").with_data(media_type, "7");
            assert_eq!(event.json::<u32>().unwrap(), 7, "{media_type}");
        }
        let mut event = Event::new("1", "/test", "test");
        event.data = Some(b"7".to_vec());
        assert_eq!(event.json::<u32>().unwrap(), 7, "no media type means JSON");
    }
}
