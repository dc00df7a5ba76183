//! A place is for a guest that works: no client keeps it by being slow, or by having many connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use wrt::{HandlerConfig, InstanceMode};

use crate::fixture::{Fixture, config, guest, limited, wait_until};

/// Calls wait for this long; a quarter of it is what a call has that stands still.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(3);

/// A handler with one place.
async fn one_place(instances: InstanceMode) -> Fixture {
    let config = config().with_instances(instances).with_concurrency(1);
    serving(config.with_queue(100, QUEUE_TIMEOUT)).await
}

async fn serving(config: HandlerConfig) -> Fixture {
    Fixture::serving_as(config, &guest("asked")).await.0
}

/// Sends `bytes` on a connection of its own, which stays.
async fn sent(fixture: &Fixture, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Calls inside of the handler.
fn inside(fixture: &Fixture) -> usize {
    fixture.handler().in_flight()
}

async fn wait_for_calls(fixture: &Fixture, n: usize) {
    let status = || format!("{n} calls inside, there are {}", inside(fixture));
    wait_until(|| inside(fixture) == n, status).await;
}

/// A client that sends `request`, reads what it gets with pauses, and comes again when that ends.
async fn comes_again(address: SocketAddr, request: &'static [u8], pause: Duration) {
    let mut buffer = vec![0; 1 << 10];
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(request).await;
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
            tokio::time::sleep(pause).await;
        }
    }
}

/// `n` streams of one HTTP/2 connection, each a request whose body never comes, and which is made again when
/// it is answered.
async fn silent_streams(address: SocketAddr, n: usize) -> JoinSet<()> {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (sender, connection) = handshake.await.unwrap();
    let mut streams = JoinSet::new();
    streams.spawn(async move { drop(connection.await) });
    for _ in 0..n {
        let mut sender = sender.clone();
        streams.spawn(async move {
            loop {
                let silent = futures::stream::pending::<Result<Frame<Bytes>, Infallible>>();
                let request = Request::post("http://test/").body(StreamBody::new(silent)).unwrap();
                let _ = sender.send_request(request).await;
            }
        });
    }
    streams
}

/// Reads until `text` has come.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(text) {
            let n = stream.read_buf(&mut read).await.unwrap();
            assert!(n > 0, "`{text}` is not in `{}`", read.escape_ascii());
        }
    };
    limited(text, reading).await;
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn singleton_answers_while_one_of_its_event_streams_is_open() {
    let fixture = one_place(InstanceMode::Singleton).await;
    assert_eq!(fixture.get("/count").await.text(), "1");
    let mut reader = fixture.client().await;
    let mut ticks = reader.stream("/ticks?ms=10").await;
    ticks.read_until("data: 3").await;

    assert_eq!(fixture.get("/count").await.text(), "3", "its memory is kept");
    assert!(ticks.whole().await.is_err(), "a stream that was ended looks whole");
}

