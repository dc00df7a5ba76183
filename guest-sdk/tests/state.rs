//! Handlers with state, used as an author of handlers uses them.

use serde::{Deserialize, Serialize};
use wrt_guest::testing::{FakeHost, block_on};
use wrt_guest::{
    Body, Context, Error, Event, Json, Method, Request, Result, State, StatusCode, time,
};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, State)]
struct Counter {
    count: u64,
    names: Vec<String>,
}

/// The attribute sits on functions in modules here, because a component has one handler.
mod annotated {
    use super::*;

    #[wrt_guest::http(state = Counter)]
    pub(crate) fn plain(counter: &mut Counter) -> String {
        counter.count += 1;
        counter.count.to_string()
    }

    #[wrt_guest::http(state = Counter)]
    pub(crate) async fn waiting(
        counter: &mut Counter,
        method: Method,
        Json(name): Json<String>,
    ) -> Result<(StatusCode, String)> {
        counter.names.push(name);
        time::sleep(std::time::Duration::from_secs(1)).await;
        counter.count += 1;
        if counter.names.len() > 2 {
            return Err(Error::rejected("too many names"));
        }
        Ok((StatusCode::CREATED, format!("{method} {}", counter.count)))
    }

    #[wrt_guest::event(state = Counter, init = begin, shutdown = end)]
    pub(crate) async fn on_event(counter: &mut Counter, event: Event) -> Option<Event> {
        counter.count += 1;
        (counter.count > 1).then_some(event)
    }

    pub(crate) async fn begin(context: Context) -> Result<Counter> {
        Ok(Counter { count: context.generation, names: vec![context.handler] })
    }

    pub(crate) fn end(_: Counter) -> Result<()> {
        Ok(())
    }
}

/// Other shapes of the functions that the attributes take; that they compile is the test.
mod shapes {
    use super::*;

    #[wrt_guest::event(init = begin, shutdown = end)]
    pub(crate) fn without_state() {}

    pub(crate) fn begin() {}

    pub(crate) async fn end() {}

    pub(crate) mod other {
        use super::*;

        #[wrt_guest::event(state = Counter, init = begin, shutdown = end)]
        pub(crate) fn without_arguments(_: &mut Counter) -> Result<()> {
            Ok(())
        }

        fn begin() -> Counter {
            Counter::default()
        }

        async fn end() -> Result<(), std::num::ParseIntError> {
            Ok(())
        }
    }
}

fn post(body: &'static str) -> Request {
    Request::post("/").body(Body::from(body)).expect("the request is valid")
}

#[test]
fn state_is_kept_from_call_to_call() {
    let host = FakeHost::new();
    let mut counter = Counter::default();
    assert_eq!(host.call_with(annotated::plain, &mut counter, post("")).text(), "1");
    assert_eq!(host.call_with(annotated::plain, &mut counter, post("")).text(), "2");
    assert_eq!(counter.count, 2);
}

#[test]
fn waiting_handler_has_its_state_too() {
    let host = FakeHost::new();
    let mut counter = Counter::default();
    let answer = host.call_with(annotated::waiting, &mut counter, post("\"ada\""));
    assert_eq!((answer.status, answer.text()), (StatusCode::CREATED, "POST 1"));
    assert_eq!(counter, Counter { count: 1, names: vec!["ada".into()] });
}

#[test]
fn state_keeps_what_a_failed_call_did() {
    let host = FakeHost::new();
    let mut counter = Counter { count: 0, names: vec!["a".into(), "b".into()] };
    let answer = host.call_with(annotated::waiting, &mut counter, post("\"c\""));
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(counter.count, 1);
    // An argument that cannot be made is found before the handler runs.
    let answer = host.call_with(annotated::waiting, &mut counter, post("{"));
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(counter.count, 1);
}

#[test]
fn events_are_handled_with_the_state_that_init_made() {
    let host = FakeHost::new();
    let mut counter = block_on(annotated::begin(Context::new("seen", 1))).unwrap();
    let event = Event::new("1", "/test", "t");
    assert!(host.send_with(annotated::on_event, &mut counter, event.clone()).unwrap().is_some());
    assert_eq!(counter, Counter { count: 2, names: vec!["seen".into()] });
    annotated::end(counter).unwrap();
    host.send(shapes::without_state, event.clone()).unwrap();
    host.send_with(shapes::other::without_arguments, &mut Counter::default(), event).unwrap();
}

#[test]
fn state_goes_through_a_swap() {
    let host = FakeHost::new();
    let counter = Counter { count: 7, names: vec!["ada".into()] };
    let snapshot = host.save(&counter);
    assert_eq!(snapshot.version, 1);
    assert_eq!(snapshot.schema, "count:u64;names[]:string");
    assert_eq!(host.restore::<Counter>(&snapshot).unwrap().0, counter);
}
