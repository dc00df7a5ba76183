//! The attributes and the fake host, used as an author of handlers uses them.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use wrt_guest::testing::{FakeHost, block_on};
use wrt_guest::{
    Body, Error, Event, FromRequest, HeaderMap, Html, Json, Method, Needs, PathAndQuery, Request,
    Response, Result, StatusCode, Uri, config, log, query, time,
};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Order {
    total: u32,
}

/// The attribute sits on functions in modules here, because a component has one handler.
mod annotated {
    use super::*;

    #[wrt_guest::http]
    pub(crate) async fn double(Json(order): Json<Order>) -> Result<Json<Order>> {
        Ok(Json(Order { total: order.total * 2 }))
    }

    #[wrt_guest::event]
    pub(crate) fn confirm(event: Event, Json(order): Json<Order>) -> Result<Option<Event>> {
        if order.total == 0 {
            return Err(Error::rejected("order is empty"));
        }
        Ok(Some(Event::new(event.id, "/orders", "order.confirmed").with_json(&order)?))
    }
}

fn post(body: impl Into<Body>) -> Request {
    Request::post("/").body(body.into()).expect("the request is valid")
}

#[test]
fn annotated_functions_are_still_functions() {
    let Json(order) = block_on(annotated::double(Json(Order { total: 4 }))).unwrap();
    assert_eq!(order, Order { total: 8 });
    let event = Event::new("1", "/test", "order").with_json(&Order { total: 4 }).unwrap();
    let answer = annotated::confirm(event, Json(Order { total: 4 })).unwrap().unwrap();
    assert_eq!(answer.ty, "order.confirmed");
}

/// The whole head, of which it claims to need the address only.
struct Head(String);

/// The address, of which it claims to need the path only.
struct Address(String);

impl FromRequest for Address {
    const NEEDS: Needs = Needs::PATH;

    async fn from_request(head: &http::request::Parts, _: &mut Body) -> Result<Self> {
        Ok(Self(head.uri.to_string()))
    }
}

/// The body, of which it claims to need nothing.
struct Greedy(String);

impl FromRequest for Greedy {
    const NEEDS: Needs = Needs::NONE;

    async fn from_request(_: &http::request::Parts, body: &mut Body) -> Result<Self> {
        std::mem::take(body).text().await.map(Self)
    }
}

impl FromRequest for Head {
    const NEEDS: Needs = Needs::URI;

    async fn from_request(head: &http::request::Parts, _: &mut Body) -> Result<Self> {
        Ok(Self(format!("{} {} {}", head.method, head.uri, head.headers.len())))
    }
}

#[test]
fn handler_sees_of_the_head_what_its_arguments_need() {
    let host = FakeHost::new();
    let request = || Request::put("/a?b").header("x-c", "d").body(Body::empty()).unwrap();
    assert_eq!(host.call(|Head(head)| head, request()).text(), "GET /a?b 0");
    assert_eq!(host.call(|_: Method, Head(head)| head, request()).text(), "PUT /a?b 0");
    let with_state = |_: &mut (), Head(head), _: HeaderMap| head;
    assert_eq!(host.call_with(with_state, &mut (), request()).text(), "GET /a?b 1");
    assert_eq!(host.call(|_: Request, Head(head)| head, request()).text(), "PUT /a?b 1");
}

