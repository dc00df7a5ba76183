//! Which answers have content: by HTTP, those to `HEAD` and those of a few statuses have none.

use http::header::{CONTENT_LENGTH, TRAILER};
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use super::body::Body;

/// `response` as an answer to a request of `method`, without the content that RFC 9110 forbids there.
///
/// HTTP/1.1 could do without it, because hyper sends no content then. Over HTTP/2 hyper sends whatever
/// body the answer has, and clients end the stream with `PROTOCOL_ERROR`.
pub(super) fn allowed(method: &Method, mut response: Response<Body>) -> Response<Body> {
    let status = response.status();
    let has_none = matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !has_none && *method != Method::HEAD {
        return response;
    }
    let length = response.body().size_hint().exact();
    let headers = response.headers_mut();
    // No trailers follow where there is no content.
    headers.remove(TRAILER);
    match status {
        // RFC 9110, section 8.6 and 15.3.6: their length is 0 and is not stated.
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => drop(headers.remove(CONTENT_LENGTH)),
        // The length would be that of the content of a 200, which an empty body does not tell.
        StatusCode::NOT_MODIFIED => {}
        // What a `GET` would have, as far as it is known.
        _ => {
            if let Some(length) = length
                && !headers.contains_key(CONTENT_LENGTH)
            {
                headers.insert(CONTENT_LENGTH, length.into());
            }
        }
    }
    // A guest that still streams is told by this that nobody takes its body.
    *response.body_mut() = Body::full("");
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(method: &Method, status: u16, length: Option<&str>) -> (Option<u64>, Option<String>) {
        let mut response = Response::new(Body::full("content"));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.parse().unwrap());
        }
        let response = allowed(method, response);
        let stated = response.headers().get(CONTENT_LENGTH);
        let stated = stated.map(|value| value.to_str().unwrap().to_owned());
        (response.body().size_hint().exact(), stated)
    }

    #[test]
    fn answers_to_head_state_the_length_and_have_no_content() {
        let stated = |length: &str| (Some(0), Some(length.to_owned()));
        assert_eq!(answer(&Method::HEAD, 200, None), stated("7"));
        assert_eq!(answer(&Method::HEAD, 404, Some("70")), stated("70"));
        assert_eq!(answer(&Method::HEAD, 204, Some("7")), (Some(0), None));
    }

    #[test]
    fn statuses_without_content_have_none_whatever_the_method() {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            assert_eq!(answer(&method, 204, Some("7")), (Some(0), None));
            assert_eq!(answer(&method, 205, Some("7")), (Some(0), None));
            assert_eq!(answer(&method, 304, None), (Some(0), None));
            assert_eq!(answer(&method, 304, Some("9")), (Some(0), Some("9".to_owned())));
        }
    }

    #[test]
    fn all_other_answers_stay_as_they_are() {
        for status in [200, 201, 203, 206, 400, 404, 500] {
            assert_eq!(answer(&Method::GET, status, None), (Some(7), None));
            assert_eq!(answer(&Method::POST, status, Some("7")), (Some(7), Some("7".to_owned())));
        }
    }
}
