//! A small HTTP client: one connection, bodies at once or as a stream that the test feeds.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::channel::mpsc;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::fixture::limited;

type RequestBody = UnsyncBoxBody<Bytes, Infallible>;

/// The version of HTTP that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// Without TLS and without an upgrade.
    Http2,
}

enum Sender {
    Http1(http1::SendRequest<RequestBody>),
    Http2(http2::SendRequest<RequestBody>),
}

/// One kept-alive connection.
pub(crate) struct Client {
    sender: Sender,
    connection: tokio::task::JoinHandle<()>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A response whose body is read piece by piece.
pub(crate) struct Streamed {
    pub(crate) head: http::response::Parts,
    body: Incoming,
}

/// Feeds the body of a request; dropping it ends the body.
pub(crate) struct Feed(mpsc::UnboundedSender<Bytes>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_by(Protocol::Http1, address).await
    }

    pub(crate) async fn connect_by(protocol: Protocol, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = TokioIo::new(stream);
        // How a connection ends is seen by the request that it breaks.
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await.unwrap();
                let connection = tokio::spawn(async move { drop(connection.await) });
                Self { sender: Sender::Http1(sender), connection }
            }
            Protocol::Http2 => {
                let handshake = http2::handshake(TokioExecutor::new(), stream);
                let (sender, connection) = handshake.await.unwrap();
                let connection = tokio::spawn(async move { drop(connection.await) });
                Self { sender: Sender::Http2(sender), connection }
            }
        }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path), Bytes::new()).await
    }

    /// Posts an event of `event_type` to `/`.
    pub(crate) async fn event(&mut self, event_type: &str) -> Answer {
        let request = Request::post("/")
            .header("ce-specversion", "1.0")
            .header("ce-id", "1")
            .header("ce-source", "/test")
            .header("ce-type", event_type);
        self.send(request, Bytes::new()).await
    }

    /// Sends `request` with `body`, and reads the whole answer.
    pub(crate) async fn send(&mut self, request: http::request::Builder, body: Bytes) -> Answer {
        self.send_as("test", request, body).await
    }

    /// The same to a server that is called `host`.
    pub(crate) async fn send_as(
        &mut self,
        host: &'static str,
        request: http::request::Builder,
        body: Bytes,
    ) -> Answer {
        let request = request.body(Full::new(body).boxed_unsync()).unwrap();
        Streamed::new(self.respond(host, request).await.unwrap()).whole().await.unwrap()
    }

    /// The same with a body in `chunks`, whose length is not told.
    #[cfg(feature = "admin")]
    pub(crate) async fn stream_body_as(
        &mut self,
        host: &'static str,
        request: http::request::Builder,
        chunks: &'static [&'static str],
    ) -> Answer {
        let frames =
            chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))));
        let body = StreamBody::new(futures::stream::iter(frames));
        let request = request.body(body.boxed_unsync()).unwrap();
        Streamed::new(self.respond(host, request).await.unwrap()).whole().await.unwrap()
    }

    /// `request` to a server that is called `host`, whose answer is read piece by piece.
    #[cfg(feature = "admin")]
    pub(crate) async fn stream_as(
        &mut self,
        host: &'static str,
        request: http::request::Builder,
    ) -> Streamed {
        let request = request.body(Full::default().boxed_unsync()).unwrap();
        Streamed::new(self.respond(host, request).await.unwrap())
    }

    /// A GET whose answer is read piece by piece.
    pub(crate) async fn stream(&mut self, path: &str) -> Streamed {
        let request = Request::get(path).body(Full::default().boxed_unsync()).unwrap();
        Streamed::new(self.respond("test", request).await.unwrap())
    }

    /// A POST whose body the test feeds, here already with `first`.
    pub(crate) async fn upload(&mut self, path: &str, first: &'static str) -> (Feed, Streamed) {
        let (sender, receiver) = mpsc::unbounded();
        let feed = Feed(sender);
        feed.send(first);
        let frames = receiver.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
        let request = Request::post(path).body(StreamBody::new(frames).boxed_unsync()).unwrap();
        (feed, Streamed::new(self.respond("test", request).await.unwrap()))
    }

    async fn respond(
        &mut self,
        host: &'static str,
        mut request: Request<RequestBody>,
    ) -> hyper::Result<Response<Incoming>> {
        limited("a response", async {
            match &mut self.sender {
                Sender::Http1(sender) => {
                    let host = http::HeaderValue::from_static(host);
                    request.headers_mut().insert(http::header::HOST, host);
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Sender::Http2(sender) => {
                    let mut uri = std::mem::take(request.uri_mut()).into_parts();
                    uri.scheme = Some(http::uri::Scheme::HTTP);
                    uri.authority = Some(http::uri::Authority::from_static(host));
                    *request.uri_mut() = http::Uri::from_parts(uri).unwrap();
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Closes the socket now, even with a request under way: as a client that goes away.
        self.connection.abort();
    }
}

impl Feed {
    pub(crate) fn send(&self, chunk: &'static str) {
        // A server that stopped to read is seen by its response.
        let _ = self.0.unbounded_send(Bytes::from_static(chunk.as_bytes()));
    }
}

impl Streamed {
    fn new(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body }
    }

    /// Reads until `text` has come, and gives all that came.
    pub(crate) async fn read_until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.contains(text) {
            let frame = limited("more of a response", self.body.frame()).await;
            let frame = frame.unwrap_or_else(|| panic!("`{text}` is not in `{read}`")).unwrap();
            read += std::str::from_utf8(frame.data_ref().unwrap()).unwrap();
        }
        read
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// Reads the rest.
    pub(crate) async fn whole(self) -> hyper::Result<Answer> {
        let body = limited("the rest of a response", self.body.collect()).await?.to_bytes();
        Ok(Answer { status: self.head.status.as_u16(), headers: self.head.headers, body })
    }

    pub(crate) fn generation(&self) -> &str {
        self.head.headers["wrt-generation"].to_str().unwrap()
    }
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The generation that the answer names.
    pub(crate) fn generation(&self) -> &str {
        self.headers["wrt-generation"].to_str().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
