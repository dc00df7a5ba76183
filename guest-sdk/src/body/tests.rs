//! Bodies in memory and as streams, read by hand and by other tools.

use super::*;
use crate::testing::block_on;
use http_body::Body as _;

fn pieces() -> Body {
    Body::stream(async |mut out| {
        out.send("one ").await;
        out.send("").await;
        out.send("two ").await;
        out.send("three").await;
        Ok(())
    })
}

#[test]
fn stream_arrives_piece_by_piece_and_whole() {
    block_on(async {
        let mut body = pieces();
        for expected in ["one ", "two ", "three"] {
            assert_eq!(body.chunk().await.unwrap().unwrap(), expected);
        }
        assert_eq!(body.chunk().await.unwrap(), None);
        assert_eq!(body.chunk().await.unwrap(), None, "the end stays the end");
        assert_eq!(pieces().text().await.unwrap(), "one two three");
    });
}

#[test]
fn producer_runs_no_further_than_it_is_read() {
    let sent = std::rc::Rc::new(std::cell::Cell::new(0));
    let counter = sent.clone();
    let mut body = Body::stream(async move |mut out| {
        loop {
            counter.set(counter.get() + 1);
            out.send("x").await;
        }
    });
    block_on(async {
        for expected in 1..4 {
            body.chunk().await.unwrap();
            assert_eq!(sent.get(), expected);
        }
    });
}

#[test]
fn failing_producer_ends_the_body_with_its_error() {
    let mut body = Body::stream(async |mut out| {
        out.send("begun").await;
        Err("disk is full".into())
    });
    block_on(async {
        assert_eq!(body.chunk().await.unwrap().unwrap(), "begun");
        assert_eq!(body.chunk().await.unwrap_err().to_string(), "disk is full");
        assert_eq!(body.chunk().await.unwrap(), None);
    });
}

#[test]
fn promised_length_counts_down_and_trailers_come_last() {
    let mut body = Body::from_frames(Some(8), async |mut out| {
        out.send("five ").await;
        out.send("ten").await;
        let sum = (http::HeaderName::from_static("x-sum"), http::HeaderValue::from_static("15"));
        out.send_frame(Frame::trailers(http::HeaderMap::from_iter([sum]))).await;
        Ok(())
    });
    block_on(async {
        for left in [8, 3] {
            assert_eq!(body.size_hint().exact(), Some(left));
            assert!(body.frame().await.unwrap().unwrap().is_data());
        }
        let last = body.frame().await.unwrap().unwrap();
        assert_eq!(last.trailers_ref().unwrap()["x-sum"], "15");
        assert!(body.frame().await.unwrap().is_none());
        assert!(body.is_end_stream());
    });
}

#[test]
fn wrapped_body_is_passed_through() {
    let wrapped = Body::from_http_body(pieces());
    assert_eq!(block_on(wrapped.text()).unwrap(), "one two three");
}

#[test]
fn body_can_be_taken_once() {
    let mut body = Body::from("once");
    assert_eq!(block_on(body.take().text()).unwrap(), "once");
    let error = block_on(body.take().text()).unwrap_err();
    assert_eq!(error.to_string(), "the body was taken by an earlier argument");
}

#[test]
fn what_does_not_fit_is_rejected() {
    let error = block_on(Body::from(vec![0xff]).text()).unwrap_err();
    assert_eq!(error.status(), Some(http::StatusCode::BAD_REQUEST));
    assert!(error.to_string().starts_with("body is not text"), "{error}");
    let error = block_on(Body::empty().json::<u32>()).unwrap_err();
    assert_eq!(error.to_string(), "body is empty, expected JSON");
}
