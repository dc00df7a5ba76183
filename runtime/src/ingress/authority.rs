//! For which host a request is meant: judged before any handler sees it, by RFC 9110 and 9112.

use std::net::Ipv6Addr;

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Uri};
use http::{Request, Version};

/// For whom a request of HTTP/1.0 is that names nobody: its server, under the one name that every
/// machine gives itself.
const UNNAMED: Authority = Authority::from_static("localhost");

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Straight from a client's connection.
    Client,
    /// From the embedder's own code or server. A target in full is all that it has to say.
    Embedder,
}

/// Why a request names no host that it could be meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadAuthority {
    #[error("the request has no `Host` header")]
    Missing,
    #[error("the request has more than one `Host` header")]
    Several,
    #[error("the request's `Host` header is not `host` or `host:port`")]
    BadHost,
    #[error("the request's target is not for `host` or `host:port`")]
    BadTarget,
    #[error("the request's `Host` header names another host than its `:authority`")]
    Contradiction,
}

/// Judges the host that `request` names, and puts it into the request's URI where the handler would not
/// find it as it is in the `Host` header.
///
/// # Errors
///
/// What is wrong with it. Guests never see such a request: their types refuse it, at the cost of the
/// instance.
pub(super) fn judge<B>(request: &mut Request<B>, origin: Origin) -> Result<(), BadAuthority> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(BadAuthority::Several);
    }
    let is_http1 = request.version() <= Version::HTTP_11;
    let wants_header = request.version() == Version::HTTP_11 && origin == Origin::Client;
    let target = request.uri().authority();
    if target.is_some_and(|target| !is_authority(target.as_str().as_bytes())) {
        return Err(BadAuthority::BadTarget);
    }
    let named = match (host.map(HeaderValue::as_bytes), target) {
        // The header is empty where the target has no host (RFC 9112, 3.2).
        (Some(b""), Some(_)) => return Ok(()),
        (Some(b""), None) => UNNAMED,
        (Some(host), _) if !is_authority(host) => return Err(BadAuthority::BadHost),
        (Some(host), Some(target)) => {
            // A target in full counts alone in HTTP/1.1 (RFC 9112, 3.2.2). In HTTP/2 it is how a host
            // is named, and another in the header is a fault (RFC 9113, 8.3.1).
            let is_same = host.eq_ignore_ascii_case(target.as_str().as_bytes());
            return if is_http1 || is_same { Ok(()) } else { Err(BadAuthority::Contradiction) };
        }
        // What the handler finds in the header is what it would find here, but for a lone colon.
        (Some(host), None) if !host.ends_with(b":") => return Ok(()),
        (Some(host), None) => {
            Authority::try_from(&host[..host.len() - 1]).map_err(|_| BadAuthority::BadHost)?
        }
        (None, Some(_)) if !wants_header => return Ok(()),
        (None, _) if request.version() >= Version::HTTP_11 => return Err(BadAuthority::Missing),
        (None, _) => UNNAMED,
    };
    name(request.uri_mut(), named);
    Ok(())
}

/// Makes `authority` that of `uri`, which has none.
fn name(uri: &mut Uri, authority: Authority) {
    let mut parts = std::mem::take(uri).into_parts();
    parts.authority = Some(authority);
    parts.scheme = Some(http::uri::Scheme::HTTP);
    // It cannot fail: a target without an authority is a path.
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// Whether `text` is `uri-host [ ":" port ]` (RFC 9110, 7.2), of a host that guests' types take, too:
/// those have no percent-encoded names.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end]).ok();
            if address.and_then(|address| address.parse::<Ipv6Addr>().ok()).is_none() {
                return false;
            }
            (&b"[]"[..], &rest[end + 1..])
        }
        None => {
            let end = text.iter().position(|&byte| !IS_IN_NAME[usize::from(byte)]);
            text.split_at(end.unwrap_or(text.len()))
        }
    };
    let is_port = |digits: &[u8]| {
        // No port has more digits that count.
        let digits = std::str::from_utf8(digits).unwrap_or("-");
        digits.is_empty()
            || (digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok())
    };
    let port_is_good = match port.split_first() {
        None => true,
        Some((b':', digits)) => is_port(digits),
        Some(_) => false,
    };
    !host.is_empty() && port_is_good
}

