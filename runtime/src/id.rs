//! Newtypes for the things wrt names: handlers, digests, generation numbers and requests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Longest accepted [`HandlerName`] in bytes: it appears in a response header on every request.
const MAX_NAME_LEN: usize = 64;

/// Stable name of a handler: what calls are routed to, over all its generations.
///
/// Letters, digits, `-` and `_`, starting with a letter or digit, at most 64 bytes, so that it is
/// safe in a header, a path and a terminal without escaping. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HandlerName(Arc<str>);

/// A string that is not a [`HandlerName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a handler name of 1 to {MAX_NAME_LEN} letters, digits, `-` or `_`, starting with a \
     letter or digit, found `{found}`"
)]
pub struct InvalidName {
    found: String,
}

impl HandlerName {
    /// Checks and wraps `name`.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when it is empty, too long, or has a character outside the set above.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let all_fine = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if starts_well && all_fine && name.len() <= MAX_NAME_LEN {
            Ok(Self(name.into()))
        } else {
            Err(InvalidName { found: name.escape_debug().take(80).collect() })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HandlerName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl TryFrom<String> for HandlerName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::new(&text)
    }
}

impl From<HandlerName> for String {
    fn from(name: HandlerName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for HandlerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for HandlerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// SHA-256 of a component's bytes: its identity everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// First 12 hexadecimal digits: the form for people, logs and the `wrt-generation` header.
    #[must_use]
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }

    /// Wraps what [`as_bytes`](Self::as_bytes) gave out.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads what [`Display`](fmt::Display) writes, and nothing else: 64 small hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    /// The raw 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.short())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = || serde::de::Error::custom("expected 64 small hexadecimal digits");
        Self::parse(&text).ok_or_else(expected)
    }
}

/// Number of a generation of one handler: 1, 2, 3 …; it grows and is never reused, not even for a
/// rejected stage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct GenerationNumber(u64);

/// The largest number that is read: every JSON reader keeps numbers exact up to here, and no handler
/// gets there. A file with a larger one is damaged, and numbering could not go on from it.
const MAX_NUMBER: u64 = (1 << 53) - 1;

impl<'de> Deserialize<'de> for GenerationNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number > MAX_NUMBER {
            let expected = format_args!("expected a generation of at most {MAX_NUMBER}");
            return Err(serde::de::Error::custom(expected));
        }
        Ok(Self(number))
    }
}

impl GenerationNumber {
    /// The first generation of a handler.
    pub const FIRST: Self = Self(1);

    /// Wraps a number that [`GenerationNumber::get`] gave out.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        // Beyond what is read from a file, 2^63 swaps at one per nanosecond take 292 years, so this does
        // not wrap.
        Self(self.0 + 1)
    }

    /// The plain number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for GenerationNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Identifies one request of the data plane in logs and events, within one process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{:x}", self.0)
    }
}

impl Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, GenerationNumber, MAX_NUMBER};

    #[test]
    fn a_number_from_which_none_could_follow_is_not_read() {
        let read = |text: &str| serde_json::from_str::<GenerationNumber>(text).ok();
        assert_eq!(read("1"), Some(GenerationNumber::FIRST));
        let largest = read(&MAX_NUMBER.to_string()).unwrap();
        assert_eq!(serde_json::to_string(&largest).unwrap(), MAX_NUMBER.to_string());
        assert!(largest.next() > largest);
        for text in [(MAX_NUMBER + 1).to_string(), u64::MAX.to_string(), "-1".to_owned()] {
            assert_eq!(read(&text), None, "{text}");
        }
    }

    #[test]
    fn a_digest_is_read_in_the_one_form_that_is_written() {
        let digest = Digest::of(b"a");
        let text = digest.to_string();
        assert_eq!(Digest::parse(&text), Some(digest));
        assert_eq!(Digest::from_bytes(*digest.as_bytes()), digest);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Digest>("\"a\"").is_err());
        let others =
            [String::new(), text.to_uppercase(), text[1..].to_owned(), text[2..].to_owned()];
        let longer = [format!("{text}0"), format!("{text}00"), text.replacen('c', "g", 1)];
        for other in others.iter().chain(&longer) {
            assert_eq!(Digest::parse(other), None, "for {other:?}");
        }
    }
}