#[tokio::test]
async fn singleton_answers_while_a_client_does_not_read_its_page() {
    let fixture = one_place(InstanceMode::Singleton).await;
    // Held with its page, and never read.
    let mut reader = sent(&fixture, b"GET /page?bytes=8388608 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    read_until(&mut reader, "200 OK").await;
    for call in 2..5 {
        assert_eq!(fixture.get("/count").await.text(), call.to_string());
    }
    // The page is whole for a client that takes its time.
    let (mut n, mut buffer) = (0, vec![0; 1 << 20]);
    while n < 8 << 20 {
        n += limited("the page", reader.read(&mut buffer)).await.unwrap();
    }
}

#[tokio::test]
async fn singleton_answers_while_forms_arrive_byte_by_byte() {
    let fixture = one_place(InstanceMode::Singleton).await;
    let known = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabcd";
    let unknown = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n";
    let mut slow = sent(&fixture, known).await;
    let _other = sent(&fixture, unknown).await;
    assert_eq!(fixture.get("/count").await.status, 200);
    slow.write_all(&[b'x'; 96]).await.unwrap();
    assert!(read_until(&mut slow, "POST").await.contains("POST / 100"));
}

#[tokio::test]
async fn small_form_that_arrives_slowly_takes_no_place() {
    let fixture = one_place(InstanceMode::Fresh).await;
    let form = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabcd";
    let mut slow = sent(&fixture, form).await;
    for _ in 0..3 {
        assert_eq!(fixture.get("/").await.text(), "GET / 0");
    }
    slow.write_all(&[b'x'; 96]).await.unwrap();
    read_until(&mut slow, "POST / 100").await;
}

#[tokio::test]
async fn place_is_free_when_the_guest_has_ended_although_nobody_reads() {
    for instances in [InstanceMode::Fresh, InstanceMode::pooled(), InstanceMode::Singleton] {
        let fixture = one_place(instances).await;
        // More than the buffers of a connection take, less than the host keeps of an answer.
        let page = b"GET /page?bytes=900000 HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut readers = Vec::new();
        for _ in 0..4 {
            readers.push(sent(&fixture, page).await);
        }
        for reader in &mut readers {
            read_until(reader, "200 OK").await;
        }
        assert_eq!(fixture.get("/").await.text(), "GET / 0", "{instances:?}");
    }
}

#[tokio::test]
async fn call_whose_client_takes_nothing_gives_way_to_one_that_waits() {
    for instances in [InstanceMode::Fresh, InstanceMode::pooled()] {
        let fixture = one_place(instances).await;
        let page = b"GET /page?bytes=100000000 HTTP/1.1\r\nhost: a\r\n\r\n";
        let mut reader = sent(&fixture, page).await;
        read_until(&mut reader, "200 OK").await;
        assert_eq!(fixture.get("/").await.text(), "GET / 0", "{instances:?}");
        wait_until(|| fixture.runtime.live_stores() <= 1, || "the other's end".into()).await;
    }
}

#[tokio::test]
async fn calls_are_answered_while_stalled_uploads_are_made_again_and_again() {
    const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        transfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n";
    const LARGE: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
        content-length: 20000000\r\n\r\nabcd";
    for instances in [InstanceMode::Fresh, InstanceMode::pooled(), InstanceMode::Singleton] {
        for request in [CHUNKED, LARGE] {
            let fixture = one_place(instances).await;
            let mut uploads = JoinSet::new();
            for _ in 0..3 {
                uploads.spawn(comes_again(fixture.address, request, Duration::ZERO));
            }
            // Nobody else wants the place, so one of them gets it.
            wait_for_calls(&fixture, 1).await;
            for _ in 0..5 {
                assert_eq!(fixture.get("/").await.text(), "GET / 0", "{instances:?}");
            }
        }
    }
}

#[tokio::test]
async fn calls_are_answered_while_streams_of_http_2_wait_for_bodies_that_never_come() {
    for instances in [InstanceMode::Fresh, InstanceMode::pooled(), InstanceMode::Singleton] {
        let fixture = one_place(instances).await;
        let _streams = silent_streams(fixture.address, 12).await;
        wait_for_calls(&fixture, 1).await;
        for _ in 0..5 {
            assert_eq!(fixture.get("/").await.text(), "GET / 0", "{instances:?}");
        }
    }
}

#[tokio::test]
async fn singleton_answers_while_many_read_slowly_and_come_again() {
    let config = config().with_instances(InstanceMode::Singleton);
    let fixture = serving(config.with_queue(100, Duration::from_secs(10))).await;
    let page = b"GET /page?bytes=100000000 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let ticks = b"GET /ticks?ms=10 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut readers = JoinSet::new();
    for _ in 0..20 {
        readers.spawn(comes_again(fixture.address, page, Duration::from_millis(50)));
    }
    for _ in 0..5 {
        readers.spawn(comes_again(fixture.address, ticks, Duration::ZERO));
    }
    wait_for_calls(&fixture, 1).await;
    for _ in 0..2 {
        assert_eq!(fixture.get("/").await.text(), "GET / 0");
    }
}

#[tokio::test]
async fn call_whose_body_is_on_its_way_goes_after_all_others() {
    for instances in [InstanceMode::Fresh, InstanceMode::Singleton] {
        let fixture = one_place(instances).await;
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n";
        let mut early = sent(&fixture, head).await;
        wait_for_calls(&fixture, 1).await;
        let mut late = sent(&fixture, head).await;
        assert_eq!(fixture.get("/").await.text(), "GET / 0", "{instances:?}");
        read_until(&mut early, "408 Request Timeout").await;
        // Now nobody else wants the place.
        wait_for_calls(&fixture, 1).await;
        late.write_all(b"0\r\n\r\n").await.unwrap();
        read_until(&mut late, "POST / 4").await;
    }
}

#[tokio::test]
async fn client_whose_slow_upload_gave_way_is_told_that_it_was_late() {
    let fixture = one_place(InstanceMode::Fresh).await;
    // More than is waited for ahead of the call.
    let form = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nabcd";
    let mut slow = sent(&fixture, form).await;
    wait_for_calls(&fixture, 1).await;
    assert_eq!(fixture.get("/").await.text(), "GET / 0");
    read_until(&mut slow, "408 Request Timeout").await;
}

#[tokio::test]
async fn call_that_finds_no_place_names_the_limit_that_was_met() {
    let mut settings = wrt::RuntimeConfig::default();
    settings.max_concurrent_calls = 1;
    let fixture = Fixture::with(settings).await;
    let names = ["one", "other"].map(crate::fixture::name);
    for (name, route) in names.iter().zip(["/ticks", "/"]) {
        let config = HandlerConfig::new(name.clone())
            .with_route(wrt::Route::parse(route).unwrap())
            .with_queue(1, Duration::from_millis(50));
        let handler = fixture.runtime.add_handler(config).unwrap();
        crate::fixture::swapped(handler.load(crate::fixture::bytes(&guest("asked"))).await);
    }
    let mut reader = fixture.client().await;
    let mut ticks = reader.stream("/ticks?ms=1").await;
    ticks.read_until("data: 3").await;
    let refused = fixture.get("/").await;
    assert_eq!(refused.status, 503);
    assert_eq!(
        refused.text(),
        "the host is at its limit, so handler `other` took no call: the host's \
         `max_concurrent_calls` of 1 allowed no further call within 50ms"
    );
}

#[tokio::test]
async fn trailers_of_an_answer_reach_a_client_of_http_1_that_wants_them() {
    let fixture = serving(config()).await;
    for path in ["/?trailers=x-sum", "/?trailers"] {
        let head =
            format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: te\r\nte: trailers\r\n\r\n");
        let mut client = sent(&fixture, head.as_bytes()).await;
        let answer = read_until(&mut client, "x-sum: 4\r\n\r\n").await;
        assert!(answer.contains("\r\ntrailer: x-sum\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn head_is_answered_without_content_also_by_the_host() {
    let fixture = serving(config()).await;
    let mut client = fixture.client().await;
    for (path, status, length) in
        [("/", 200, Some("8")), ("/page?bytes=5&length=5", 200, Some("5"))]
    {
        let answer = client.send(Request::head(path), "".into()).await;
        assert_eq!((answer.status, answer.header("content-length")), (status, length));
        assert!(answer.body.is_empty());
    }
}
