//! Guests that misbehave: their call fails, their store goes, and nobody else notices.

use std::time::Duration;

use futures::future::{Either, select};
use wrt::{CallError, CloudEvent, HandlerConfig, RuntimeConfig};

use crate::fixture::{
    Fixture, bytes, config, guest, next_failure, plugin, swapped, variant, wait_until,
};

/// A guest, what makes it fail, and how that has to look.
struct Case {
    guest: &'static str,
    trigger: &'static str,
    status: u16,
    outcome: &'static str,
}

const fn case(
    guest: &'static str,
    trigger: &'static str,
    status: u16,
    outcome: &'static str,
) -> Case {
    Case { guest, trigger, status, outcome }
}

/// Bounds that a hostile guest reaches soon, and a good call does not.
fn bounded() -> HandlerConfig {
    config().with_timeout(Duration::from_secs(1)).with_memory(16 << 20)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_request_has_its_status_and_ends_alone() {
    for Case { guest: name, trigger, status, outcome } in [
        case("trap", "/trap", 500, "trap"),
        case("loop_forever", "/loop", 504, "deadline"),
        case("grow_memory", "/grow", 500, "memory"),
        case("never_answers", "/never", 504, "deadline"),
        case("stack_overflow", "/deep", 500, "trap"),
    ] {
        let (fixture, handler) = Fixture::serving_as(bounded(), &guest(name)).await;
        let serving = handler.serving();
        let mut events = fixture.runtime.events();
        let mut client = fixture.client().await;
        let failing = tokio::spawn(async move { (client.get(trigger).await, client) });
        assert_eq!(fixture.get("/").await.text(), "ok", "beside `{name}`");

        let (answer, mut client) = failing.await.unwrap();
        assert_eq!(answer.status, status, "of `{name}`");
        assert_eq!(answer.text(), "handler `h` failed", "of `{name}`");
        assert_eq!(next_failure(&mut events).await, (1, outcome), "of `{name}`");
        fixture.wait_for_stores(0).await;
        assert_eq!(client.get("/").await.text(), "ok", "after `{name}`, on its connection");
        assert_eq!(handler.serving(), serving);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_event_has_its_outcome_and_ends_alone() {
    for Case { guest: name, trigger, status, outcome } in [
        case("event_trap", "trap", 500, "trap"),
        case("event_loop", "loop", 504, "deadline"),
        case("event_grow", "grow", 500, "memory"),
        case("event_rejects", "fail", 500, "guest"),
    ] {
        let (fixture, handler) = Fixture::serving_as(bounded(), &guest(name)).await;
        let event = |event_type| CloudEvent::new("1", "/test", event_type);
        let (failed, beside) =
            tokio::join!(handler.call(event(trigger)), handler.call(event("good")));
        let error = failed.expect_err(name);
        let CallError::Failed { serving, source, .. } = error else {
            panic!("expected a failed call of `{name}`, found {error:?}");
        };
        assert_eq!((Some(serving), source.outcome()), (handler.serving(), outcome), "of `{name}`");
        assert_eq!(beside.unwrap().unwrap().event_type, "good", "beside `{name}`");
        fixture.wait_for_stores(0).await;

        let mut events = fixture.runtime.events();
        let mut client = fixture.client().await;
        assert_eq!(client.event(trigger).await.status, status, "of `{name}` over HTTP");
        assert_eq!(next_failure(&mut events).await, (1, outcome), "of `{name}` over HTTP");
        assert_eq!(client.event("good").await.status, 200, "after `{name}`");
    }
}

#[tokio::test]
async fn guest_that_returns_without_an_answer_is_a_failure_until_it_is_swapped() {
    let (fixture, handler) = Fixture::serving(&guest("no_answer")).await;
    let mut events = fixture.runtime.events();
    let mut client = fixture.client().await;
    assert_eq!(client.get("/").await.status, 500);
    assert_eq!(next_failure(&mut events).await, (1, "guest"));
    swapped(handler.swap(bytes(&guest("trap")), "mended").await);
    assert_eq!(client.get("/").await.text(), "ok");
}

#[tokio::test]
async fn error_of_a_handler_shows_its_words_to_developers_alone() {
    let component = guest("slow_answer");
    let (fixture, _) = Fixture::serving(&component).await;
    let mut events = fixture.runtime.events();
    let answer = fixture.get("/?ms=soon").await;
    assert_eq!((answer.status, answer.text()), (500, "handler `h` failed"));
    assert_eq!(next_failure(&mut events).await, (1, "guest"));

    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    swapped(handler.load(bytes(&component)).await);
    let answer = fixture.get("/?ms=soon").await;
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("invalid digit"), "{}", answer.text());
    assert!(answer.text().contains("generation 1"), "{}", answer.text());
}

#[tokio::test]
async fn developer_sees_the_backtrace_of_a_trap() {
    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    swapped(handler.load(bytes(&guest("trap"))).await);
    let answer = fixture.get("/trap").await;
    assert_eq!(answer.status, 500);
    for part in ["trap.rs", "unreachable", "generation 1", "goes on serving"] {
        assert!(answer.text().contains(part), "`{part}` is not in {}", answer.text());
    }
}

#[tokio::test]
async fn client_that_goes_away_frees_its_place_and_its_store() {
    // Longer than this test waits for anything.
    let patient = config().with_concurrency(1).with_timeout(Duration::from_secs(3600));
    for (name, path) in [("never_answers", "/never"), ("loop_forever", "/loop")] {
        let (fixture, handler) = Fixture::serving_as(patient.clone(), &guest(name)).await;
        let mut client = fixture.client().await;
        let call = tokio::spawn(async move { client.get(path).await });
        wait_until(|| handler.in_flight() == 1, || format!("the call of `{name}`")).await;
        call.abort();
        assert_eq!(fixture.get("/").await.text(), "ok", "after a call of `{name}`");
        fixture.wait_for_stores(0).await;
    }
}

#[tokio::test]
async fn client_that_leaves_a_streamed_answer_frees_its_store() {
    let patient = config().with_timeout(Duration::from_secs(3600));
    let (fixture, handler) = Fixture::serving_as(patient, &guest("slow_stream")).await;
    let mut client = fixture.client().await;
    let mut answer = client.stream("/?chunks=1000000&ms=10").await;
    answer.read_until("chunk 1\n").await;
    drop((answer, client));
    wait_until(|| handler.in_flight() == 0, || "the call's end".into()).await;
    fixture.wait_for_stores(0).await;
}

#[tokio::test]
async fn call_beyond_the_limit_waits_and_one_beyond_the_queue_is_refused() {
    let config = config().with_concurrency(1).with_queue(1, Duration::from_secs(3600));
    let (fixture, _) = Fixture::serving_as(config, &plugin("echo-stream")).await;
    let mut holder = fixture.client().await;
    let (feed, mut held) = holder.upload("/", "the only place").await;
    held.read_until("the only place").await;

    let (mut one, mut other) = (fixture.client().await, fixture.client().await);
    let (one, other) = (Box::pin(one.get("/")), Box::pin(other.get("/")));
    let (refused, waiting) = match select(one, other).await {
        Either::Left(it) | Either::Right(it) => it,
    };
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    assert!(
        refused.text().contains("handler `h` is at its limit: its `queue` of 1"),
        "{}",
        refused.text()
    );

    drop(feed);
    held.whole().await.unwrap();
    assert_eq!(waiting.await.status, 200);
}

#[tokio::test]
async fn waiting_for_a_place_ends_with_503() {
    let config = config().with_concurrency(1).with_queue(10, Duration::from_millis(50));
    let (fixture, _) = Fixture::serving_as(config, &plugin("echo-stream")).await;
    let mut holder = fixture.client().await;
    let (_feed, mut held) = holder.upload("/", "the only place").await;
    held.read_until("the only place").await;
    let refused = fixture.get("/").await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn headers_of_a_guest_pass_until_they_are_absurd() {
    let (fixture, handler) = Fixture::serving(&guest("big_headers")).await;
    let answer = fixture.get("/?count=20&bytes=1000").await;
    assert_eq!((answer.status, answer.header("x-big-19").unwrap().len()), (200, 1000));
    // 64 MiB: the call fails, one way or another, and the next one does not.
    assert_eq!(fixture.get("/?count=1024&bytes=65536").await.status, 500);
    assert_eq!(fixture.get("/?count=1&bytes=1").await.status, 200);
    swapped(handler.swap(variant(&guest("big_headers"), 1), "still swaps").await);
    fixture.wait_for_stores(0).await;
}

#[tokio::test]
async fn panic_message_of_a_guest_is_a_log_line_and_part_of_the_failure() {
    let (fixture, _) = Fixture::serving(&guest("trap")).await;
    let mut events = fixture.runtime.events();
    assert_eq!(fixture.get("/trap").await.status, 500);
    crate::fixture::next_event(&mut events, "the panic message", |event| match event {
        wrt::EventKind::Log { message, .. } if message.contains("asked to trap") => Some(()),
        _ => None,
    })
    .await;
    let failed = crate::fixture::next_event(&mut events, "the failure", |event| match event {
        wrt::EventKind::CallFailed { error, .. } => Some(error),
        _ => None,
    })
    .await;
    assert!(failed.contains("panicked at ") && failed.contains(": asked to trap: "), "{failed}");
}
