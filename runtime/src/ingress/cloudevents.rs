//! The CloudEvents HTTP protocol binding 1.0.2: requests to events, and events to responses.
//!
//! It is pure, so that it can be tested without a connection. The caller bounds the size of the
//! body; the number and size of attributes is bounded here, by [`CloudEvent::validate`].

pub(crate) mod json;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, request};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::cloudevent::{CloudEvent, InvalidEvent, MAX_EXTENSIONS, RESERVED, excerpt};
use crate::error::Hint;

/// The only version of CloudEvents that there is a stable binding for.
const SPEC_VERSION: &str = "1.0";

/// Attributes without which a request is no event.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// What comes before an attribute's name in a header's name.
const PREFIX: &str = "ce-";

/// What the media types of events as a whole begin with.
pub(super) const EVENT_MEDIA_TYPE: &str = "application/cloudevents";

/// Members of a JSON event: eight attributes, two names of the data, and the extensions. Members
/// are counted while they are read, so that a body of many tiny ones is not multiplied in memory.
const MAX_MEMBERS: usize = 10 + MAX_EXTENSIONS;

/// Events that one batch may have. Each is a call, so a batch may keep its sender waiting for as many.
pub(super) const MAX_BATCH: usize = 1000;

/// What a header's value does not carry as it is; all that is not ASCII is encoded in any case.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A request that is an event.
const EXAMPLE: &str = "send one with `curl -H 'ce-specversion: 1.0' -H 'ce-id: 1' \
     -H 'ce-source: /example' -H 'ce-type: order.created' -H 'content-type: application/json' \
     -d '{}' URL`";

/// What a request carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Event(Box<CloudEvent>),
    Batch(Vec<CloudEvent>),
}

