//! The record that event handlers take and answer: one CloudEvents 1.0 event.
//!
//! It is apart from the HTTP binding because embedders call event handlers with it directly.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Extensions that one event may carry. Each is a header over HTTP, where servers commonly stop at
/// a hundred headers.
pub(crate) const MAX_EXTENSIONS: usize = 64;

/// Bytes of all attributes together. Every CloudEvents intermediary forwards events of 64 KiB;
/// half of that leaves the other half to data, and keeps the attributes transportable as headers.
const MAX_ATTRIBUTE_BYTES: usize = 32 * 1024;

/// Names that an extension cannot have: it would appear as that attribute, or as the data.
pub(crate) const RESERVED: [&str; 10] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    "data_base64",
];

/// One event, with the attributes of CloudEvents 1.0.
///
/// Nothing is checked while it is put together: [`CloudEvent::validate`] does that at once.
///
/// ```
/// use wrt::CloudEvent;
///
/// let event = CloudEvent::new("17", "/shop", "order.created")
///     .with_subject("order-9")
///     .with_time("2026-01-31T09:30:00Z")
///     .with_data("application/json", r#"{"total":30}"#)
///     .with_extension("tenant", "eu");
/// event.validate()?;
///
/// assert_eq!(event.event_type, "order.created");
/// assert_eq!(event.extensions["tenant"], "eu");
///
/// let nameless = CloudEvent::new("", "/shop", "order.created");
/// assert_eq!(nameless.validate().unwrap_err().to_string(), "attribute `id` is empty");
/// # Ok::<(), wrt::cloudevent::InvalidEvent>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloudEvent {
    /// Identifies the event; `source` and `id` together are unique.
    pub id: String,
    /// Where the event happened, as a URI reference.
    pub source: String,
    /// What happened: the attribute `type`, which is a keyword in Rust.
    pub event_type: String,
    /// What it happened to, within the source.
    pub subject: Option<String>,
    /// When it happened: an RFC 3339 timestamp, kept as it was given.
    pub time: Option<String>,
    /// The media type of the data; without it, data is JSON by the CloudEvents rules.
    pub datacontenttype: Option<String>,
    /// Where the schema of the data is found, as a URI.
    pub dataschema: Option<String>,
    /// The payload, not decoded. Absent and empty are different.
    pub data: Option<Bytes>,
    /// Further attributes by name.
    pub extensions: BTreeMap<String, String>,
}

impl CloudEvent {
    /// An event with the attributes that every event has.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        source: impl Into<String>,
        event_type: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            source: source.into(),
            event_type: event_type.into(),
            subject: None,
            time: None,
            datacontenttype: None,
            dataschema: None,
            data: None,
            extensions: BTreeMap::new(),
        }
    }

    /// Says what it happened to.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Says when it happened, as an RFC 3339 timestamp.
    #[must_use]
    pub fn with_time(mut self, time: impl Into<String>) -> Self {
        self.time = Some(time.into());
        self
    }

    /// Sets the payload and its media type.
    #[must_use]
    pub fn with_data(mut self, datacontenttype: impl Into<String>, data: impl Into<Bytes>) -> Self {
        self.datacontenttype = Some(datacontenttype.into());
        self.data = Some(data.into());
        self
    }

    /// Says where the schema of the data is found, as a URI.
    #[must_use]
    pub fn with_dataschema(mut self, dataschema: impl Into<String>) -> Self {
        self.dataschema = Some(dataschema.into());
        self
    }

    /// Adds a further attribute. Its name is made of lower-case letters and digits; CloudEvents
    /// recommends at most 20 of them, which is not enforced.
    #[must_use]
    pub fn with_extension(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extensions.insert(name.into(), value.into());
        self
    }

    /// Checks the event against CloudEvents 1.0, and against the limits of 64 extensions and
    /// 32 KiB of attributes. Data is not looked at, and URIs are only required not to be empty.
    ///
    /// # Errors
    ///
    /// [`InvalidEvent`] names the first attribute at fault.
    pub fn validate(&self) -> Result<(), InvalidEvent> {
        if self.extensions.len() > MAX_EXTENSIONS {
            return Err(InvalidEvent::TooManyExtensions { found: self.extensions.len() });
        }
        // One look at all of them, as most are in order.
        let (mut bytes, mut are_plain) = (0, true);
        for (name, value) in self.attributes() {
            bytes += name.len() + value.len();
            are_plain &= !value.is_empty() && is_plain(value);
        }
        if bytes > MAX_ATTRIBUTE_BYTES {
            return Err(InvalidEvent::TooLarge { bytes });
        }
        if !are_plain {
            self.check_values()?;
        }
        for name in self.extensions.keys() {
            check_extension_name(name)?;
        }
        if let Some(time) = &self.time {
            check_time(time)?;
        }
        match &self.datacontenttype {
            Some(found) if !is_media_type(found) => {
                Err(InvalidEvent::MediaType { found: excerpt(found) })
            }
            _ => Ok(()),
        }
    }

    fn check_values(&self) -> Result<(), InvalidEvent> {
        if let Some((attribute, _)) = self.own_attributes().find(|(_, value)| value.is_empty()) {
            return Err(InvalidEvent::Empty { attribute: attribute.to_owned() });
        }
        match self.attributes().find(|(_, value)| value.contains(char::is_control)) {
            Some((name, _)) => Err(InvalidEvent::ControlCharacter { attribute: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// The attributes that this event has, under their CloudEvents names, extensions last.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let extensions =
            self.extensions.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.own_attributes().chain(extensions)
    }

    /// Those of them that CloudEvents itself defines.
    fn own_attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        [
            ("id", Some(&self.id)),
            ("source", Some(&self.source)),
            ("type", Some(&self.event_type)),
            ("subject", self.subject.as_ref()),
            ("time", self.time.as_ref()),
            ("datacontenttype", self.datacontenttype.as_ref()),
            ("dataschema", self.dataschema.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?.as_str())))
    }
}

