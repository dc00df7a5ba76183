//! Accepts connections: bounds their number, serves HTTP/1.1 and HTTP/2, closes gracefully.
//!
//! The data plane and the control plane differ in the service only.

mod awake;
mod stream;
mod timer;

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::service::HttpService;
use awake::Awake;
use stream::BoundedStream;
use timer::ConnectionTimer;

/// Pause after an accept that failed for want of file descriptors or memory: connections that end
/// meanwhile give some back, and the loop must not spin until then.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Longest time a client may take for its first bytes and for each request's head, so that a slow one
/// does not hold its connection's place for ever; after as long, one of HTTP/2 is asked whether it is
/// there. hyper's own recommendation.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for which a client may take nothing of an answer that is there for it. That of nginx,
/// with which players and downloads that are paused have learned to live.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves `listener` until `stop` is ready, then lets open connections finish for the time that `stop`
/// gives.
///
/// Its threads stay awake for `busy_poll` after each answer; zero lets them sleep. Returns the number of
/// connections that were still open and have been cut.
pub(crate) async fn serve(
    listener: TcpListener,
    service: HttpService,
    max_connections: usize,
    busy_poll: Duration,
    stop: impl Future<Output = Duration>,
) -> usize {
    let awake = (!busy_poll.is_zero()).then(|| Awake::new(busy_poll));
    let answered = awake.as_ref().map(Awake::answered);
    // Not by its `tower` side, which puts each response's future into a box of its own.
    let respond = service_fn(move |request| {
        let (service, answered) = (service.clone(), answered.clone());
        async move {
            let response = service.respond_to_client(request).await;
            if let Some(answered) = answered {
                answered.notify_one();
            }
            Ok::<_, Infallible>(response)
        }
    });
    serve_any(listener, respond, max_connections, stop).await
}

/// [`serve`] for a `tower` service.
#[cfg(feature = "admin")]
pub(crate) async fn serve_tower<S, B>(
    listener: TcpListener,
    service: S,
    max_connections: usize,
    stop: impl Future<Output = Duration>,
) -> usize
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = hyper_util::service::TowerToHyperService::new(service);
    serve_any(listener, service, max_connections, stop).await
}

async fn serve_any<S, B>(
    listener: TcpListener,
    service: S,
    max_connections: usize,
    stop: impl Future<Output = Duration>,
) -> usize
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(max_connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    let drain = loop {
        // Cancel-safe: a permit or connection that loses is dropped before a byte was read.
        tokio::select! {
            drain = &mut stop => break drain,
            accepted = accept(&listener, &places) => {
                if let Some((stream, place)) = accepted {
                    connections.spawn(connection(stream, place, service.clone(), &graceful));
                }
            }
            // Reaped as they end, so that the set holds open connections only.
            Some(_) = connections.join_next() => {}
        }
    };
    drop(listener);
    let finished = tokio::time::timeout(drain, graceful.shutdown()).await.is_ok();
    let cut = if finished { 0 } else { connections.len() };
    connections.shutdown().await;
    cut
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Small chunks of a streamed response must not wait for each other; a failure to set it
            // only makes them slower.
            let _ = stream.set_nodelay(true);
            Some((stream, place))
        }
        Err(error) => {
            // Errors of a single connection are noise; the others pass with time.
            tracing::debug!(%error, "failed to accept a connection");
            if !is_of_one_connection(&error) {
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
            None
        }
    }
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

fn connection<I, S, B>(
    stream: I,
    place: OwnedSemaphorePermit,
    service: S,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let watcher = graceful.watcher();
    async move {
        let _place = place;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(ConnectionTimer::default()).header_read_timeout(HEAD_TIMEOUT);
        // An HTTP/2 client may be silent for long, but not be gone without a word.
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_TIMEOUT);
        let stream = BoundedStream::new(TokioIo::new(stream), HEAD_TIMEOUT, SEND_TIMEOUT);
        let connection = builder.serve_connection(stream, service).into_owned();
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::stream::PREFACE;
    use super::*;

    /// Bytes on their way between client and server, at most.
    const BUFFER: usize = 1024;

    /// An answer of which the client has to take something before all of it is sent.
    const LARGE: &[u8] = &[b'x'; 8 * BUFFER];

    /// A client of a server that answers with `answer`. No socket: the clock of these tests goes on
    /// when nothing is ready, and bytes under way in the system are not.
    async fn connected_to(answer: &'static [u8]) -> DuplexStream {
        let (client, server) = tokio::io::duplex(BUFFER);
        let answer = Full::new(Bytes::from_static(answer));
        let respond = service_fn(move |_| {
            let answer = Response::new(answer.clone());
            async { Ok::<_, Infallible>(answer) }
        });
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let graceful = GracefulShutdown::new();
        let connection = connection(server, place, respond, &graceful);
        tokio::spawn(async move {
            connection.await;
            // Not before, as that would end the connection.
            drop(graceful);
        });
        client
    }

    async fn connected() -> DuplexStream {
        connected_to(b"whole").await
    }

    /// What comes until the server ends the connection, which it has to.
    async fn until_cut(client: &mut DuplexStream) -> Vec<u8> {
        let mut read = Vec::new();
        let cut = tokio::time::timeout(4 * HEAD_TIMEOUT, client.read_to_end(&mut read)).await;
        cut.expect("it was never cut").unwrap();
        read
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_keeps_a_head_back_is_cut_after_requests_that_went_well() {
        let mut client = connected().await;
        let mut read = [0; BUFFER];
        for _ in 0..3 {
            client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let n = client.read(&mut read).await.unwrap();
            assert!(read[..n].ends_with(b"whole"), "{}", read[..n].escape_ascii());
        }
        client.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
        until_cut(&mut client).await;
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_never_shows_its_protocol_is_cut() {
        for first in [&b""[..], b"P", &PREFACE[..PREFACE.len() - 1]] {
            let mut client = connected().await;
            client.write_all(first).await.unwrap();
            assert_eq!(until_cut(&mut client).await, b"");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn client_of_http2_that_is_gone_without_a_word_is_cut() {
        let mut client = connected().await;
        // Length, type, flags, stream.
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        client.write_all(&[&PREFACE[..], &settings].concat()).await.unwrap();
        let said = until_cut(&mut client).await;
        let is_ping = |frame: &[u8]| frame == [0, 0, 8, 6, 0, 0, 0, 0, 0];
        assert!(said.windows(settings.len()).any(is_ping), "{}", said.escape_ascii());
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_takes_nothing_is_cut_and_one_that_takes_little_by_little_is_not() {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let mut client = connected_to(LARGE).await;
        client.write_all(REQUEST).await.unwrap();
        tokio::time::sleep(2 * SEND_TIMEOUT).await;
        assert!(until_cut(&mut client).await.len() < LARGE.len());

        let mut client = connected_to(LARGE).await;
        client.write_all(REQUEST).await.unwrap();
        let mut read = vec![0; LARGE.len() / 8];
        for _ in 0..7 {
            tokio::time::sleep(SEND_TIMEOUT / 2).await;
            client.read_exact(&mut read).await.unwrap();
        }
        assert!(until_cut(&mut client).await.len() >= read.len());
    }

    #[tokio::test(start_paused = true)]
    async fn first_bytes_may_come_one_by_one() {
        let mut client = connected().await;
        for byte in b"PRIME / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" {
            client.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        let answer = until_cut(&mut client).await;
        assert!(answer.ends_with(b"whole"), "{}", answer.escape_ascii());
    }
}
