//! Event handlers, called by the embedder and over the HTTP binding of CloudEvents.

use http::Request;
use wrt::config::EventTypePattern;
use wrt::{CallError, CloudEvent};

use crate::fixture::{Fixture, config, guest};

#[tokio::test]
async fn embedder_gets_the_whole_answer_of_a_call() {
    let (fixture, handler) = Fixture::serving(&guest("event_echo")).await;
    let event = CloudEvent::new("17", "/shop", "order.created")
        .with_subject("order-9")
        .with_time("2026-01-31T09:30:00Z")
        .with_data("application/json", r#"{"total":30}"#)
        .with_extension("tenant", "eu");
    let mut expected = event.clone();
    expected.event_type = "order.created.seen".into();
    assert_eq!(handler.call(event).await.unwrap(), Some(expected));
    fixture.wait_for_stores(0).await;
}

/// More calls than a task may make at a stretch; without turns for others, all of them would come
/// before the first word of the other task.
const AT_A_STRETCH: usize = 10_000;

#[tokio::test]
async fn caller_that_never_waits_lets_other_tasks_have_their_turns() {
    let (_fixture, handler) = Fixture::serving(&guest("event_echo")).await;
    let (tell, mut told) = tokio::sync::oneshot::channel();
    tokio::spawn(async { tell.send(()) });
    let mut n_calls = 0;
    while told.try_recv().is_err() {
        assert!(n_calls < AT_A_STRETCH, "no other task had a turn");
        let event = CloudEvent::new("17", "/shop", "order.created");
        handler.call(event).await.unwrap();
        n_calls += 1;
    }
}

#[tokio::test]
async fn answers_that_are_not_events_are_told_apart() {
    let (fixture, handler) = Fixture::serving(&guest("event_rejects")).await;
    let call = |event_type| handler.call(CloudEvent::new("1", "/test", event_type));
    assert_eq!(call("ignore").await.unwrap(), None);
    match call("reject").await {
        Err(CallError::Declined { reason, .. }) => assert_eq!(reason, "asked to reject"),
        other => panic!("expected a declined event, found {other:?}"),
    }
    match call("fail").await {
        Err(CallError::Failed { source, .. }) => assert_eq!(source.outcome(), "guest"),
        other => panic!("expected a failed call, found {other:?}"),
    }
    match handler.call(CloudEvent::new("", "/test", "anything")).await {
        Err(CallError::InvalidEvent { .. }) => {}
        other => panic!("expected an invalid event, found {other:?}"),
    }

    let mut client = fixture.client().await;
    let answer = client.event("ignore").await;
    assert_eq!((answer.status, answer.text()), (204, ""));
    let answer = client.event("reject").await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("asked to reject"), "{}", answer.text());
    let answer = client.event("fail").await;
    assert_eq!((answer.status, answer.text()), (500, "handler `h` failed"));
}

#[tokio::test]
async fn event_in_headers_is_answered_in_headers() {
    let (fixture, _) = Fixture::serving(&guest("event_echo")).await;
    let request = Request::post("/")
        .header("ce-specversion", "1.0")
        .header("ce-id", "9")
        .header("ce-source", "/test")
        .header("ce-type", "ping")
        .header("ce-tenant", "eu")
        .header("content-type", "text/plain");
    let answer = fixture.client().await.send(request, "some data".into()).await;
    assert_eq!((answer.status, answer.text()), (200, "some data"));
    for (name, value) in [
        ("ce-id", "9"),
        ("ce-type", "ping.seen"),
        ("ce-tenant", "eu"),
        ("content-type", "text/plain"),
    ] {
        assert_eq!(answer.header(name), Some(value), "of `{name}`");
    }
}

#[tokio::test]
async fn structured_event_is_read_from_its_document() {
    let (fixture, _) = Fixture::serving(&guest("event_echo")).await;
    let document = r#"{"specversion":"1.0","id":"9","source":"/test","type":"ping",
        "datacontenttype":"application/json","data":{"n":1}}"#;
    let request =
        Request::post("/").header("content-type", "application/cloudevents+json; charset=utf-8");
    let answer = fixture.client().await.send(request, document.into()).await;
    assert_eq!((answer.status, answer.header("ce-type")), (200, Some("ping.seen")));
    assert_eq!(answer.text(), r#"{"n":1}"#);
    let broken = Request::post("/").header("content-type", "application/cloudevents+json");
    let answer = fixture.client().await.send(broken, r#"{"specversion":"1.0""#.into()).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn event_of_another_type_never_reaches_the_guest() {
    let config = config().with_types([EventTypePattern::parse("order.*").unwrap()]);
    // This guest would trap on the type that is filtered.
    let (fixture, _) = Fixture::serving_as(config, &guest("event_trap")).await;
    let mut client = fixture.client().await;
    let refused = client.event("trap").await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("`trap`"), "{}", refused.text());
    assert_eq!(client.event("order.created").await.status, 200);
}