/// Why a [`CloudEvent`] is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// A required attribute is empty, or an optional one is present and empty.
    #[error("attribute `{attribute}` is empty")]
    Empty {
        /// Its name.
        attribute: String,
    },
    /// CloudEvents strings have no control characters.
    #[error("attribute `{attribute}` contains a control character")]
    ControlCharacter {
        /// Its name.
        attribute: String,
    },
    /// An extension's name has characters that some transport would not carry.
    #[error("expected an extension name of lower-case letters and digits, found `{found}`")]
    ExtensionName {
        /// The name, escaped and shortened.
        found: String,
    },
    /// An extension has the name of something else.
    #[error("extension `{name}` has a name that CloudEvents reserves")]
    ReservedName {
        /// The name.
        name: String,
    },
    /// The time has another form than RFC 3339, or is no point in time.
    #[error("expected an RFC 3339 time such as `2026-01-31T09:30:00Z`, found `{found}`")]
    Time {
        /// The time, escaped and shortened.
        found: String,
        /// What is wrong with it, when its form is right.
        source: Option<jiff::Error>,
    },
    /// The media type of the data is none.
    #[error(
        "expected a media type such as `application/json` as `datacontenttype`, found `{found}`"
    )]
    MediaType {
        /// The attribute, escaped and shortened.
        found: String,
    },
    /// The event has more extensions than the runtime accepts.
    #[error("the event has {found} extensions, more than the limit of {MAX_EXTENSIONS}")]
    TooManyExtensions {
        /// How many it has.
        found: usize,
    },
    /// The attributes are larger than the runtime accepts.
    #[error(
        "the event has {bytes} bytes of attributes, more than the limit of {MAX_ATTRIBUTE_BYTES}"
    )]
    TooLarge {
        /// Their size, names included.
        bytes: usize,
    },
}

/// Whether `value` is printable ASCII, as most are, which takes no decoding to see.
fn is_plain(value: &str) -> bool {
    value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn check_extension_name(name: &str) -> Result<(), InvalidEvent> {
    if RESERVED.contains(&name) {
        return Err(InvalidEvent::ReservedName { name: name.to_owned() });
    }
    let well_formed = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if name.is_empty() || !well_formed {
        return Err(InvalidEvent::ExtensionName { found: excerpt(name) });
    }
    Ok(())
}

fn check_time(time: &str) -> Result<(), InvalidEvent> {
    let error = |source| InvalidEvent::Time { found: excerpt(time), source };
    if !has_rfc3339_form(time) {
        return Err(error(None));
    }
    time.parse::<jiff::Timestamp>().map(drop).map_err(|source| error(Some(source)))
}

/// Whether `text` reads like `2026-01-31T09:30:00.5+01:00`.
///
/// The parser alone does not tell: it takes the wider ISO 8601 and Temporal forms, such as no
/// seconds or a time zone's name, which the next receiver of the event would refuse.
fn has_rfc3339_form(text: &str) -> bool {
    fn matches(text: &[u8], form: &[u8]) -> bool {
        text.len() == form.len()
            && text.iter().zip(form).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                _ => byte.eq_ignore_ascii_case(form),
            })
    }
    let Some((date_time, rest)) = text.as_bytes().split_at_checked("0000-00-00T00:00:00".len())
    else {
        return false;
    };
    let offset = match rest.strip_prefix(b".") {
        None => rest,
        // The parser refuses a fraction without digits.
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            &fraction[digits..]
        }
    };
    matches(date_time, b"0000-00-00T00:00:00")
        && [&b"Z"[..], b"+00:00", b"-00:00"].iter().any(|form| matches(offset, form))
}

