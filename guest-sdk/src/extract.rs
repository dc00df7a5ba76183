//! What an HTTP handler may take as arguments.

use crate::{Body, Json, Request, Result};
use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};
use serde::de::DeserializeOwned;
use std::future::Future;

/// Makes one argument of an HTTP handler from the request.
///
/// [`Method`], [`PathAndQuery`], [`Uri`] and [`HeaderMap`] look at the head. [`Request`], [`Body`],
/// [`Json`], [`Bytes`] and `String` take the body, so a handler has at most one of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from an HTTP request",
    label = "expected something that implements `FromRequest`",
    note = "take `Request`, `Json<T>` with a `T` that implements `Deserialize`, `Body`, `String`, \
            `Method`, `PathAndQuery`, `Uri` or `HeaderMap`"
)]
pub trait FromRequest: Sized {
    /// What it looks at. The rest is not asked of the host: the head is there as in a new request,
    /// `GET /` without headers, and reading the body is an error.
    const NEEDS: Needs = Needs::ALL;

    /// The argument.
    ///
    /// # Errors
    ///
    /// What was sent does not fit, which is best said with [`Error::rejected`](crate::Error::rejected),
    /// or the body could not be read.
    fn from_request(head: &Parts, body: &mut Body) -> impl Future<Output = Result<Self>>;
}

/// Parts of a request.
///
/// Each costs calls of the host, so a handler gets those that its arguments look at.
///
/// ```
/// use wrt_guest::{Body, Error, FromRequest, Needs, Result};
///
/// struct Page(u32);
///
/// impl FromRequest for Page {
///     const NEEDS: Needs = Needs::PATH;
///
///     async fn from_request(head: &http::request::Parts, _: &mut Body) -> Result<Self> {
///         let number = head.uri.path().trim_start_matches('/');
///         number.parse().map(Self).map_err(Error::rejected)
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs(u8);

impl Needs {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// The method.
    pub const METHOD: Self = Self(1);
    /// The path and the query of the address, without its scheme and authority.
    pub const PATH: Self = Self(1 << 1);
    /// The address, whole.
    pub const URI: Self = Self::PATH.and(Self(1 << 2));
    /// All headers; the length of a [`Body`] is told by them.
    pub const HEADERS: Self = Self(1 << 3);
    /// The body, which is read of the host when somebody reads it.
    pub const BODY: Self = Self(1 << 4);
    /// All of them.
    pub const ALL: Self = Self::METHOD.and(Self::URI).and(Self::HEADERS).and(Self::BODY);

    /// These and `others`.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of `parts` are among them.
    pub(crate) const fn include(self, parts: Self) -> bool {
        self.0 & parts.0 == parts.0
    }

    /// `request` as a handler sees it that needs no more than these.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn keep(self, request: Request) -> Request {
        let (mut head, mut body) = request.into_parts();
        if !self.include(Self::METHOD) {
            head.method = Method::default();
        }
        if !self.include(Self::URI) {
            let path = self.include(Self::PATH).then(|| path(&head));
            head.uri = path.map(Uri::from).unwrap_or_default();
        }
        if !self.include(Self::HEADERS) {
            head.headers = HeaderMap::default();
        }
        if !self.include(Self::BODY) {
            body = Body::not_asked_for();
        }
        Request::from_parts(head, body)
    }
}

/// A request to an authority alone asks for its root.
fn path(head: &Parts) -> PathAndQuery {
    head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

impl FromRequest for Request {
    async fn from_request(head: &Parts, body: &mut Body) -> Result<Self> {
        Ok(Self::from_parts(head.clone(), body.take()))
    }
}

impl FromRequest for Body {
    const NEEDS: Needs = Needs::HEADERS.and(Needs::BODY);

    async fn from_request(_: &Parts, body: &mut Body) -> Result<Self> {
        Ok(body.take())
    }
}

impl<T: DeserializeOwned> FromRequest for Json<T> {
    const NEEDS: Needs = Needs::BODY;

    async fn from_request(_: &Parts, body: &mut Body) -> Result<Self> {
        body.take().json().await.map(Self)
    }
}

impl FromRequest for Bytes {
    const NEEDS: Needs = Needs::BODY;

    async fn from_request(_: &Parts, body: &mut Body) -> Result<Self> {
        body.take().bytes().await
    }
}

impl FromRequest for String {
    const NEEDS: Needs = Needs::BODY;

    async fn from_request(_: &Parts, body: &mut Body) -> Result<Self> {
        body.take().text().await
    }
}

impl FromRequest for Method {
    const NEEDS: Needs = Needs::METHOD;

    async fn from_request(head: &Parts, _: &mut Body) -> Result<Self> {
        Ok(head.method.clone())
    }
}

impl FromRequest for PathAndQuery {
    const NEEDS: Needs = Needs::PATH;

    async fn from_request(head: &Parts, _: &mut Body) -> Result<Self> {
        Ok(path(head))
    }
}

impl FromRequest for Uri {
    const NEEDS: Needs = Needs::URI;

    async fn from_request(head: &Parts, _: &mut Body) -> Result<Self> {
        Ok(head.uri.clone())
    }
}

impl FromRequest for HeaderMap {
    const NEEDS: Needs = Needs::HEADERS;

    async fn from_request(head: &Parts, _: &mut Body) -> Result<Self> {
        Ok(head.headers.clone())
    }
}
