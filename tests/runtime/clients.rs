//! What clients do wrong is theirs to pay for: no instance is lost by it, and no version is blamed.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wrt::events::TryRecvError;
use wrt::{EventKind, EventReceiver, HandlerConfig, InstanceMode, RuntimeConfig};
use wrt_test_support::guests::with_wasi_alone;

use crate::client::{Client, Protocol};
use crate::fixture::{
    Fixture, bytes, config, guest, limited, next_failed, swapped, variant, wait_until,
};

/// The server's whole answer to `request`, after which it or the client closes.
async fn exchange(fixture: &Fixture, request: &[u8]) -> String {
    exchange_on(TcpStream::connect(fixture.address).await.unwrap(), request).await
}

/// As [`exchange`], on a connection on which the request may have begun.
async fn exchange_on(mut stream: TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    limited("a whole answer", stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// Guest `name` as it is, whose answers come back whole, and as a host sees it that knows WASI alone.
fn both_ways(name: &str) -> [Vec<u8>; 2] {
    let whole = guest(name);
    let sent = with_wasi_alone(&whole);
    [whole, sent]
}

/// A singleton that counts, on probation: a failure that counts would take its version back.
async fn singleton(component: &[u8], config: HandlerConfig) -> Fixture {
    let config =
        config.with_instances(InstanceMode::Singleton).with_probation(Duration::from_secs(3600), 1);
    let (fixture, handler) = Fixture::serving_as(config, component).await;
    handler.confirm().await.unwrap();
    swapped(handler.swap(variant(component, 2), "on probation").await);
    fixture
}

async fn stays(fixture: &Fixture, count: &str) {
    let answer = fixture.get("/").await;
    assert_eq!((answer.status, answer.text()), (200, count), "its memory is lost");
    assert!(answer.generation().starts_with("h/2;"), "{} was taken back", answer.generation());
}

/// No call of those that are over has failed.
fn none_failed(events: &mut EventReceiver) {
    let end = loop {
        match events.try_recv() {
            Ok(event) => {
                let is_failure = matches!(event.kind, EventKind::CallFailed { .. });
                assert!(!is_failure, "a request that was refused is no call: {event:?}");
            }
            Err(error) => break error,
        }
    };
    assert!(matches!(end, TryRecvError::Empty), "{end:?}");
}

#[tokio::test]
async fn request_for_no_host_is_judged_before_the_handler_sees_it() {
    for component in both_ways("counter") {
        let fixture = singleton(&component, config()).await;
        assert_eq!(fixture.get("/").await.text(), "1");
        for bad in [
            &b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n"[..],
            b"GET / HTTP/1.1\r\nhost: \xff\xff\r\nconnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a/b\r\nconnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: u@a\r\nconnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a:b\r\nconnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\nconnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            b"GET http://u@a/ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
            b"GET http://a/ HTTP/1.1\r\nconnection: close\r\n\r\n",
            b"GET / HTTP/1.0\r\nhost: a b\r\n\r\n",
        ] {
            let answer = exchange(&fixture, bad).await;
            assert_eq!(status(&answer), 400, "{}: {answer}", bad.escape_ascii());
        }
        for (good, count) in [
            (&b"GET / HTTP/1.0\r\n\r\n"[..], "2"),
            (b"GET / HTTP/1.0\r\nhost: a\r\n\r\n", "3"),
            (b"GET / HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n", "4"),
            (b"GET / HTTP/1.1\r\nhost: [::1]:80\r\nconnection: close\r\n\r\n", "5"),
            (b"GET http://a/ HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n", "6"),
        ] {
            let answer = exchange(&fixture, good).await;
            assert_eq!(status(&answer), 200, "{}: {answer}", good.escape_ascii());
            assert!(answer.ends_with(count), "{}: {answer}", good.escape_ascii());
        }
        stays(&fixture, "7").await;
    }
}

#[tokio::test]
async fn handler_sees_a_host_that_it_can_read() {
    for component in both_ways("request_parts") {
        let (fixture, _) = Fixture::serving(&component).await;
        for (request, uri) in [
            (&b"GET /a HTTP/1.0\r\n\r\n"[..], "http://localhost/a"),
            (b"GET /a HTTP/1.1\r\nhost: b:\r\nconnection: close\r\n\r\n", "http://b/a"),
            (b"GET http://a:8/a HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n", "http://a:8/a"),
        ] {
            let answer = exchange(&fixture, request).await;
            assert!(answer.ends_with(&format!("GET {uri} None 0")), "{answer}");
        }
    }
}

#[tokio::test]
async fn embedder_without_a_host_is_told_so() {
    let (fixture, _) = Fixture::serving(&guest("counter")).await;
    let service = fixture.runtime.http_service();
    let respond = async |uri: &str, host: Option<&str>| {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let request = request.body(http_body_util::Empty::<Bytes>::new()).unwrap();
        service.respond(request).await.status().as_u16()
    };
    assert_eq!(respond("/", None).await, 400);
    assert_eq!(respond("/", Some("a")).await, 200);
    assert_eq!(respond("http://a/", None).await, 200);
}

/// Begins an upload to `path`, tells what the handler read of it, and leaves in the middle.
async fn leaves(fixture: &Fixture, protocol: Protocol, path: &'static str) {
    let mut client = Client::connect_by(protocol, fixture.address).await;
    let inside = || fixture.handler().in_flight();
    let upload = tokio::spawn(async move { drop(client.upload(path, "half of it").await) });
    wait_until(|| inside() == 1, || format!("a call inside, there are {}", inside())).await;
    upload.abort();
    wait_until(|| inside() == 0, || format!("no call inside, there are {}", inside())).await;
}

#[tokio::test]
async fn client_that_leaves_in_mid_upload_costs_no_memory_and_no_version() {
    for component in both_ways("broken_answer") {
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let fixture = singleton(&component, config()).await;
            assert_eq!(fixture.get("/").await.text(), "1");
            for _ in 0..3 {
                leaves(&fixture, protocol, "/").await;
            }
            stays(&fixture, "5").await;
        }
    }
}

#[tokio::test]
async fn handler_that_panics_without_its_request_is_not_blamed() {
    let component = guest("broken_answer");
    for mode in [InstanceMode::Fresh, InstanceMode::pooled(), InstanceMode::Singleton] {
        let config = config().with_instances(mode).with_probation(Duration::from_secs(3600), 1);
        let (fixture, handler) = Fixture::serving_as(config, &component).await;
        handler.confirm().await.unwrap();
        let second = swapped(handler.swap(variant(&component, 2), "on probation").await);
        for _ in 0..3 {
            leaves(&fixture, Protocol::Http1, "/?unwrap").await;
        }
        assert_eq!(fixture.get("/").await.status, 200);
        assert_eq!(handler.serving(), Some(second));
    }
}

#[tokio::test]
async fn bad_chunk_ahead_of_its_call_makes_none() {
    const BAD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
                         connection: close\r\n\r\nzz\r\nhalf\r\n";
    for component in both_ways("broken_answer") {
        let fixture = singleton(&component, config()).await;
        let mut events = fixture.runtime.events();
        assert_eq!(fixture.get("/").await.text(), "1");
        let answer = exchange(&fixture, BAD).await;
        assert_eq!(status(&answer), 400, "{answer}");
        stays(&fixture, "2").await;
        none_failed(&mut events);
    }
}

#[tokio::test]
async fn bad_chunk_is_the_clients_and_no_backtrace_is_told() {
    const GOOD: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\
                          connection: close\r\n\r\n4\r\nhalf\r\n";
    for component in both_ways("broken_answer") {
        let fixture = singleton(&component, config()).await;
        let mut events = fixture.runtime.events();
        assert_eq!(fixture.get("/").await.text(), "1");
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        stream.write_all(GOOD).await.unwrap();
        // A body of unknown length is not waited for to its end.
        let inside = || fixture.handler().in_flight();
        wait_until(|| inside() == 1, || format!("a call inside, there are {}", inside())).await;
        let answer = exchange_on(stream, b"zz\r\nhalf\r\n").await;
        assert_eq!(status(&answer), 400, "{answer}");
        let failed = next_failed(&mut events).await;
        assert_eq!((failed.outcome, failed.answered), ("client", false), "{}", failed.error);
        // No debug form, which would bring the host's backtrace with it where there is one.
        let is_bare = !failed.error.contains("InternalError") && !failed.error.contains('\n');
        assert!(is_bare && failed.error.contains("failed to read"), "{}", failed.error);
        stays(&fixture, "3").await;
    }
}

/// A singleton of `component` after one call, and the events since; a client that sent `request` and
/// nothing more has been told that it was too slow.
async fn too_slow(component: &[u8], request: &[u8]) -> (Fixture, EventReceiver) {
    let fixture = singleton(component, config().with_timeout(Duration::from_secs(1))).await;
    let events = fixture.runtime.events();
    assert_eq!(fixture.get("/").await.text(), "1");
    let answer = exchange(&fixture, request).await;
    assert_eq!(status(&answer), 408, "{answer}");
    (fixture, events)
}

#[tokio::test]
async fn client_that_is_too_slow_with_a_small_body_makes_no_call() {
    const SLOW: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nfour";
    for component in both_ways("broken_answer") {
        let (fixture, mut events) = too_slow(&component, SLOW).await;
        stays(&fixture, "2").await;
        none_failed(&mut events);
    }
}

#[tokio::test]
async fn client_that_is_too_slow_with_its_body_is_told_so_and_nobody_else_pays() {
    // More than is waited for ahead of a singleton's call, so that the guest sees it as it comes.
    const SLOW: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000000\r\n\r\nfour";
    for component in both_ways("broken_answer") {
        let (fixture, mut events) = too_slow(&component, SLOW).await;
        let failed = next_failed(&mut events).await;
        assert_eq!((failed.outcome, failed.answered), ("client", false), "{}", failed.error);
        stays(&fixture, "3").await;
    }
}

#[tokio::test]
async fn client_that_is_slow_with_its_body_after_the_answer_began_breaks_its_own_answer() {
    let component = guest("broken_answer");
    let fixture = singleton(&component, config().with_timeout(Duration::from_secs(1))).await;
    let mut events = fixture.runtime.events();
    assert_eq!(fixture.get("/").await.text(), "1");
    let mut client = fixture.client().await;
    let (_feed, mut answer) = client.upload("/?then=finish", "half").await;
    answer.read_until("half of it").await;
    assert!(answer.whole().await.is_err());
    let failed = next_failed(&mut events).await;
    assert_eq!((failed.outcome, failed.answered), ("client", true), "{}", failed.error);
    stays(&fixture, "3").await;
}

#[tokio::test]
async fn events_that_arrive_slowly_are_the_senders() {
    const SLOW: &[u8] = b"POST / HTTP/1.1\r\nhost: a\r\nce-specversion: 1.0\r\nce-id: 1\r\n\
                          ce-source: /a\r\nce-type: good\r\ncontent-length: 100\r\n\r\nfour";
    let config = config().with_timeout(Duration::from_secs(1));
    let (fixture, _) = Fixture::serving_as(config, &guest("event_echo")).await;
    assert_eq!(status(&exchange(&fixture, SLOW).await), 408);
}

#[tokio::test]
async fn header_that_cannot_be_sent_costs_no_memory() {
    let component = guest("raw_answer");
    for mode in [InstanceMode::pooled(), InstanceMode::Singleton] {
        let (fixture, _) = Fixture::serving_as(config().with_instances(mode), &component).await;
        assert_eq!(fixture.get("/").await.text(), "1");
        let mut n_seen = 1;
        for status in ["100", "101", "103", "199", "600", "999"] {
            let mut events = fixture.runtime.events();
            assert_eq!(fixture.get(&format!("/?status={status}")).await.status, 500, "{status}");
            let failed = next_failed(&mut events).await;
            assert_eq!((failed.outcome, failed.answered), ("guest", false));
            assert!(failed.error.contains(&format!("status `{status}`")), "{}", failed.error);
            n_seen += 2;
            assert_eq!(fixture.get("/").await.text(), n_seen.to_string());
        }
    }
    for component in both_ways("broken_answer") {
        let config = config().with_instances(InstanceMode::Singleton);
        let (fixture, _) = Fixture::serving_as(config, &component).await;
        assert_eq!(fixture.get("/").await.text(), "1");
        let mut n_seen = 1;
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "host"] {
            let mut events = fixture.runtime.events();
            assert_eq!(fixture.get(&format!("/?header={name}")).await.status, 500, "{name}");
            let failed = next_failed(&mut events).await;
            assert!(failed.error.contains(&format!("header `{name}`")), "{}", failed.error);
            n_seen += 2;
            assert_eq!(fixture.get("/").await.text(), n_seen.to_string(), "after `{name}`");
        }
    }
}

