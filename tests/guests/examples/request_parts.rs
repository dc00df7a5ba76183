//! Answers with what came of a request, as `METHOD URI LENGTH BYTES TRAILERS`.
//!
//! With `?unread` the body is left alone. With `?header=NAME` the answer has a header of that name,
//! with `?status=CODE` that status and an empty body.

use std::future::poll_fn;
use std::pin::Pin;

use http_body::Body as _;
use wrt_guest::{HeaderName, HeaderValue, IntoResponse as _, Request, Response, Result, query};

#[wrt_guest::http]
async fn handle(request: Request) -> Result<Response> {
    let (head, mut body) = request.into_parts();
    if let Some(name) = query(&head.uri, "header") {
        let mut response = "refused?".into_response()?;
        let name = HeaderName::try_from(name)?;
        response.headers_mut().insert("x-first", HeaderValue::from_static("accepted"));
        response.headers_mut().insert(name, HeaderValue::from_static("value"));
        return Ok(response);
    }
    if let Some(code) = query(&head.uri, "status") {
        let mut response = "".into_response()?;
        *response.status_mut() = code.parse()?;
        return Ok(response);
    }
    if query(&head.uri, "unread").is_some() {
        return format!("{} {}", head.method, head.uri).into_response();
    }
    let length = body.size_hint().exact();
    let (mut bytes, mut trailers) = (0, String::new());
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.transpose()? {
        bytes += frame.data_ref().map_or(0, |data| data.len());
        for (name, value) in frame.trailers_ref().into_iter().flatten() {
            trailers += &format!(" {name}={}", value.to_str()?);
        }
    }
    format!("{} {} {length:?} {bytes}{trailers}", head.method, head.uri).into_response()
}
