//! Who is let in: no page of a browser, and nobody without the token.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Shared;
use super::problem::Problem;
use crate::ingress::Stranger;

/// Refuses requests that a page of somebody else's could have made.
pub(super) async fn origin(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match check_origin(shared.config.bound, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Refuses requests without the token.
pub(super) async fn token(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
    if shown.is_some_and(|shown| shared.config.token.is(shown)) {
        // There is none when the router is mounted in a server of the embedder's.
        if let Some(connection) = request.extensions().get::<Stranger>() {
            connection.shows_token();
        }
        next.run(request).await
    } else {
        Problem::no_token().into_response()
    }
}

/// What follows the scheme, whose case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, shown) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(shown)
}

fn check_origin(bound: Option<SocketAddr>, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    // HTTP/2 has the name in the URI.
    let of_uri = uri.authority().map(Authority::as_str);
    let host = of_uri.or_else(|| headers.get(HOST).and_then(|value| value.to_str().ok()));
    if let Some(bound) = bound
        && bound.ip().is_loopback()
        && !host.is_some_and(|host| is_here(host, bound))
    {
        return Err(Problem::foreign_host(host));
    }
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("?");
    let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    match (name, host) {
        (Some(name), Some(host)) if name.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Problem::foreign_origin(origin)),
    }
}

/// Whether `host` names this machine to itself, or the address that is bound.
fn is_here(host: &str, bound: SocketAddr) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|it| it.is_loopback() || it == bound.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bound: &str, headers: &[(&'static str, &'static str)]) -> Result<(), Problem> {
        let headers = headers.iter().map(|(name, value)| {
            (name.parse().unwrap(), axum::http::HeaderValue::from_static(value))
        });
        let bound = Some(bound).filter(|it| !it.is_empty()).map(|it| it.parse().unwrap());
        check_origin(bound, &Uri::from_static("/v1/handlers"), &headers.collect())
    }

    #[test]
    fn loopback_answers_to_its_own_names_only() {
        for host in ["127.0.0.1:3001", "localhost:3001", "LOCALHOST", "[::1]:3001", "127.9.9.9:1"] {
            assert!(check("127.0.0.1:3001", &[("host", host)]).is_ok(), "{host}");
        }
        for host in ["evil.example:3001", "localhost.evil.example", "10.0.0.1:3001", "", "a b"] {
            assert!(check("127.0.0.1:3001", &[("host", host)]).is_err(), "{host}");
        }
        assert!(check("127.0.0.1:3001", &[]).is_err());
        // Whoever opens it to a network has names of his own for it.
        assert!(check("0.0.0.0:3001", &[("host", "wrt.internal")]).is_ok());
        assert!(check("", &[("host", "wrt.internal")]).is_ok());
    }

    #[test]
    fn name_of_http_2_is_looked_at_too() {
        let bound = Some("127.0.0.1:3001".parse().unwrap());
        let check = |uri| check_origin(bound, &Uri::from_static(uri), &HeaderMap::new());
        assert!(check("http://localhost:3001/v1/handlers").is_ok());
        assert!(check("http://evil.example:3001/v1/handlers").is_err());
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let origin = |origin| check("", &[("host", "127.0.0.1:3001"), ("origin", origin)]);
        assert!(origin("http://127.0.0.1:3001").is_ok());
        for foreign in
            ["http://127.0.0.1:3000", "https://evil.example", "null", "", "127.0.0.1:3001"]
        {
            assert!(origin(foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn scheme_has_any_case_and_one_space() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer abc"), Some(&b"abc"[..]));
        for other in [&b"abc"[..], b"Basic abc", b"Bearer", b"Bearerabc"] {
            assert_eq!(bearer(other), None);
        }
    }
}