/// Why a request is no event and no batch of events. Nothing was called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DecodeError {
    /// One event of a batch is wrong, so that none of the batch is handled.
    #[error("{}", wrong_in_batch(*number, *of))]
    InBatch { number: usize, of: usize, source: Box<Self> },
    /// More events than are accepted at once.
    #[error("expected at most {MAX_BATCH} events in a batch, found more")]
    LargeBatch,
    /// The body is not a JSON array.
    #[error("failed to read the body as a JSON batch of events")]
    BatchJson { source: serde_json::Error },
    /// An event in a format other than JSON.
    #[error(
        "unknown CloudEvents format `{found}`, expected `{EVENT_MEDIA_TYPE}+json` or \
         `{EVENT_MEDIA_TYPE}-batch+json`"
    )]
    Format { found: String },
    /// Required attributes are absent; all of them when the request was not meant as an event.
    #[error("expected a CloudEvent, found a request without the {}", mode.list(missing))]
    Missing { mode: Mode, missing: Vec<&'static str> },
    /// An event of another version of CloudEvents.
    #[error("unknown CloudEvents version `{found}`, expected `{SPEC_VERSION}`")]
    Version { found: String },
    /// The same header twice: which one counts would be a guess.
    #[error("expected one header `{name}`, found several")]
    Repeated { name: String },
    /// A header's value cannot be read.
    #[error("header `{name}` {problem}")]
    Header { name: String, problem: &'static str },
    /// The body is not a JSON object.
    #[error("failed to read the body as a JSON event")]
    Json { source: serde_json::Error },
    /// A member has the wrong type.
    #[error("expected {expected} as member `{name}`")]
    Member { name: String, expected: &'static str },
    /// The data is given twice.
    #[error("expected one of the members `data` and `data_base64`, found both")]
    TwoPayloads,
    /// `data_base64` is not base64.
    #[error("failed to decode member `data_base64`")]
    Base64 { source: base64::DecodeError },
    /// It can be read, and is against the rules of CloudEvents.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
}

/// What is said of the event with this `number` before what is wrong with it.
pub(super) fn wrong_in_batch(number: usize, of: usize) -> String {
    format!("event {number} of {of} in the batch is wrong, so that none was handled")
}

impl DecodeError {
    /// How to answer the request.
    #[must_use]
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::InBatch { source, .. } => source.status(),
            Self::Format { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::LargeBatch
            | Self::Invalid(
                InvalidEvent::TooManyExtensions { .. } | InvalidEvent::TooLarge { .. },
            ) => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl Hint for DecodeError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::InBatch { source, .. } => source.hints(),
            Self::LargeBatch => vec!["send the events in several batches".to_owned()],
            Self::Missing { mode: Mode::Binary, .. } => vec![EXAMPLE.to_owned()],
            Self::Header { name, .. } if name == "ce-datacontenttype" => {
                vec!["send the media type of the data as `content-type`".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// Why an event has no response. It came from the guest, so the call has failed: a 500.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EncodeError {
    /// The event is against the rules of CloudEvents.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// The data is itself an event, by whose media type the receiver would take it for the answer.
    #[error("expected data that is not itself a CloudEvent, found `{datacontenttype}`")]
    Nested { datacontenttype: String },
    /// The event cannot be written as JSON.
    #[error("failed to write the event as JSON")]
    Json { source: serde_json::Error },
}

/// Where a request has the attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In its headers; the body is the data.
    Binary,
    /// In its body, a JSON object that contains the data.
    Structured,
}

impl Mode {
    /// Where the attributes `names` were looked for.
    fn list(self, names: &[&str]) -> String {
        let prefix = if self == Self::Binary { PREFIX } else { "" };
        let kind = if self == Self::Binary { "header" } else { "member" };
        let plural = if names.len() == 1 { "" } else { "s" };
        let names: Vec<_> = names.iter().map(|name| format!("`{prefix}{name}`")).collect();
        format!("{kind}{plural} {}", names.join(", "))
    }
}

/// Attributes by their CloudEvents names, extensions and `specversion` among them.
type Attributes = BTreeMap<String, String>;

/// Reads what a request carries, in binary, structured or batched mode.
///
/// In binary mode an empty body is no data, since HTTP does not tell the two apart. A batch is read whole:
/// one wrong event makes all of it wrong.
///
/// # Errors
///
/// [`DecodeError`] when the request is neither one valid event nor a batch of them.
pub(crate) fn decode(parts: &request::Parts, body: Bytes) -> Result<Sent, DecodeError> {
    let content_type = content_type(&parts.headers)?;
    let essence = content_type.map(essence).unwrap_or_default();
    let event = match essence.strip_prefix(EVENT_MEDIA_TYPE) {
        None => decode_binary(&parts.headers, content_type, body)?,
        Some("+json") => decode_structured(&body)?,
        Some("-batch+json") => return decode_batch(&body).map(Sent::Batch),
        Some(_) => return Err(DecodeError::Format { found: excerpt(&essence) }),
    };
    Ok(Sent::Event(Box::new(event)))
}

/// The mode in which a client that sent these headers wants its answer. Binary is what it gets if it does
/// not say.
pub(crate) fn wanted(headers: &HeaderMap) -> Mode {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let names_json = values.flat_map(|value| value.split(',')).any(|range| {
        let is_refused = range.split(';').skip(1).any(|parameter| {
            let weight = parameter.trim().strip_prefix(['q', 'Q']);
            let weight = weight.and_then(|rest| rest.trim_start().strip_prefix('='));
            weight.is_some_and(|weight| weight.trim().parse::<f32>() == Ok(0.0))
        });
        essence(range) == "application/cloudevents+json" && !is_refused
    });
    if names_json { Mode::Structured } else { Mode::Binary }
}

fn decode_batch(body: &[u8]) -> Result<Vec<CloudEvent>, DecodeError> {
    let Batch(events) =
        serde_json::from_slice(body).map_err(|source| DecodeError::BatchJson { source })?;
    let of = events.len();
    if of > MAX_BATCH {
        return Err(DecodeError::LargeBatch);
    }
    let event = |(i, event): (usize, &RawValue)| {
        decode_structured(event.get().as_bytes()).map_err(|source| {
            let (number, source) = (i + 1, Box::new(source));
            DecodeError::InBatch { number, of, source }
        })
    };
    events.into_iter().enumerate().map(event).collect()
}

/// Writes an event as a response in binary mode, with status 200.
///
/// # Errors
///
/// [`EncodeError`] when the event is not valid, or its data would be taken for the event.
pub(crate) fn encode(event: &CloudEvent) -> Result<Response<Bytes>, EncodeError> {
    event.validate()?;
    if let Some(media_type) = &event.datacontenttype
        && essence(media_type).starts_with(EVENT_MEDIA_TYPE)
    {
        return Err(EncodeError::Nested { datacontenttype: excerpt(media_type) });
    }
    let mut response = Response::new(event.data.clone().unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert("ce-specversion", HeaderValue::from_static(SPEC_VERSION));
    for (name, value) in event.attributes() {
        let (name, value) = if name == "datacontenttype" {
            (CONTENT_TYPE, HeaderValue::from_str(value))
        } else {
            // `validate` let through lower-case letters and digits, fewer than a name may have.
            let name = HeaderName::from_bytes(format!("{PREFIX}{name}").as_bytes())
                .expect("attribute names are header names");
            let value: String = utf8_percent_encode(value, ENCODED).collect();
            (name, HeaderValue::try_from(value))
        };
        // Percent-encoding leaves printable ASCII, and `validate` refuses media types with more.
        headers.insert(name, value.expect("printable ASCII is a header value"));
    }
    Ok(response)
}

fn decode_binary(
    headers: &HeaderMap,
    content_type: Option<&str>,
    body: Bytes,
) -> Result<CloudEvent, DecodeError> {
    let mut attributes = Attributes::new();
    for (header, value) in headers {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else { continue };
        let problem = |problem| DecodeError::Header { name: excerpt(header.as_str()), problem };
        if name == "datacontenttype" {
            return Err(problem("does not exist in CloudEvents"));
        }
        let value = header_text(value.as_bytes()).map_err(problem)?;
        if attributes.insert(name.to_owned(), value).is_some() {
            let name = excerpt(header.as_str());
            return Err(DecodeError::Repeated { name });
        }
    }
    if let Some(media_type) = content_type {
        attributes.insert("datacontenttype".to_owned(), media_type.to_owned());
    }
    assemble(attributes, Some(body).filter(|body| !body.is_empty()), Mode::Binary)
}

fn decode_structured(body: &[u8]) -> Result<CloudEvent, DecodeError> {
    let Members(mut members) =
        serde_json::from_slice(body).map_err(|source| DecodeError::Json { source })?;
    let data = members.remove("data");
    let data_base64 = match members.remove("data_base64") {
        Some(value) => string("data_base64", value)?,
        None => None,
    };
    let mut attributes = Attributes::new();
    for (name, value) in members {
        if let Some(value) = attribute(&name, value)? {
            attributes.insert(name, value);
        }
    }
    let data = match (data, data_base64) {
        (Some(_), Some(_)) => return Err(DecodeError::TwoPayloads),
        (None, None) => None,
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|source| DecodeError::Base64 { source })?;
            Some(Bytes::from(bytes))
        }
        (Some(value), None) => {
            // What was implied by the JSON format has to be said outside of it.
            let media_type = attributes
                .entry("datacontenttype".to_owned())
                .or_insert_with(|| "application/json".to_owned());
            Some(if is_json(media_type) {
                // As it was written, so that no number loses digits.
                Bytes::copy_from_slice(value.get().as_bytes())
            } else {
                // Without JSON there is no `null`, so it is no string here either.
                let text: Result<String, _> = serde_json::from_str(value.get());
                let name = "data".to_owned();
                let expected = "a string, because `datacontenttype` is not JSON,";
                Bytes::from(text.map_err(|_| DecodeError::Member { name, expected })?)
            })
        }
    };
    assemble(attributes, data, Mode::Structured)
}

/// Makes the event out of its attributes, the same way for both modes.
fn assemble(
    mut attributes: Attributes,
    data: Option<Bytes>,
    mode: Mode,
) -> Result<CloudEvent, DecodeError> {
    let missing: Vec<_> =
        REQUIRED.into_iter().filter(|name| !attributes.contains_key(*name)).collect();
    if !missing.is_empty() {
        return Err(DecodeError::Missing { mode, missing });
    }
    let mut take = |name| attributes.remove(name);
    if let Some(found) = take("specversion").filter(|version| version != SPEC_VERSION) {
        return Err(DecodeError::Version { found: excerpt(&found) });
    }
    // None of the three is missing, as was seen above.
    let mut required = |name| take(name).unwrap_or_default();
    let mut event = CloudEvent::new(required("id"), required("source"), required("type"));
    event.subject = take("subject");
    event.time = take("time");
    event.datacontenttype = take("datacontenttype");
    event.dataschema = take("dataschema");
    event.data = data;
    event.extensions = attributes;
    event.validate()?;
    Ok(event)
}

fn content_type(headers: &HeaderMap) -> Result<Option<&str>, DecodeError> {
    let name = || CONTENT_TYPE.as_str().to_owned();
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(DecodeError::Repeated { name: name() });
    }
    let problem = |_| DecodeError::Header { name: name(), problem: "is not ASCII" };
    value.to_str().map(Some).map_err(problem)
}

/// The media type without parameters, in lower case.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `*/json` and `*/*+json`, the media types whose data is a JSON value in a JSON event.
fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// Undoes quoting and then one round of percent-encoding. Quotes come from senders of an earlier
/// version of the binding.
fn header_text(value: &[u8]) -> Result<String, &'static str> {
    let decoded: Vec<u8> = match value.strip_prefix(b"\"") {
        Some(quoted) => percent_decode(&unquote(quoted)?).collect(),
        None => percent_decode(value).collect(),
    };
    String::from_utf8(decoded).map_err(|_| "is not UTF-8 once it is percent-decoded")
}

/// The content of a quoted string, from behind its opening quote.
fn unquote(quoted: &[u8]) -> Result<Vec<u8>, &'static str> {
    let problem = "starts with a quote that is not closed at its end";
    let mut content = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' if bytes.as_slice().is_empty() => return Ok(content),
            b'"' => return Err(problem),
            b'\\' => content.push(*bytes.next().ok_or(problem)?),
            _ => content.push(byte),
        }
    }
    Err(problem)
}

