//! What a handler written with the SDK sees of a request, and what becomes of its response.

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wrt::EventKind;
use wrt_test_support::guests::with_wasi_alone;

use crate::fixture::{Fixture, guest, limited, next_event};

/// Guest `name` as it is, whose answers come back whole, and as a host sees it that knows WASI alone.
fn both_ways(name: &str) -> [Vec<u8>; 2] {
    let whole = guest(name);
    let sent = with_wasi_alone(&whole);
    [whole, sent]
}

/// The end of what the server answers to these bytes.
async fn exchange(fixture: &Fixture, request: &str) -> String {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    limited("a whole answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

#[tokio::test]
async fn method_address_length_and_trailers_reach_the_handler() {
    for component in both_ways("request_parts") {
        let (fixture, _) = Fixture::serving(&component).await;
        let chunked = "PURGE /a/b?c=%20d HTTP/1.1\r\nhost: test:8\r\nconnection: close\r\n\
                       transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                       3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n";
        let seen = exchange(&fixture, chunked).await;
        assert_eq!(seen, "PURGE http://test:8/a/b?c=%20d None 5 x-sum=5");
        let counted = "PUT / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\
                       content-length: 4\r\n\r\nfour";
        assert_eq!(exchange(&fixture, counted).await, "PUT http://test/ Some(4) 4");
    }
}

#[tokio::test]
async fn body_that_nobody_reads_is_no_hindrance() {
    for component in both_ways("request_parts") {
        let (fixture, _) = Fixture::serving(&component).await;
        let mut client = fixture.client().await;
        for _ in 0..2 {
            let request = Request::post("/?unread");
            let answer = client.send(request, Bytes::from_static(b"left alone")).await;
            assert_eq!(answer.text(), "POST http://test/?unread");
            assert_eq!(client.get("/").await.text(), "GET http://test/ None 0");
        }
        fixture.wait_for_stores(0).await;
    }
}

#[tokio::test]
async fn handler_that_takes_the_path_alone_gets_it_whatever_else_is_sent() {
    for component in both_ways("sizes") {
        let (fixture, _) = Fixture::serving(&component).await;
        let mut client = fixture.client().await;
        for _ in 0..2 {
            for (path, len) in [("/large?small=no", 64 << 10), ("/", 1 << 10)] {
                let answer =
                    client.send(Request::post(path), Bytes::from_static(b"not asked for")).await;
                assert_eq!(answer.status, 200, "{path}");
                assert_eq!(answer.text().len(), len, "{path}");
            }
        }
        fixture.wait_for_stores(0).await;
    }
}

#[tokio::test]
async fn header_that_the_host_refuses_is_named() {
    for component in both_ways("request_parts") {
        let (fixture, _) = Fixture::serving(&component).await;
        let mut events = fixture.runtime.events();
        assert_eq!(fixture.get("/?header=x-second").await.header("x-first"), Some("accepted"));
        assert_eq!(fixture.get("/?header=connection").await.status, 500);
        let error = next_event(&mut events, "the failed call", |event| match event {
            EventKind::CallFailed { error, .. } => Some(error),
            _ => None,
        });
        let error = error.await;
        assert!(error.contains("host refused header `connection`"), "{error}");
    }
}

#[tokio::test]
async fn both_ways_send_the_same_answers() {
    let mut answers = Vec::new();
    for component in both_ways("sizes") {
        let (fixture, _) = Fixture::serving(&component).await;
        let mut client = fixture.client().await;
        let mut seen = Vec::new();
        for request in [Request::get("/"), Request::head("/"), Request::get("/large")] {
            let answer = client.send(request, Bytes::new()).await;
            let headers = ["content-length", "content-type", "transfer-encoding"];
            let headers = headers.map(|name| answer.header(name).map(str::to_owned));
            seen.push((answer.status, headers, answer.text().to_owned()));
        }
        answers.push(seen);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0][0].1[0].as_deref(), Some("1024"));
}

#[tokio::test]
async fn both_ways_say_a_length_where_an_answer_may_have_one() {
    for component in both_ways("request_parts") {
        let (fixture, _) = Fixture::serving(&component).await;
        let mut client = fixture.client().await;
        for (status, length) in [(200, Some("0")), (404, Some("0")), (204, None), (304, None)] {
            let answer = client.get(&format!("/?status={status}")).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("content-length"), length, "{status}");
            assert_eq!(answer.text(), "", "{status}");
        }
    }
}