/// Whether a byte may be in a name: unreserved characters and the delimiters inside of components
/// (RFC 3986, 3.2.2). A table, since every request asks for each byte of its host.
const IS_IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~!$&'()*+,;=";
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a request, or the authority that its handler sees.
    fn judged(version: Version, target: &str, hosts: &[&[u8]]) -> Result<String, BadAuthority> {
        let mut request = Request::builder().version(version).uri(target);
        for host in hosts {
            request = request.header(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        let mut request = request.body(()).unwrap();
        judge(&mut request, Origin::Client)?;
        let seen = match request.uri().authority() {
            Some(authority) => authority.as_str(),
            None => request.headers()[HOST].to_str().unwrap(),
        };
        // As the types of guests have it.
        let seen: Authority = seen.parse().expect("guests cannot take it");
        assert_eq!(request.uri().path(), "/a");
        Ok(seen.to_string())
    }

    #[test]
    fn host_is_wanted_once_and_well_formed() {
        let of = |hosts: &[&[u8]]| judged(Version::HTTP_11, "/a", hosts);
        for good in ["a", "a:80", "A.b-c_d~e", "127.0.0.1:3000", "[::1]", "[2001:db8::1]:443", "a."]
        {
            assert_eq!(of(&[good.as_bytes()]).as_deref(), Ok(good));
        }
        assert_eq!(of(&[b"a:"]).as_deref(), Ok("a"));
        assert_eq!(of(&[b"[::1]:"]).as_deref(), Ok("[::1]"));
        assert_eq!(of(&[b""]).as_deref(), Ok("localhost"));
        assert_eq!(of(&[]), Err(BadAuthority::Missing));
        assert_eq!(of(&[b"a", b"a"]), Err(BadAuthority::Several));
        for bad in [
            &b"a b"[..],
            b"a/b",
            b"u@a",
            b"a:b",
            b"a:80:80",
            b"\xff\xff",
            b"a,b c",
            b"a?b",
            b"a#b",
            b":80",
            b":",
            b"[::1",
            b"[::1]a",
            b"[::1]:b",
            b"::1",
            b"[a]",
            b"a:65536",
            b"a:+1",
            b"a%20b",
            b"a\tb",
            b"http://a",
            b"a\\b",
            b"[]",
            b"a[",
            b"<a>",
            b"\"a\"",
            b"a|b",
            b"{a}",
            b"a^b",
            b"a`b",
        ] {
            assert_eq!(of(&[bad]), Err(BadAuthority::BadHost), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn http_1_0_needs_no_host() {
        let of = |hosts: &[&[u8]]| judged(Version::HTTP_10, "/a", hosts);
        assert_eq!(of(&[]).as_deref(), Ok("localhost"));
        assert_eq!(of(&[b"a:8"]).as_deref(), Ok("a:8"));
        assert_eq!(of(&[b"a b"]), Err(BadAuthority::BadHost));
        assert_eq!(of(&[b"a", b"b"]), Err(BadAuthority::Several));
    }

    #[test]
    fn target_in_full_counts_before_the_header() {
        let of = |target, hosts: &[&[u8]]| judged(Version::HTTP_11, target, hosts);
        assert_eq!(of("http://a:8/a", &[b"b"]).as_deref(), Ok("a:8"));
        assert_eq!(of("http://a/a", &[b""]).as_deref(), Ok("a"));
        assert_eq!(of("http://a/a", &[]), Err(BadAuthority::Missing));
        assert_eq!(of("http://a/a", &[b"a b"]), Err(BadAuthority::BadHost));
        assert_eq!(of("http://u@a/a", &[b"a"]), Err(BadAuthority::BadTarget));
        let of_10 = |hosts: &[&[u8]]| judged(Version::HTTP_10, "http://a/a", hosts);
        assert_eq!(of_10(&[]).as_deref(), Ok("a"));
    }

    #[test]
    fn embedder_names_a_host_in_either_place() {
        let of = |request: http::request::Builder| {
            judge(&mut request.body(()).unwrap(), Origin::Embedder)
        };
        assert_eq!(of(Request::get("http://a/a")), Ok(()));
        assert_eq!(of(Request::get("/a").header(HOST, "a")), Ok(()));
        assert_eq!(of(Request::get("/a")), Err(BadAuthority::Missing));
    }

    #[test]
    fn http_2_names_its_host_without_contradiction() {
        let of = |target, hosts: &[&[u8]]| judged(Version::HTTP_2, target, hosts);
        assert_eq!(of("http://a:8/a", &[]).as_deref(), Ok("a:8"));
        assert_eq!(of("http://a:8/a", &[b"A:8"]).as_deref(), Ok("a:8"));
        assert_eq!(of("http://a:8/a", &[b"b"]), Err(BadAuthority::Contradiction));
        assert_eq!(of("/a", &[b"b"]).as_deref(), Ok("b"));
        assert_eq!(of("/a", &[]), Err(BadAuthority::Missing));
        assert_eq!(of("http://u@a/a", &[]), Err(BadAuthority::BadTarget));
    }
}
