//! What an HTTP handler may take as arguments.

use crate::{Body, Json, Request, Result};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use serde::de::DeserializeOwned;
use std::future::Future;

/// Makes one argument of an HTTP handler from the request.
///
/// [`Method`], [`Uri`] and [`HeaderMap`] look at the head. [`Request`], [`Body`], [`Json`],
/// [`Bytes`] and `String` take the body, so a handler has at most one of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from an HTTP request",
    label = "expected something that implements `FromRequest`",
    note = "take `Request`, `Json<T>` with a `T` that implements `Deserialize`, `Body`, `String`, \
            `Method`, `Uri` or `HeaderMap`"
)]
pub trait FromRequest: Sized {
    /// The argument.
    ///
    /// # Errors
    ///
    /// What was sent does not fit, which is best said with [`Error::rejected`](crate::Error::rejected),
    /// or the body could not be read.
    fn from_request(head: &Parts, body: &mut Body) -> impl Future<Output = Result<Self>>;
}

impl FromRequest for Request {
    async fn from_request(head: &Parts, body: &mut Body) -> Result<Self> {
        Ok(Self::from_parts(head.clone(), body.take()))
    }
}

impl FromRequest for Body {
    async fn from_request(_: &Parts, body: &mut Body) -> Result<Self> {
        Ok(body.take())
    }
}

impl<T: DeserializeOwned> FromRequest for Json<T> {
    async fn from_request(_: &Parts, body: &mut Body) -> Result<Self> {
        body.take().json().await.map(Self)
    }
}

impl FromRequest for Bytes {
    async fn from_request(_: &Parts, body: &mut Body) -> Result<Self> {
        body.take().bytes().await
    }
}

impl FromRequest for String {
    async fn from_request(_: &Parts, body: &mut Body) -> Result<Self> {
        body.take().text().await
    }
}

impl FromRequest for Method {
    async fn from_request(head: &Parts, _: &mut Body) -> Result<Self> {
        Ok(head.method.clone())
    }
}

impl FromRequest for Uri {
    async fn from_request(head: &Parts, _: &mut Body) -> Result<Self> {
        Ok(head.uri.clone())
    }
}

impl FromRequest for HeaderMap {
    async fn from_request(head: &Parts, _: &mut Body) -> Result<Self> {
        Ok(head.headers.clone())
    }
}
