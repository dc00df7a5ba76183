//! The load generator and the judge against a small server that errs on purpose.

#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wrt_test_support::history::{History, Milestone, Report};
use wrt_test_support::load::{GENERATION_HEADER, Load, LoadPlan, LoadResult, Shape};

/// What the server does wrong, on every tenth request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Changes one byte of the echo.
    WrongByte,
    /// Loses the end of the echo.
    ShortEcho,
    /// Says 503.
    Refuses,
    /// Closes the connection without an answer.
    Hangs,
    /// Never answers.
    Silent,
    /// Names an old generation.
    Stale,
    /// Names two generations.
    Mixed,
    /// Names none.
    Unnamed,
}

struct Server {
    fault: Fault,
    generation: AtomicU64,
    n_requests: AtomicU64,
}

impl Server {
    async fn start(fault: Fault) -> (Arc<Self>, SocketAddr) {
        let server =
            Arc::new(Self { fault, generation: AtomicU64::new(5), n_requests: AtomicU64::new(0) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Arc::clone(&accepting);
                let service = service_fn(move |request| Arc::clone(&server).answer(request));
                // A connection's end, good or bad, is what the client is tested on.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (server, address)
    }

    fn publish(&self) -> Milestone {
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let generation = name(generation).parse().unwrap();
        Milestone::Published { at: Instant::now(), generation }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let generation = self.generation.load(Ordering::SeqCst);
        let mut body = request.into_body().collect().await.unwrap().to_bytes().to_vec();
        let is_faulty = self.n_requests.fetch_add(1, Ordering::SeqCst) % 10 == 9;
        let fault = if is_faulty { self.fault } else { Fault::None };
        let mut response = Response::builder();
        match fault {
            Fault::WrongByte => body.iter_mut().for_each(|byte| *byte ^= 1),
            Fault::ShortEcho => body.truncate(body.len() / 2),
            Fault::Refuses => response = response.status(StatusCode::SERVICE_UNAVAILABLE),
            Fault::Hangs => return Err(std::io::Error::other("planted")),
            Fault::Silent => std::future::pending().await,
            Fault::Mixed => response = response.header(GENERATION_HEADER, name(generation + 1)),
            Fault::None | Fault::Stale | Fault::Unnamed => {}
        }
        match fault {
            Fault::Unnamed => {}
            Fault::Stale => response = response.header(GENERATION_HEADER, name(1)),
            _ => response = response.header(GENERATION_HEADER, name(generation)),
        }
        Ok(response.body(Full::new(body.into())).unwrap_or_else(infallible))
    }
}

/// Names and numbers made here are always valid in a header.
fn infallible<T>(_: http::Error) -> T {
    unreachable!("a valid response")
}

fn name(generation: u64) -> String {
    format!("echo/{generation};{generation:012x}")
}

/// Sixty calls of each kind over four connections, with a swap after each tenth of them.
async fn run(fault: Fault) -> (LoadResult, Report) {
    let (server, address) = Server::start(fault).await;
    let shapes = vec![Shape::get("/"), Shape::post("/", 3000), Shape::upload("/", 5, 700)];
    let load = Load::start(LoadPlan {
        n_connections: 4,
        max_calls: 180,
        call_timeout: Duration::from_millis(if fault == Fault::Silent { 200 } else { 30_000 }),
        ..LoadPlan::new(address, shapes)
    });
    let mut milestones = vec![];
    for swap in 1..10 {
        while load.n_ended() < swap * 18 {
            tokio::task::yield_now().await;
        }
        milestones.push(server.publish());
    }
    let mut result = load.finish().await.unwrap();
    let connections = std::mem::take(&mut result.connections);
    let history = History { connections, milestones };
    let report = history.check();
    (result, report)
}

#[tokio::test]
async fn good_server_is_clean() {
    let (result, report) = run(Fault::None).await;
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.n_calls, 180);
    assert_eq!(report.by_kind.values().sum::<usize>(), 180);
    assert_eq!(report.by_kind.len(), 3, "{report}");
    assert!(report.n_generations > 1, "{report}");
    assert_eq!(result.n_reconnects, 0);
}

#[tokio::test]
async fn wrong_and_short_echoes_are_failures() {
    for (fault, words) in [(Fault::WrongByte, "wrong echo"), (Fault::ShortEcho, "echo of ")] {
        let (_, report) = run(fault).await;
        assert!(report.n_failed > 0 && report.n_violations == 0, "{report}");
        assert!(report.failures.iter().all(|failure| failure.contains(words)), "{report}");
    }
}

#[tokio::test]
async fn refusals_are_failures_and_keep_the_connection() {
    let (result, report) = run(Fault::Refuses).await;
    assert_eq!((report.n_failed, result.n_reconnects), (18, 0), "{report}");
    assert!(report.failures[0].contains("status 503"), "{report}");
}

#[tokio::test]
async fn lost_connections_are_failures_and_counted() {
    let (result, report) = run(Fault::Hangs).await;
    assert!(report.n_failed > 0, "{report}");
    assert!(result.n_reconnects > 0);
}

#[tokio::test]
async fn silence_is_a_failure_after_the_timeout() {
    let (_, report) = run(Fault::Silent).await;
    assert!(report.n_failed > 0, "{report}");
    assert!(report.failures[0].contains("no whole answer within 200ms"), "{report}");
}

#[tokio::test]
async fn stale_and_mixed_generations_are_violations_and_unnamed_ones_counted() {
    let (_, report) = run(Fault::Stale).await;
    assert!(report.n_failed == 0 && report.n_violations == 18, "{report}");
    assert!(report.violations[0].contains("`echo/1;000000000001`"), "{report}");
    let (_, report) = run(Fault::Mixed).await;
    assert!(report.violations.iter().any(|words| words.contains("served by both")), "{report}");
    let (_, report) = run(Fault::Unnamed).await;
    assert_eq!((report.n_failed, report.n_unnamed), (0, 18), "{report}");
}

#[tokio::test]
async fn rate_bounds_the_calls_and_stop_ends_them() {
    let (_, address) = Server::start(Fault::None).await;
    let plan = |rate| LoadPlan { rate, ..LoadPlan::new(address, vec![Shape::get("/")]) };
    // One call per connection in the first beat, the next beats only after an hour.
    let slow = Load::start(LoadPlan { n_connections: 3, ..plan(Some(1.0 / 1200.0)) });
    while slow.n_ended() < 1 {
        tokio::task::yield_now().await;
    }
    // The first connection's first beat is at once; the second one's is 20 minutes away.
    assert_eq!(slow.n_ended(), 1);
    let busy = Load::start(LoadPlan { n_connections: 3, ..plan(None) });
    while busy.n_ended() < 100 {
        tokio::task::yield_now().await;
    }
    let result = busy.stop().await.unwrap();
    let history = History { connections: result.connections, milestones: vec![] };
    assert!(history.check().n_calls >= 100);
}

#[tokio::test]
async fn load_that_catches_up_leaves_out_no_beat() {
    let (_server, address) = Server::start(Fault::None).await;
    let period = Duration::from_micros(100);
    let plan = LoadPlan {
        n_connections: 1,
        // Faster than a connection of this client is, so that most calls are late.
        rate: Some(1.0 / period.as_secs_f64()),
        catches_up: true,
        max_calls: 50,
        ..LoadPlan::new(address, vec![Shape::get("/")])
    };
    let result = Load::start(plan).finish().await.unwrap();
    let calls = &result.connections[0].calls;
    assert_eq!(calls.len(), 50);
    for pair in calls.windows(2) {
        assert_eq!(pair[1].due_at - pair[0].due_at, period);
        assert!(pair[1].due_at <= pair[1].started_at);
    }
}

#[tokio::test]
async fn absent_server_fails_every_call() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let plan = LoadPlan {
        n_connections: 2,
        max_calls: 4,
        ..LoadPlan::new(address, vec![Shape::get("/")])
    };
    let result = Load::start(plan).finish().await.unwrap();
    let report = History { connections: result.connections, milestones: vec![] }.check();
    assert_eq!((report.n_calls, report.n_failed), (4, 4), "{report}");
    assert!(report.failures[0].contains("failed to connect"), "{report}");
}