#[test]
fn handler_sees_of_the_address_what_its_arguments_need() {
    let host = FakeHost::new();
    let request = |uri: &str| Request::get(uri).body(Body::empty()).unwrap();
    let whole = "http://example.com/a?b=1";
    assert_eq!(host.call(|Address(address)| address, request(whole)).text(), "/a?b=1");
    assert_eq!(host.call(|_: Uri, Address(address)| address, request(whole)).text(), whole);
    let path = |path: PathAndQuery| format!("{} {:?}", path.path(), query(&path, "b"));
    assert_eq!(host.call(path, request(whole)).text(), r#"/a Some("1")"#);
    assert_eq!(host.call(path, request("http://example.com")).text(), "/ None");
}

#[test]
fn body_that_no_argument_needs_is_an_error_to_read() {
    let host = FakeHost::new();
    let answer = host.call(|Greedy(text)| text, post("text"));
    let error = answer.error.expect("it must not look like an empty body").to_string();
    assert_eq!(error, "the body was not asked for: no argument has `Needs::BODY`");
    let first = |Greedy(text), _: Body| text;
    assert_eq!(host.call(first, post("text")).text(), "text");
}

#[test]
fn json_travels_both_ways_and_bad_json_is_a_400() {
    let host = FakeHost::new();
    let answer = host.call(annotated::double, post(r#"{"total": 21}"#));
    assert_eq!(answer.json::<Order>(), Order { total: 42 });
    assert_eq!(answer.headers["content-type"], "application/json");

    let answer = host.call(annotated::double, post(r#"{"total": "many"}"#));
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(
        answer.text().starts_with("body is not the expected JSON: invalid type: string"),
        "{}",
        answer.text()
    );
    assert!(answer.error.is_none(), "a 400 is an answer, not a failure");
}

#[test]
fn event_is_answered_or_rejected() {
    let host = FakeHost::new();
    let event = |total| Event::new("1", "/test", "o").with_json(&Order { total }).unwrap();
    let answer = host.send(annotated::confirm, event(3)).unwrap().unwrap();
    assert_eq!(answer.json::<Order>().unwrap(), Order { total: 3 });
    let error = host.send(annotated::confirm, event(0)).unwrap_err();
    assert_eq!(
        (error.status(), error.to_string().as_str()),
        (Some(StatusCode::BAD_REQUEST), "order is empty")
    );
}

#[test]
fn functions_of_many_shapes_are_handlers() {
    let host = FakeHost::new();
    let request = || Request::builder().method("PUT").uri("/a").body(Body::from("text")).unwrap();
    assert_eq!(host.call(|| "plain", request()).text(), "plain");
    assert_eq!(host.call(async || Html("page"), request()).text(), "page");
    assert_eq!(host.call(|body: String| body, request()).text(), "text");
    assert_eq!(host.call(|| (), request()).status, StatusCode::NO_CONTENT);
    assert_eq!(host.call(|| (StatusCode::CREATED, "made"), request()).status, StatusCode::CREATED);
    let many = async |method: Method, headers: HeaderMap, request: Request| {
        assert!(headers.is_empty());
        Response::new(format!("{method} {} {:?}", request.uri(), request.body()))
    };
    assert_eq!(host.call(many, request()).text(), "PUT /a Body(b\"text\")");
    host.send(|| (), Event::new("1", "/test", "t")).unwrap();
    host.send(async |event: Event| event, Event::new("1", "/test", "t")).unwrap().unwrap();
}

#[test]
fn own_failure_is_a_500_without_details() {
    fn handle() -> Result<String> {
        Ok("x".parse::<u32>()?.to_string())
    }
    let answer = FakeHost::new().call(handle, post(""));
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.text().contains("digit"), "{}", answer.text());
    assert_eq!(answer.error.unwrap().to_string(), "invalid digit found in string");
}

#[test]
fn host_calls_reach_the_fakes_of_one_host_only() {
    fn handle() -> Result<String> {
        log::warn!("asked for {}", "greeting");
        Ok(config::get("greeting")?.unwrap_or_else(|| "nothing".into()))
    }
    let host = FakeHost::new().with_config("greeting", "hi");
    assert_eq!(host.call(handle, post("")).text(), "hi");
    let logs = host.logs();
    assert_eq!(logs.len(), 1);
    assert_eq!(logs[0].level, log::Level::Warn);
    assert_eq!(logs[0].message, "asked for greeting");
    assert_eq!(logs[0].context, module_path!());
    drop(host);
    let host = FakeHost::new();
    assert_eq!(host.call(handle, post("")).text(), "nothing");
    assert_eq!(host.logs().len(), 1);
}

#[test]
fn paced_stream_takes_no_time_natively() {
    fn handle() -> Body {
        Body::stream(async |mut out| {
            for second in 0..3 {
                out.send(format!("{second} ")).await;
                time::sleep(Duration::from_secs(3600)).await;
            }
            Ok(())
        })
    }
    let host = FakeHost::new();
    assert_eq!(host.call(handle, post("")).text(), "0 1 2 ");
    assert_eq!(host.slept(), Duration::from_secs(3 * 3600));
}
