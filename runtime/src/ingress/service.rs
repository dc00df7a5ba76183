//! The data plane as a `tower` service, to be mounted in a host's own router.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};

use super::authority::{self, Origin};
use super::body::Body;
use super::content;
use super::dispatch::DataPlane;
use super::reply::{self, Refusal};
use super::target;

/// Answers requests with the handlers of one runtime, by their routes. Cheap to clone.
///
/// Always ready: back-pressure is per handler, by waiting.
#[derive(Debug, Clone)]
pub struct HttpService {
    plane: Arc<DataPlane>,
}

impl HttpService {
    pub(crate) fn new(plane: Arc<DataPlane>) -> Self {
        Self { plane }
    }

    /// Answers one request. Failures are responses: 400, 404, 408, 500, 503, 504.
    ///
    /// The request names its host, in its URI or in its `Host` header; 400 says that it does not.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call's place back; the guest ends when it next writes its
    /// response, or at its timeout.
    pub async fn respond<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        self.answer(request, Origin::Embedder).await
    }

    /// [`respond`](Self::respond) to a request as it came from a client.
    pub(super) async fn respond_to_client<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        self.answer(request, Origin::Client).await
    }

    async fn answer<B>(&self, mut request: Request<B>, origin: Origin) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let method = request.method().clone();
        // First, as it is wanted of every request, also of those that no handler gets.
        let judged = authority::judge(&mut request, origin);
        let refused = judged.err().map(|error| reply::refused(&Refusal::BadAuthority(error)));
        let response = match refused.or_else(|| target::answered(&request)) {
            Some(response) => response,
            None => self.plane.respond(request).await,
        };
        content::allowed(&method, response)
    }
}

impl<B> tower_service::Service<Request<B>> for HttpService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.respond(request).await) })
    }
}
