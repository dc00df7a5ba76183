//! The limit: a server of hyper and tokio alone that gives the same answers, without WebAssembly.
//!
//! It is this program itself, started as `wrt-bench native`, so that it has the same allocator.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context as Task, Poll};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, http};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wrt_test_support::process::{Ready, ServerProcess};

use crate::machine::this_program;
use crate::report::say;

/// What starts the server instead of a scenario.
pub(crate) const COMMAND: &str = "native";

/// One line of the page, as in the guest `sizes`.
const LINE: &str = "<p>Hello from a handler: each of those 16 lines has 64 bytes</p>";

/// Bytes at `/large`, and of each chunk at `/stream`.
const CHUNK: usize = 64 << 10;

/// Chunks at `/stream`.
const N_CHUNKS: usize = 16;

type Body = Either<Full<Bytes>, Chunks>;

/// Starts the server.
pub(crate) fn start() -> Result<ServerProcess> {
    // It says where it listens as `wrt` does.
    ServerProcess::start(this_program(COMMAND)?, Ready::WRT)
}

/// Serves until the process is ended.
pub(crate) fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the server's runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
        let address = listener.local_addr().context("failed to read the port's number")?;
        say(&format!("listening on http://{address}"));
        loop {
            let (stream, _) = listener.accept().await.context("failed to accept")?;
            stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
            tokio::spawn(async move {
                let service = service_fn(async |request| answer(&request));
                // A client that goes away in between is no news.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

fn answer(request: &Request<Incoming>) -> http::Result<Response<Body>> {
    let response = Response::builder();
    match request.uri().path() {
        "/large" => response.body(Either::Left(Full::from(vec![b'x'; CHUNK]))),
        "/stream" => response.body(Either::Right(Chunks(N_CHUNKS))),
        _ => response
            .header(http::header::CONTENT_TYPE, "text/html; charset=utf-8")
            .body(Either::Left(Full::from(LINE.repeat(16)))),
    }
}

/// The chunks that are left of a stream, whose length is not told.
struct Chunks(usize);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Task<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(vec![b'x'; CHUNK].into()))))
    }
}