#[tokio::test]
async fn streams_beside_a_bad_status_are_unharmed() {
    let (fixture, _) = Fixture::serving(&guest("raw_answer")).await;
    let mut client = Client::connect_by(Protocol::Http2, fixture.address).await;
    for status in ["103", "101", "999"] {
        assert_eq!(client.get(&format!("/?status={status}")).await.status, 500);
        assert_eq!(client.get("/?status=404").await.status, 404);
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn instance_that_forgets_its_answer_is_not_used_again() {
    for mode in [InstanceMode::pooled(), InstanceMode::Singleton] {
        let config = config().with_instances(mode);
        let (fixture, _) = Fixture::serving_as(config, &guest("raw_answer")).await;
        let mut events = fixture.runtime.events();
        let mut client = fixture.client().await;
        assert_eq!(client.get("/").await.text(), "1");
        assert_eq!(client.get("/none").await.status, 500);
        assert_eq!(next_failed(&mut events).await.outcome, "guest");
        assert_eq!(client.get("/").await.text(), "1");
    }
}

#[tokio::test]
async fn error_of_a_handler_names_its_call_and_has_its_own_words() {
    let mut runtime = RuntimeConfig::default();
    runtime.wasi03 = true;
    let fixture = Fixture::with(runtime).await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    for (name, path, words) in [
        ("slow_answer", "/a?ms=soon", "invalid digit found in string"),
        ("raw_answer", "/a?code", "the words of the guest"),
        ("http03", "/a?code", "the words of the guest"),
    ] {
        swapped(handler.load(bytes(&guest(name))).await);
        let mut events = fixture.runtime.events();
        assert_eq!(fixture.get(path).await.text(), "handler `h` failed");
        let failed = next_failed(&mut events).await;
        let expected = format!("`GET {path}` ended with the handler's own error: {words}");
        assert_eq!((failed.outcome, failed.error), ("guest", expected));
    }

    let (fixture, handler) = Fixture::serving(&guest("event_rejects")).await;
    let mut events = fixture.runtime.events();
    handler.call(wrt::CloudEvent::new("1", "/test", "fail")).await.unwrap_err();
    let failed = next_failed(&mut events).await;
    let expected = "event `fail` ended with the handler's own error: ";
    assert!(failed.error.starts_with(expected), "{}", failed.error);
}

#[tokio::test]
async fn handler_of_wasi_03_sees_scheme_and_authority() {
    let mut runtime = RuntimeConfig::default();
    runtime.wasi03 = true;
    let fixture = Fixture::with(runtime).await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    swapped(handler.load(bytes(&guest("http03"))).await);
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut client = Client::connect_by(protocol, fixture.address).await;
        assert_eq!(client.get("/address").await.text(), r#"Some(Scheme::Http) Some("test")"#);
    }
    let answer = exchange(&fixture, b"GET /address HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with(r#"Some(Scheme::Http) Some("localhost")"#), "{answer}");
    let mut events = fixture.runtime.events();
    assert_eq!(fixture.get("/?status=103").await.status, 500);
    assert!(next_failed(&mut events).await.error.contains("status `103`"));
}

#[tokio::test]
async fn no_failure_is_told_of_clients_that_leave_after_their_answer() {
    let component = guest("broken_answer");
    let fixture = singleton(&component, config()).await;
    let mut events = fixture.runtime.events();
    for _ in 0..3 {
        let mut client = fixture.client().await;
        let (_feed, mut answer) = client.upload("/?then=finish", "half").await;
        answer.read_until("half of it").await;
        drop((answer, client));
    }
    stays(&fixture, "4").await;
    while let Ok(event) = events.try_recv() {
        let EventKind::CallFailed { outcome, .. } = event.kind else { continue };
        assert_eq!(outcome, "client");
    }
}
