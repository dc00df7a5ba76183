//! Accepts connections: bounds their number, serves HTTP/1.1 and HTTP/2, closes gracefully.
//!
//! The data plane and the control plane differ in the service only.

mod awake;
mod counts;
mod descriptors;
mod door;
mod strangers;
mod stream;
mod streams;
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
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::service::HttpService;
use awake::Awake;
pub(crate) use counts::ConnectionCounts;
#[cfg(feature = "admin")]
pub(crate) use counts::Lack;
use door::{Door, Held};
use stream::BoundedStream;
use streams::{Streams, Watched};
use timer::ConnectionTimer;

#[cfg(feature = "admin")]
pub(crate) use strangers::Stranger;

/// Longest time a client may take for its first bytes and for each request's head, so that a slow one
/// does not hold its connection's place for ever; after as long, one of HTTP/2 is asked whether it is
/// there. hyper's own recommendation.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for which a client may take nothing of an answer that is there for it. That of nginx,
/// with which players and downloads that are paused have learned to live.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// Requests that an HTTP/2 connection has under way at once. Fewer than the places of a handler (100 by
/// default), so that no connection takes all of them. Browsers have some ten under way.
const MAX_STREAMS: u32 = 64;

/// Bytes that the head of a request over HTTP/1 may have: as many as a guest's own may. It is the bound of
/// hyper's buffers, so bodies move in pieces of no more. Over HTTP/2 hyper allows 16 KiB.
const MAX_HEAD: usize = 128 * 1024;

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
    counts: Arc<ConnectionCounts>,
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
            Ok::<_, Infallible>(response.map(Watched::new))
        }
    });
    let door = Door::with_places(listener, max_connections, counts);
    serve_any(door, |_| respond.clone(), stop).await
}

/// [`serve`] for a `tower` service whose connections are [`Stranger`]s until they show a token.
#[cfg(feature = "admin")]
pub(crate) async fn serve_strangers<S, B>(
    listener: TcpListener,
    service: S,
    stop: impl Future<Output = Duration>,
) -> usize
where
    S: tower_service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = hyper_util::service::TowerToHyperService::new(service);
    let serve_connection = |held: &Held| {
        let (service, held) = (service.clone(), held.stranger());
        service_fn(move |mut request: Request<Incoming>| {
            if let Some(stranger) = &held {
                request.extensions_mut().insert(stranger.clone());
            }
            let answering = service.call(request);
            async { Ok::<_, Infallible>(answering.await?.map(Watched::new)) }
        })
    };
    serve_any(Door::for_strangers(listener), serve_connection, stop).await
}

async fn serve_any<S, B>(
    mut door: Door,
    make_service: impl Fn(&Held) -> S,
    stop: impl Future<Output = Duration>,
) -> usize
where
    S: Service<Request<Incoming>, Response = Response<Watched<B>>, Error = Infallible>,
    S: Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let graceful = GracefulShutdown::new();
    let streams = Streams::new(SEND_TIMEOUT);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    let drain = loop {
        // Cancel-safe: the door keeps a connection that waits.
        tokio::select! {
            drain = &mut stop => break drain,
            (stream, held) = door.next() => {
                let service = make_service(&held);
                connections.spawn(connection(stream, held, service, streams.clone(), &graceful));
            }
            // Reaped as they end, so that the set holds open connections only.
            Some(_) = connections.join_next() => {}
        }
    };
    drop(door);
    let finished = tokio::time::timeout(drain, graceful.shutdown()).await.is_ok();
    let cut = if finished { 0 } else { connections.len() };
    connections.shutdown().await;
    cut
}

