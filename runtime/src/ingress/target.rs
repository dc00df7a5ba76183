//! Requests that the host answers itself: those about the server as a whole, and those whose target or
//! coding no handler could make sense of.

use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Response};

use super::body::Body;
use super::reply::{self, Refusal};

/// The answer to `request`, if that is the host's to give.
pub(super) fn answered<B: http_body::Body>(request: &Request<B>) -> Option<Response<Body>> {
    let (method, path) = (request.method(), request.uri().path());
    // Most requests have a path, no body, and another method.
    if path.starts_with('/') && *method != Method::CONNECT && request.body().is_end_stream() {
        return None;
    }
    if *method == Method::CONNECT {
        return Some(reply::refused(&Refusal::NotImplemented { what: "the method `CONNECT`" }));
    }
    if path == "*" && *method == Method::OPTIONS {
        return Some(Response::new(Body::full("")));
    }
    if !path.starts_with('/') {
        return Some(reply::refused(&Refusal::BadTarget));
    }
    // `transfer-encoding` never reaches a guest, which would take coded bytes for the body.
    let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_none_or(is_chunked) && codings.next().is_none() {
        return None;
    }
    let what = "a transfer coding other than `chunked`";
    let mut response = reply::refused(&Refusal::NotImplemented { what });
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn status(method: &str, uri: &str, codings: &[&str]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri(uri);
        for coding in codings {
            request = request.header(TRANSFER_ENCODING, *coding);
        }
        let request = request.body(Full::new(bytes::Bytes::from("body"))).unwrap();
        answered(&request).map(|response| response.status().as_u16())
    }

    #[test]
    fn requests_for_a_path_go_to_handlers() {
        for method in ["GET", "POST", "OPTIONS", "BREW"] {
            assert_eq!(status(method, "/", &[]), None);
            assert_eq!(status(method, "http://a/b", &["Chunked"]), None);
        }
    }

    #[test]
    fn requests_about_the_server_are_the_hosts() {
        assert_eq!(status("OPTIONS", "*", &[]), Some(200));
        assert_eq!(status("GET", "*", &[]), Some(400));
        assert_eq!(status("GET", "a:80", &[]), Some(400));
        assert_eq!(status("CONNECT", "a:80", &[]), Some(501));
    }

    #[test]
    fn codings_that_a_guest_would_not_know_of_are_refused() {
        for codings in
            [&["gzip, chunked"][..], &["gzip"], &["chunked", "chunked"], &["chunked, chunked"]]
        {
            assert_eq!(status("POST", "/", codings), Some(501), "{codings:?}");
        }
    }
}