/// The value of an attribute of a JSON event in its text form; `null` is an absent attribute.
fn attribute(name: &str, value: &RawValue) -> Result<Option<String>, DecodeError> {
    if RESERVED.contains(&name) {
        return string(name, value);
    }
    let json = value.get();
    // CloudEvents integers have 32 bits.
    if matches!(json, "true" | "false") || json.parse::<i32>().is_ok() {
        return Ok(Some(json.to_owned()));
    }
    let expected = "a string, a boolean or a 32-bit integer";
    serde_json::from_str(json).map_err(|_| DecodeError::Member { name: excerpt(name), expected })
}

/// A string, or `None` for `null`.
fn string(name: &str, value: &RawValue) -> Result<Option<String>, DecodeError> {
    serde_json::from_str(value.get())
        .map_err(|_| DecodeError::Member { name: excerpt(name), expected: "a string" })
}

/// The elements of a JSON array as they were written, one more than [`MAX_BATCH`] at most.
struct Batch<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Batch<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(BatchVisitor)
    }
}

struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = Batch<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("events as a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Batch<'de>, A::Error> {
        let mut events = Vec::new();
        while let Some(event) = seq.next_element()? {
            // Read to its end, as what follows might be no JSON, but not kept.
            if events.len() <= MAX_BATCH {
                events.push(event);
            }
        }
        Ok(Batch(events))
    }
}

/// The members of a JSON object, each name once, the values as they were written.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.len() == MAX_MEMBERS {
                return Err(A::Error::custom(format_args!("more than {MAX_MEMBERS} members")));
            }
            if members.contains_key(&name) {
                let name = excerpt(&name);
                return Err(A::Error::custom(format_args!("member `{name}` appears twice")));
            }
            members.insert(name, map.next_value()?);
        }
        Ok(Members(members))
    }
}

#[cfg(test)]
mod tests;