#[tokio::test]
async fn http_handler_refuses_a_call_with_an_event() {
    let (_fixture, handler) = Fixture::serving(&guest("trap")).await;
    let error = handler.call(CloudEvent::new("1", "/test", "ping")).await.unwrap_err();
    assert!(matches!(error, CallError::WrongKind { .. }), "{error:?}");
}

/// The answer to a batch of events of `types`, in JSON.
async fn batch(fixture: &Fixture, types: &[&str]) -> crate::client::Answer {
    let event = |event_type| {
        format!(
            r#"{{"specversion":"1.0","id":"{event_type}","source":"/t","type":"{event_type}"}}"#
        )
    };
    let events: Vec<_> = types.iter().map(event).collect();
    let request = Request::post("/").header("content-type", "application/cloudevents-batch+json");
    fixture.client().await.send(request, format!("[{}]", events.join(",")).into()).await
}

#[tokio::test]
async fn each_event_of_a_batch_is_handled_in_order_and_a_batch_is_answered() {
    let (fixture, _) = Fixture::serving(&guest("event_rejects")).await;
    let answer = batch(&fixture, &["a", "ignore", "b"]).await;
    assert_eq!(answer.status, 200);
    let media_type = answer.header("content-type");
    assert_eq!(media_type, Some("application/cloudevents-batch+json; charset=utf-8"));
    assert_eq!(
        answer.text(),
        r#"[{"specversion":"1.0","id":"a","source":"/t","type":"a"},{"specversion":"1.0","id":"b","source":"/t","type":"b"}]"#
    );
    for types in [&[][..], &["ignore", "ignore"]] {
        let answer = batch(&fixture, types).await;
        assert_eq!((answer.status, answer.text()), (204, ""));
    }
}

#[tokio::test]
async fn batch_ends_with_its_first_failure_and_says_how_many_were_handled() {
    let (fixture, _) = Fixture::serving(&guest("event_rejects")).await;
    let answer = batch(&fixture, &["a", "b", "fail", "c"]).await;
    let rest = "the 2 before it were handled, it and the one after it were not";
    let expected = format!("event 3 of 4 in the batch failed; {rest}");
    assert_eq!((answer.status, answer.text()), (500, expected.as_str()));
    for (types, which, rest) in [
        (&["a", "b", "reject", "c"][..], "3 of 4", rest),
        (&["a", "reject"], "2 of 2", "the one before it was handled, it was not"),
        (&["reject", "a"], "1 of 2", "nothing of the batch was handled"),
    ] {
        let answer = batch(&fixture, types).await;
        let expected = format!("event {which} in the batch was rejected: asked to reject; {rest}");
        assert_eq!((answer.status, answer.text()), (400, expected.as_str()));
    }
    // No word of a first event's failure either, as for an event of its own.
    let answer = batch(&fixture, &["fail"]).await;
    assert_eq!((answer.status, answer.text()), (500, "handler `h` failed"));
}

#[tokio::test]
async fn nothing_of_a_batch_is_handled_that_has_a_wrong_event() {
    let config = config().with_types(["a".parse::<EventTypePattern>().unwrap()]);
    let (fixture, _) = Fixture::serving_as(config, &guest("event_trap")).await;
    let answer = batch(&fixture, &["a", "trap"]).await;
    assert_eq!(
        answer.text(),
        "event 2 of 2 in the batch is wrong, so that none was handled: events of type `trap` are not \
         accepted here"
    );
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn answer_is_in_structured_mode_where_that_is_asked_for() {
    let (fixture, _) = Fixture::serving(&guest("event_echo")).await;
    let request = Request::post("/")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/t")
        .header("ce-type", "a")
        .header("content-type", "application/json")
        .header("accept", "application/cloudevents+json");
    let answer = fixture.client().await.send(request, "[1]".into()).await;
    assert_eq!(answer.status, 200);
    let media_type = answer.header("content-type");
    assert_eq!(media_type, Some("application/cloudevents+json; charset=utf-8"));
    assert_eq!(
        answer.text(),
        r#"{"specversion":"1.0","id":"1","source":"/t","type":"a.seen","datacontenttype":"application/json","data":[1]}"#
    );
}
