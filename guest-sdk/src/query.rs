//! Reads one parameter out of a query string.

use http::Uri;
use http::uri::PathAndQuery;

/// An address, or the part of one, that may have a query string.
pub trait Queried {
    /// What is behind the `?`.
    fn query_string(&self) -> Option<&str>;
}

impl Queried for PathAndQuery {
    fn query_string(&self) -> Option<&str> {
        self.query()
    }
}

impl Queried for Uri {
    fn query_string(&self) -> Option<&str> {
        self.query()
    }
}

/// The first value of a query parameter, decoded; a name without `=` has the empty value.
///
/// ```
/// use wrt_guest::{PathAndQuery, query};
///
/// let path = PathAndQuery::from_static("/search?q=red+shoes%21&page=2&all");
/// assert_eq!(query(&path, "q").as_deref(), Some("red shoes!"));
/// assert_eq!(query(&path, "all").as_deref(), Some(""));
/// assert_eq!(query(&path, "size"), None);
/// ```
pub fn query(address: &impl Queried, name: &str) -> Option<String> {
    address.query_string()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

/// The form encoding's `+` and `%XX`; what is not valid stays as it is, as browsers do it.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    // A hexadecimal digit is less than 16, so it fits.
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode("%zz%4"), "%zz%4");
        assert_eq!(decode("%C3%A9+%2B"), "é +");
    }

    #[test]
    fn first_of_several_values_wins() {
        let uri = Uri::from_static("/?a=1&a=2");
        assert_eq!(query(&uri, "a").as_deref(), Some("1"));
    }
}
