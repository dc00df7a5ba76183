//! The limit: a server of hyper and tokio alone that gives the same answers, without WebAssembly.
//!
//! It is this program itself, started as `wrt-bench native`, so that it has the same allocator.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, http};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Notify;
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

/// Starts the server, whose threads look for the next request for `busy_poll` after each answer before
/// they sleep.
pub(crate) fn start(busy_poll: Duration) -> Result<ServerProcess> {
    let mut command = this_program(COMMAND)?;
    command.arg(busy_poll.as_millis().to_string());
    // It says where it listens as `wrt` does.
    ServerProcess::start(command, Ready::WRT)
}

/// Serves until the process is ended; by the argument that [`start`] gives.
pub(crate) fn run(busy_poll: Option<&str>) -> Result<()> {
    let milliseconds = busy_poll.unwrap_or("0").parse().context("expected milliseconds")?;
    let busy_poll = Duration::from_millis(milliseconds);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the server's runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
        let address = listener.local_addr().context("failed to read the port's number")?;
        say(&format!("listening on http://{address}"));
        let answered = Arc::new(Notify::new());
        if !busy_poll.is_zero() {
            tokio::spawn(poll(Arc::clone(&answered), busy_poll));
        }
        loop {
            let (stream, _) = listener.accept().await.context("failed to accept")?;
            stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let service = service_fn(async |request| {
                    let response = answer(&request);
                    if !busy_poll.is_zero() {
                        answered.notify_one();
                    }
                    response
                });
                // A client that goes away in between is no news.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

/// Looks for work until the last answer is `busy_poll` ago, as wrt does.
async fn poll(answered: Arc<Notify>, busy_poll: Duration) {
    loop {
        answered.notified().await;
        let mut until = Instant::now() + busy_poll;
        while Instant::now() < until {
            tokio::task::yield_now().await;
            if pin!(answered.notified()).enable() {
                until = Instant::now() + busy_poll;
            }
        }
    }
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