/// Whether `text` is `type/subtype`, parameters allowed, in characters that a header carries.
fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let essence = text.split(';').next().unwrap_or_default().trim_end_matches(' ');
    let printable = text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    printable && essence.split_once('/').is_some_and(|(ty, sub)| is_token(ty) && is_token(sub))
}

/// `text` as it can stand in a message: escaped, and cut to what identifies it.
pub(crate) fn excerpt(text: &str) -> String {
    text.escape_debug().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> CloudEvent {
        CloudEvent::new("17", "/shop", "order.created")
    }

    #[track_caller]
    fn check(event: &CloudEvent, expected: Result<(), &str>) {
        let found = event.validate().map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{event:?}");
    }

    #[test]
    fn attributes_that_are_present_are_not_empty() {
        check(&event(), Ok(()));
        check(&CloudEvent::new("", "/shop", "t"), Err("attribute `id` is empty"));
        check(&CloudEvent::new("1", "", "t"), Err("attribute `source` is empty"));
        check(&CloudEvent::new("1", "/shop", ""), Err("attribute `type` is empty"));
        check(&event().with_subject(""), Err("attribute `subject` is empty"));
        check(&event().with_time(""), Err("attribute `time` is empty"));
        check(&event().with_data("", "x"), Err("attribute `datacontenttype` is empty"));
        check(&event().with_dataschema(""), Err("attribute `dataschema` is empty"));
        check(&event().with_extension("tenant", ""), Ok(()));
    }

    #[test]
    fn control_characters_are_refused_wherever_they_are() {
        check(
            &event().with_subject("a\r\nset-cookie: b"),
            Err("attribute `subject` contains a control character"),
        );
        check(
            &event().with_extension("tenant", "\u{85}"),
            Err("attribute `tenant` contains a control character"),
        );
        check(&event().with_subject("Euro € 😀 \"100 %\""), Ok(()));
    }

    #[test]
    fn extension_names_are_lower_case_letters_and_digits() {
        for name in ["a", "7", "traceparent", "longerthanthetwentyrecommended"] {
            check(&event().with_extension(name, "x"), Ok(()));
        }
        for (name, shown) in [
            ("", ""),
            ("Tenant", "Tenant"),
            ("tenant-id", "tenant-id"),
            ("tenänt", "tenänt"),
            ("a\nb", "a\\nb"),
        ] {
            let message = format!(
                "expected an extension name of lower-case letters and digits, found `{shown}`"
            );
            check(&event().with_extension(name, "x"), Err(&message));
        }
        for name in RESERVED {
            let message = format!("extension `{name}` has a name that CloudEvents reserves");
            check(&event().with_extension(name, "x"), Err(&message));
        }
    }

    #[test]
    fn time_is_rfc_3339() {
        for time in [
            "2018-04-05T17:31:00Z",
            "2018-04-05t17:31:00z",
            "2018-04-05T17:31:00.123456789+05:30",
            "2018-04-05T17:31:00-00:00",
            "2016-12-31T23:59:60Z",
        ] {
            check(&event().with_time(time), Ok(()));
        }
        for time in [
            "yesterday",
            "1522949460",
            "2018-04-05",
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00+0530",
            "2018-04-05T17:31:00+05:30[Asia/Kolkata]",
            "2018-02-30T17:31:00Z",
            "2018-04-05T25:31:00Z",
            "2018-04-05T17:31:0€",
        ] {
            let message =
                format!("expected an RFC 3339 time such as `2026-01-31T09:30:00Z`, found `{time}`");
            check(&event().with_time(time), Err(&message));
        }
    }

    #[test]
    fn datacontenttype_is_a_media_type() {
        for media_type in
            ["text/plain", "application/json; charset=utf-8", "application/vnd.a+json ;v=\"1\""]
        {
            check(&event().with_data(media_type, ""), Ok(()));
        }
        for media_type in ["json", "/json", "text/", "te xt/plain", "text/plain; name=ä"] {
            let message = format!(
                "expected a media type such as `application/json` as `datacontenttype`, \
                 found `{media_type}`"
            );
            check(&event().with_data(media_type, ""), Err(&message));
        }
    }

    #[test]
    fn limits_hold_to_the_last_extension_and_byte() {
        let with = |n| (0..n).fold(event(), |event, i| event.with_extension(format!("x{i}"), ""));
        check(&with(64), Ok(()));
        check(&with(65), Err("the event has 65 extensions, more than the limit of 64"));

        let fixed = "id17source/shoptypeorder.createdsubject".len();
        let sized = |bytes| event().with_subject("s".repeat(bytes - fixed));
        check(&sized(32_768), Ok(()));
        check(
            &sized(32_769),
            Err("the event has 32769 bytes of attributes, more than the limit of 32768"),
        );
        let data = event().with_data("text/plain", vec![b'x'; 1 << 20]);
        check(&data, Ok(()));
    }
}
