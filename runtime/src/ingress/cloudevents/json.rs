//! Events in the JSON format, alone and in batches, as answers have them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::value::RawValue;

use super::{EncodeError, SPEC_VERSION, is_json};
use crate::cloudevent::CloudEvent;

/// Writes an event as a response in structured mode, with status 200.
///
/// # Errors
///
/// [`EncodeError`] when the event is not valid.
pub(crate) fn structured(event: &CloudEvent) -> Result<Response<Bytes>, EncodeError> {
    event.validate()?;
    written(&Json(event), "application/cloudevents+json; charset=utf-8")
}

/// Writes events as a response in batched mode, with status 200.
///
/// # Errors
///
/// [`EncodeError`] when one of the events is not valid.
pub(crate) fn batch(events: &[CloudEvent]) -> Result<Response<Bytes>, EncodeError> {
    for event in events {
        event.validate()?;
    }
    let events: Vec<_> = events.iter().map(Json).collect();
    written(&events, "application/cloudevents-batch+json; charset=utf-8")
}

fn written(
    value: &impl Serialize,
    media_type: &'static str,
) -> Result<Response<Bytes>, EncodeError> {
    let text = serde_json::to_vec(value).map_err(|source| EncodeError::Json { source })?;
    let mut response = Response::new(Bytes::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

/// An event as a JSON object.
struct Json<'a>(&'a CloudEvent);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("specversion", SPEC_VERSION)?;
        for (name, value) in self.0.attributes() {
            object.serialize_entry(name, value)?;
        }
        let Some(data) = &self.0.data else { return object.end() };
        // Without a media type, data is JSON, by the rules of the format.
        let is_json = self.0.datacontenttype.as_deref().is_none_or(is_json);
        let text = std::str::from_utf8(data).ok();
        match text {
            Some(text) if is_json => match serde_json::from_str::<&RawValue>(text) {
                // As it was written, so that no number loses digits.
                Ok(value) => object.serialize_entry("data", value)?,
                // The handler calls it JSON, and it is something else: its bytes say what.
                Err(_) => object.serialize_entry("data_base64", &STANDARD.encode(data))?,
            },
            Some(text) => object.serialize_entry("data", text)?,
            None => object.serialize_entry("data_base64", &STANDARD.encode(data))?,
        }
        object.end()
    }
}
