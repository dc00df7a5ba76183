//! What an HTTP handler may return.

use crate::{Body, Error, Response, Result};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

/// Turns a handler's answer into a response.
///
/// Text, bytes, [`Html`] and [`Json`](crate::Json) bring their content type. A status in front of
/// any of them, as in `(StatusCode::CREATED, "made")`, replaces the status. `()` is 204.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an answer to an HTTP request",
    label = "expected something that implements `IntoResponse`",
    note = "return `Response`, `Json<T>`, `Html`, text, a `StatusCode`, or a `Result` of one"
)]
pub trait IntoResponse {
    /// The response.
    ///
    /// # Errors
    ///
    /// The handler's own error, or a value that could not be encoded.
    fn into_response(self) -> Result<Response>;
}

/// A page of HTML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Html<T = String>(pub T);

fn typed(content_type: &'static str, body: impl Into<Body>) -> Result<Response> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

impl<B: Into<Body>> IntoResponse for Response<B> {
    fn into_response(self) -> Result<Response> {
        Ok(self.map(Into::into))
    }
}

impl<T: IntoResponse, E: Into<Error>> IntoResponse for Result<T, E> {
    fn into_response(self) -> Result<Response> {
        self.map_err(Into::into)?.into_response()
    }
}

impl<T: IntoResponse> IntoResponse for (StatusCode, T) {
    fn into_response(self) -> Result<Response> {
        let mut response = self.1.into_response()?;
        *response.status_mut() = self.0;
        Ok(response)
    }
}

impl IntoResponse for StatusCode {
    fn into_response(self) -> Result<Response> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self;
        Ok(response)
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Result<Response> {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl<T: Into<Body>> IntoResponse for Html<T> {
    fn into_response(self) -> Result<Response> {
        typed("text/html; charset=utf-8", self.0)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Result<Response> {
        typed("text/plain; charset=utf-8", self)
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Result<Response> {
        typed("text/plain; charset=utf-8", self)
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Result<Response> {
        typed("application/octet-stream", self)
    }
}

impl IntoResponse for Bytes {
    fn into_response(self) -> Result<Response> {
        typed("application/octet-stream", self)
    }
}

/// A body without a content type: what it is, only the handler knows.
impl IntoResponse for Body {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(self))
    }
}