fn connection<I, S, B>(
    stream: I,
    held: Held,
    service: S,
    streams: Streams,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + 'static
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<Watched<B>>, Error = Infallible>,
    S: Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let watcher = graceful.watcher();
    async move {
        let mut builder = Builder::new(streams);
        builder
            .http1()
            .timer(ConnectionTimer::default())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD);
        // An HTTP/2 client may be silent for long, but not be gone without a word.
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HEAD_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS);
        let stream = BoundedStream::new(TokioIo::new(stream), HEAD_TIMEOUT, SEND_TIMEOUT);
        let connection = builder.serve_connection(stream, service).into_owned();
        tokio::select! {
            biased; // Most connections are asked to leave by nobody.
            ended = watcher.watch(connection) => if let Err(error) = ended {
                tracing::debug!(error, "a connection ended early");
            },
            () = held.must_leave() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::sync::Semaphore;

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
            let answer = Response::new(Watched::new(answer.clone()));
            async { Ok::<_, Infallible>(answer) }
        });
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let graceful = GracefulShutdown::new();
        let connection = connection(
            server,
            Held::Place { _place: place, _open: Arc::<ConnectionCounts>::default().opened() },
            respond,
            Streams::new(SEND_TIMEOUT),
            &graceful,
        );
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
    async fn head_without_an_end_is_refused_and_a_large_one_is_not() {
        for (bytes, expected) in [(MAX_HEAD / 2, "200"), (MAX_HEAD * 3 / 2, "431")] {
            let mut client = connected().await;
            let (head, value) =
                ("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: ", "x".repeat(bytes));
            // Whoever is refused may find the connection closed while it is still sending.
            let _ = client.write_all(format!("{head}{value}\r\n\r\n").as_bytes()).await;
            let answer = until_cut(&mut client).await;
            let status = format!("HTTP/1.1 {expected} ");
            assert!(answer.starts_with(status.as_bytes()), "{}", answer.escape_ascii());
        }
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

    /// A frame of HTTP/2: type, flags, stream, content.
    fn frame(kind: u8, flags: u8, stream: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("the frames of tests are short");
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], content].concat()
    }

    /// Reads frames, and answers pings and settings, until one is of type `wanted`, which has to come;
    /// returns its stream and content.
    async fn until_frame(client: &mut DuplexStream, wanted: u8) -> (u8, Vec<u8>) {
        // The server's pings never end, so waiting for a frame would not either.
        let read = tokio::time::timeout(4 * SEND_TIMEOUT, read_until_frame(client, wanted)).await;
        read.expect("no frame of this type came")
    }

    async fn read_until_frame(client: &mut DuplexStream, wanted: u8) -> (u8, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            client.read_exact(&mut head).await.expect("the server has ended the connection");
            let [_, high, low, kind, flags, .., stream] = head;
            let mut content = vec![0; usize::from(u16::from_be_bytes([high, low]))];
            client.read_exact(&mut content).await.unwrap();
            if kind == wanted {
                return (stream, content);
            }
            if let (4, 0) | (6, 0) = (kind, flags) {
                let content = if kind == 6 { &content[..] } else { &[] };
                client.write_all(&frame(kind, 1, 0, content)).await.unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn stream_of_which_nothing_is_taken_is_reset_and_the_others_go_on() {
        let mut client = connected_to(LARGE).await;
        // No window for streams; two requests for `/`: GET, http, / of the static table.
        let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
        let request = |stream| frame(1, 5, stream, &[0x82, 0x86, 0x84]);
        let sent = [&PREFACE[..], &settings, &request(1), &request(3)].concat();
        client.write_all(&sent).await.unwrap();
        let start = tokio::time::Instant::now();
        // The second client takes some of its answer, in time.
        tokio::time::sleep(SEND_TIMEOUT / 2).await;
        client.write_all(&frame(8, 0, 3, &[0, 0, 0, 1])).await.unwrap();
        let mut taken = until_frame(&mut client, 0).await;
        assert_eq!(taken, (3, LARGE[..1].to_vec()));
        let (stream, code) = until_frame(&mut client, 3).await;
        assert_eq!((stream, &code[..]), (1, &[0, 0, 0, 8][..]), "it is not cancelled");
        assert_eq!(start.elapsed(), SEND_TIMEOUT);
        // All of it.
        client.write_all(&frame(8, 0, 3, &[0, 1, 0, 0])).await.unwrap();
        while taken.1.len() < LARGE.len() {
            let (stream, data) = until_frame(&mut client, 0).await;
            assert_eq!(stream, 3);
            taken.1.extend(data);
        }
        assert_eq!(taken.1, LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_beyond_those_that_a_connection_may_have_is_refused() {
        let mut client = connected_to(LARGE).await;
        // No window, so that no stream ends.
        let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
        client.write_all(&[&PREFACE[..], &settings].concat()).await.unwrap();
        for stream in (1..).step_by(2).take(MAX_STREAMS as usize) {
            client.write_all(&frame(1, 5, stream, &[0x82, 0x86, 0x84])).await.unwrap();
            assert_eq!(until_frame(&mut client, 1).await.0, stream);
        }
        let beyond = u8::try_from(2 * MAX_STREAMS + 1).unwrap();
        client.write_all(&frame(1, 5, beyond, &[0x82, 0x86, 0x84])).await.unwrap();
        let (stream, code) = until_frame(&mut client, 3).await;
        assert_eq!((stream, &code[..]), (beyond, &[0, 0, 0, 7][..]), "it is not refused");
    }

    #[tokio::test(start_paused = true)]
    async fn answer_of_a_stream_that_waits_for_its_handler_has_no_bound() {
        let mut client = connected_to(b"whole").await;
        let settings = frame(4, 0, 0, &[]);
        client.write_all(&[&PREFACE[..], &settings].concat()).await.unwrap();
        // Long after the bound for an answer, the connection is in order.
        for stream in [1, 3] {
            client.write_all(&frame(1, 5, stream, &[0x82, 0x86, 0x84])).await.unwrap();
            assert_eq!(until_frame(&mut client, 0).await, (stream, b"whole".to_vec()));
            let idle = tokio::time::timeout(3 * SEND_TIMEOUT, until_frame(&mut client, 7)).await;
            assert!(idle.is_err(), "the connection is closed");
        }
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
