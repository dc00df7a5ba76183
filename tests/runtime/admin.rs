//! The control plane over a socket, mounted in a router, and the facade below it.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http::request::Builder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wrt::admin::{self, AdminConfig, Token};
use wrt::{ControlError, Hint as _, Runtime, RuntimeConfig, Source, Swap, SwapRequest, chain};
use wrt_test_support::guests;

use crate::client::{Answer, Client, Streamed};
use crate::fixture::{Fixture, bytes, config, guest, limited, name, swapped, variant, wait_until};

/// A control plane on a socket of its own.
struct Admin {
    address: SocketAddr,
    token: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<usize>,
}

impl Admin {
    async fn start(runtime: &Runtime) -> Self {
        Self::with(runtime, |config| config).await
    }

    async fn with(runtime: &Runtime, adjust: impl FnOnce(AdminConfig) -> AdminConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, token) = (listener.local_addr().unwrap(), Token::generate().unwrap());
        let secret = token.as_str().to_owned();
        let router =
            admin::router(runtime.clone(), adjust(AdminConfig::new(token).bound_to(address)));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            admin::serve(listener, router, async { stopped.await.unwrap_or_default() }).await
        });
        Self { address, token: secret, stop, serving }
    }

    fn authorized(&self, request: Builder) -> Builder {
        request.header("authorization", format!("Bearer {}", self.token))
    }

    async fn ask(&self, request: Builder, body: impl Into<Bytes>) -> Answer {
        Client::connect(self.address).await.send_as("localhost", request, body.into()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(self.authorized(Request::get(path)), "").await
    }

    async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.ask(self.authorized(Request::post(path)), body).await
    }

    /// The stream of events, from now on or from after number `seen`.
    async fn events(&self, seen: Option<&str>) -> (Client, Streamed) {
        let mut request = self.authorized(Request::get("/v1/events"));
        if let Some(seen) = seen {
            request = request.header("last-event-id", seen);
        }
        let mut client = Client::connect(self.address).await;
        let stream = client.stream_as("localhost", request).await;
        // The stream ends with its connection.
        (client, stream)
    }

    async fn stop(self) -> usize {
        let _ = self.stop.send(());
        limited("the control plane's end", self.serving).await.unwrap()
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// Expects a problem document of `status` and `kind`.
#[track_caller]
fn problem(answer: &Answer, status: u16, kind: &str) -> Value {
    let found = json(answer);
    assert_eq!(answer.status, status, "{found}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(found["type"], format!("urn:wrt:problem:{kind}"));
    assert_eq!(found["status"], status);
    assert!(!found["title"].as_str().unwrap().is_empty());
    assert!(!found["detail"].as_str().unwrap().is_empty());
    assert!(found["hints"].is_array());
    found
}

async fn serving() -> (Fixture, Admin, Vec<u8>) {
    let component = guest("trap");
    let (fixture, _) = Fixture::serving(&component).await;
    let admin = Admin::start(&fixture.runtime).await;
    (fixture, admin, component)
}

#[tokio::test]
async fn handlers_are_shown_as_they_stand() {
    let (fixture, admin, _) = serving().await;
    let status = json(&admin.get("/v1/handlers/h").await);
    let serving = fixture.handler().serving().unwrap();
    assert_eq!(status["name"], "h");
    assert_eq!((&status["route"], &status["instances"]), (&"/*".into(), &"fresh".into()));
    assert_eq!(status["serving"]["generation"], 1);
    assert_eq!(status["serving"]["digest"], serving.digest.to_string());
    assert_eq!((&status["in_flight"], &status["is_confirmed"]), (&0.into(), &true.into()));
    assert_eq!(json(&admin.get("/v1/handlers").await)["handlers"], serde_json::json!([status]));
    let history = json(&admin.get("/v1/handlers/h/history").await);
    assert!(history["handler"] == "h" && history["records"].is_array(), "{history}");
    let cache = json(&admin.get("/v1/cache").await);
    assert_eq!(cache["memory"].as_array().unwrap().len(), 1, "{cache}");
}

#[tokio::test]
async fn plan_shows_what_each_handler_is_to_be_and_no_secrets() {
    let secret = wrt::config::ConfigValue::secret("hunter2");
    let (fixture, _) = Fixture::serving_as(
        config().with_config("token", secret).with_config("greeting", "hello".into()),
        &guest("config_reader"),
    )
    .await;
    let admin = Admin::start(&fixture.runtime).await;
    let answer = admin.get("/v1/plan").await;
    assert!(!answer.text().contains("hunter2"), "{}", answer.text());
    let handler = &json(&answer)["handlers"][0];
    assert_eq!(
        handler["settings"]["config"],
        serde_json::json!({ "greeting": "hello", "token": null })
    );
    assert_eq!(handler["settings"]["timeout_ms"], 30_000);
    assert_eq!(
        (&handler["policy"]["concurrency"], &handler["is_other"]),
        (&100.into(), &false.into())
    );
    assert_eq!(handler["serving"]["generation"], 1);
    // Nobody reads a manifest here.
    problem(&admin.ask(admin.authorized(Request::put("/v1/plan")), "").await, 404, "no-plan");
    let wrong = admin.ask(admin.authorized(Request::put("/v1/plan?dry-run=maybe")), "").await;
    problem(&wrong, 400, "bad-query");
}

#[tokio::test]
async fn swap_answers_what_became_of_it() {
    let (fixture, admin, component) = serving().await;
    let second = guests::variant(&component, 2);
    let answer = admin.post("/v1/handlers/h/swap?cause=an%20update", second.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let swap = json(&answer);
    assert_eq!((&swap["outcome"], &swap["from"]), (&"swapped".into(), &1.into()));
    assert_eq!(swap["serving"]["digest"], wrt::Digest::of(&second).to_string());
    assert!(fixture.get("/").await.generation().starts_with("h/2;"));
    let again = json(&admin.post("/v1/handlers/h/swap?fresh=true", second).await);
    assert_eq!((&again["outcome"], &again["serving"]), (&"unchanged".into(), &swap["serving"]));
}

#[tokio::test]
async fn rejected_component_is_a_problem_that_says_what_serves() {
    let (fixture, admin, _) = serving().await;
    let answer = admin.post("/v1/handlers/h/swap", wat::parse_str("(component)").unwrap()).await;
    let found = problem(&answer, 422, "rejected");
    assert_eq!((&found["stage"], &found["serving"]["generation"]), (&"check".into(), &1.into()));
    assert!(found["detail"].as_str().unwrap().contains("does not fit world"), "{found}");
    assert_eq!(found["hints"].as_array().unwrap().len(), 1);
    let found = problem(&admin.post("/v1/handlers/h/swap", "no component").await, 422, "rejected");
    assert_eq!(found["stage"], "compile");
    assert!(fixture.get("/").await.generation().starts_with("h/1;"));
}

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let (fixture, admin, component) = serving().await;
    for path in ["/v1/handlers/none", "/v1/handlers/none/history", "/v1/handlers/a%20b"] {
        problem(&admin.get(path).await, 404, "unknown-handler");
    }
    // No text, so that it cannot be the name of a handler.
    problem(&admin.get("/v1/handlers/%00%ff").await, 404, "not-found");
    problem(&admin.post("/v1/handlers/none/swap", component.clone()).await, 404, "unknown-handler");
    for path in ["/", "/v1", "/v1/handlers/h/", "/v1/handlers/h/x"] {
        problem(&admin.get(path).await, 404, "not-found");
    }
    for (path, allowed) in [("/v1/handlers/h/swap", "POST"), ("/v1/handlers/h/confirm", "POST")] {
        let answer = admin.get(path).await;
        problem(&answer, 405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allowed));
    }
    for path in ["/v1/handlers", "/v1/events", "/healthz"] {
        problem(&admin.post(path, "").await, 405, "method-not-allowed");
    }
    for path in ["swap?fresh=perhaps", "swap?clause=x", "rollback?to=first", "confirm?to=1"] {
        problem(&admin.post(&format!("/v1/handlers/h/{path}"), "x").await, 400, "bad-query");
    }
    problem(&admin.post("/v1/handlers/h/swap", "").await, 400, "incomplete-body");
    let small = Admin::with(&fixture.runtime, |config| config.with_max_component(1000)).await;
    problem(&small.post("/v1/handlers/h/swap", vec![0; 1001]).await, 413, "too-large");
    assert_eq!(fixture.handler().serving().unwrap().generation.get(), 1);
}

#[tokio::test]
async fn body_of_unknown_length_is_bounded_too() {
    let (fixture, _, _) = serving().await;
    let admin = Admin::with(&fixture.runtime, |config| config.with_max_component(10)).await;
    let mut client = Client::connect(admin.address).await;
    let request = admin.authorized(Request::post("/v1/handlers/h/swap"));
    let answer = client.stream_body_as("localhost", request, &["123456", "123456"]).await;
    problem(&answer, 413, "too-large");
}

#[tokio::test]
async fn body_that_would_be_passed_over_is_refused() {
    let (fixture, admin, component) = serving().await;
    let _ = admin.post("/v1/handlers/h/swap", guests::variant(&component, 2)).await;
    for path in ["rollback", "rollback?to=1", "confirm"] {
        let answer = admin.post(&format!("/v1/handlers/h/{path}"), "{\"to\":1}").await;
        problem(&answer, 400, "unexpected-body");
    }
    assert!(fixture.get("/").await.generation().starts_with("h/2;"));
}

#[tokio::test]
async fn nothing_but_the_probes_is_shown_without_the_token() {
    let (_fixture, admin, component) = serving().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(admin.ask(Request::get(path), "").await.status, 200, "{path}");
    }
    for path in [
        "/",
        "/metrics",
        "/v1/handlers",
        "/v1/handlers/h",
        "/v1/plan",
        "/v1/events",
        "/v1/cache",
        "/x",
    ] {
        let answer = admin.ask(Request::get(path), "").await;
        problem(&answer, 401, "no-token");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        assert!(!answer.text().contains(&admin.token));
    }
    let wrong = Request::post("/v1/handlers/h/swap").header("authorization", "Bearer wrong");
    problem(&admin.ask(wrong, component).await, 401, "no-token");
}

#[tokio::test]
async fn handlers_are_rolled_back_and_confirmed() {
    let (fixture, admin, component) = serving().await;
    let mut events = fixture.runtime.events();
    let answer = admin.post("/v1/handlers/h/rollback", "").await;
    problem(&answer, 409, "nothing-to-rollback-to");
    // Nothing was tried, so there is nothing to tell others.
    let mut told = std::iter::from_fn(|| events.try_recv().ok());
    assert!(told.all(|event| !matches!(event.kind, wrt::EventKind::Rejected { .. })));
    let answer = admin.post("/v1/handlers/h/swap", guests::variant(&component, 2)).await;
    assert_eq!(json(&answer)["serving"]["generation"], 2);
    let answer = admin.post("/v1/handlers/h/rollback", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(json(&answer)["serving"]["generation"], 3);
    // What was taken back does not come again.
    let answer = admin.post("/v1/handlers/h/swap", guests::variant(&component, 2)).await;
    assert_eq!(problem(&answer, 422, "rejected")["serving"]["generation"], 3);
    let answer = admin.post("/v1/handlers/h/rollback?to=77", "").await;
    problem(&answer, 409, "nothing-to-rollback-to");
    let answer = admin.post("/v1/handlers/h/confirm", "").await;
    assert_eq!(json(&answer)["serving"]["generation"], 3);
    assert!(fixture.handler().status().is_confirmed);
    let records = json(&admin.get("/v1/handlers/h/history").await);
    let outcomes: Vec<_> = records["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["rejected", "confirmed", "rolled-back", "confirmed"]);
    for path in ["rollback", "rollback?to=1", "confirm"] {
        let answer = admin.post(&format!("/v1/handlers/none/{path}"), "").await;
        problem(&answer, 404, "unknown-handler");
    }
}

#[tokio::test]
async fn pages_and_rebound_names_are_refused() {
    let (_fixture, admin, _) = serving().await;
    let mut client = Client::connect(admin.address).await;
    let request = admin.authorized(Request::get("/v1/handlers"));
    let answer = client.send_as("evil.example", request, Bytes::new()).await;
    problem(&answer, 403, "foreign-host");
    let with_origin = |origin: &str| {
        admin.authorized(Request::get("/v1/handlers")).header("origin", origin.to_owned())
    };
    let answer = admin.ask(with_origin("http://evil.example"), "").await;
    problem(&answer, 403, "foreign-origin");
    assert!(answer.header("access-control-allow-origin").is_none());
    assert_eq!(admin.ask(with_origin("http://localhost"), "").await.status, 200);
}

#[tokio::test]
async fn readiness_waits_for_the_first_generations_but_not_for_lazy_ones() {
    let fixture = Fixture::start().await;
    let admin = Admin::start(&fixture.runtime).await;
    assert_eq!(admin.get("/readyz").await.status, 200, "nothing is waited for");
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let lazy = fixture.runtime.add_handler(wrt::HandlerConfig::new(name("lazy"))).unwrap();
    let file = Source::file(guests::guest("trap").unwrap());
    lazy.load_when_called(SwapRequest::new(file, "first load"));
    let answer = admin.ask(Request::get("/readyz"), "").await;
    problem(&answer, 503, "not-ready");
    assert!(answer.text().contains("1 of 2 handlers"), "{}", answer.text());
    assert_eq!(admin.ask(Request::get("/healthz"), "").await.text(), "ok\n");
    swapped(handler.load(bytes(&guest("trap"))).await);
    assert_eq!(admin.ask(Request::get("/readyz"), "").await.text(), "ready\n");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let (fixture, admin, component) = serving().await;
    let _ = admin.post("/v1/handlers/h/swap", guests::variant(&component, 2)).await;
    let _ = admin.post("/v1/handlers/h/swap", "no component").await;
    assert_eq!(fixture.get("/trap").await.status, 500);
    let wanted = [
        "wrt_handlers 1",
        "wrt_handlers_ready 1",
        "wrt_handler_generation{handler=\"h\"} 2",
        "wrt_connections_waited_total{lack=\"places\"} 0",
        "wrt_connections_waited_total{lack=\"descriptors\"} 0",
        "wrt_connections_waited_total{lack=\"error\"} 0",
        "wrt_handler_calls_in_flight{handler=\"h\"} 0",
        // The first generation is one of those that were published.
        "wrt_swaps_total{handler=\"h\"} 2",
        "wrt_rejections_total{handler=\"h\"} 1",
        "wrt_call_failures_total{handler=\"h\",outcome=\"trap\"} 1",
    ];
    // Events are counted soon after they happened.
    let mut page = admin.get("/metrics").await;
    let has = |page: &Answer, line: &str| page.text().lines().any(|it| it == line);
    for line in wanted {
        for _ in 0..1000 {
            if has(&page, line) {
                break;
            }
            page = admin.get("/metrics").await;
        }
        assert!(has(&page, line), "no `{line}` in {}", page.text());
    }
    assert!(page.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for line in page.text().lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(page.text().contains(&format!("# TYPE {name} ")), "{line}");
    }
}

/// Swaps `source` in by the handler's name.
async fn swap(fixture: &Fixture, source: Source, cause: &str) {
    let swap = fixture.handler().swap(source, cause).await;
    assert!(matches!(swap, Ok(Swap::Swapped { .. })), "{swap:?}");
}

/// The fields of each whole message in `text`: id, event, data.
fn messages(text: &str) -> Vec<(u64, String, Value)> {
    let field = |message: &str, name: &str| {
        let line = message.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no `{name}` in {message:?}")).trim().to_owned()
    };
    let whole = text.split("\n\n").filter(|it| it.contains("data:"));
    whole
        .map(|message| {
            let id = field(message, "id:").parse().unwrap();
            let data = serde_json::from_str(&field(message, "data:")).unwrap();
            (id, field(message, "event:"), data)
        })
        .collect()
}

#[tokio::test]
async fn events_are_streamed_as_they_happen_and_resumed_where_they_were_lost() {
    let (fixture, admin, component) = serving().await;
    let (_client, mut stream) = admin.events(None).await;
    assert_eq!(stream.head.status.as_u16(), 200);
    assert_eq!(stream.head.headers["content-type"], "text/event-stream");
    let mut bus = fixture.runtime.events();
    swap(&fixture, variant(&component, 2), "the \"second\"\nversion").await;
    let text = stream.read_until("event: drained").await;
    let text = text + &stream.read_until("\n\n").await;
    let all = messages(&text);
    let names: Vec<_> = all.iter().map(|(_, name, _)| name.as_str()).collect();
    assert_eq!(names, ["staged", "swapped", "drained"], "{text}");
    for (_, name, data) in &all {
        assert_eq!(data["event"], *name);
        // As `--json` prints it.
        assert_eq!(*data, serde_json::to_value(bus.recv().await.unwrap()).unwrap());
    }
    assert_eq!(all[1].2["cause"], "the \"second\"\nversion");
    assert!(all.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1), "{text}");

    let (_client, mut resumed) = admin.events(Some(&all[0].0.to_string())).await;
    let rest = resumed.read_until("event: drained").await + &resumed.read_until("\n\n").await;
    assert_eq!(messages(&rest), all[1..]);
}

#[tokio::test]
async fn client_that_comes_from_another_process_is_told_of_the_gap() {
    let (fixture, admin, component) = serving().await;
    let (_client, mut live) = admin.events(None).await;
    swap(&fixture, variant(&component, 2), "x").await;
    let text = live.read_until("event: staged").await + &live.read_until("\n\n").await;
    let first = messages(&text).remove(0);
    for seen in ["7", &u64::MAX.to_string()] {
        let (_client, mut stream) = admin.events(Some(seen)).await;
        let text = stream.read_until("event: staged").await + &stream.read_until("\n\n").await;
        let found = messages(&text);
        let (id, name, gap) = &found[0];
        assert_eq!((name.as_str(), *id), ("gap", first.0 - 1), "{text}");
        assert_eq!(gap["after"], seen.parse::<u64>().unwrap());
        assert_eq!((&gap["event"], &gap["next"]), (&"gap".into(), &first.0.into()));
        assert_eq!(found[1], first);
    }
}

#[tokio::test]
async fn streams_do_not_keep_the_end_waiting() {
    let (fixture, admin, _) = serving().await;
    let _stream = admin.events(None).await;
    assert_eq!(admin.stop().await, 1, "the stream is cut");
    fixture.stop().await;
}

#[tokio::test]
async fn router_is_mounted_in_the_embedders_own() {
    let (fixture, _) = Fixture::serving(&guest("trap")).await;
    let token = Token::new("a secret of the host's own").unwrap();
    let router = axum::Router::new()
        .nest("/wrt", admin::router(fixture.runtime.clone(), AdminConfig::new(token)))
        .route("/", axum::routing::get(async || "own page"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut client = Client::connect(address).await;
    // Where it is bound is not known, so the name is the embedder's affair.
    assert_eq!(client.get("/wrt/healthz").await.text(), "ok\n");
    assert_eq!(client.get("/").await.text(), "own page");
    assert_eq!(client.get("/wrt/v1/handlers/h").await.status, 401);
    let request = Request::get("/wrt/v1/handlers/h")
        .header("authorization", "Bearer a secret of the host's own");
    assert_eq!(json(&client.send(request, Bytes::new()).await)["serving"]["generation"], 1);
    server.abort();
}

#[tokio::test]
async fn facade_finds_handlers_by_name() {
    let runtime = Runtime::new(RuntimeConfig::default()).unwrap();
    for (handler, load) in [("b", true), ("a", false)] {
        let handle = runtime.add_handler(wrt::HandlerConfig::new(name(handler))).unwrap();
        if load {
            swapped(handle.load(bytes(&guest("event_echo"))).await);
        }
    }
    let statuses = runtime.statuses();
    let names: Vec<_> = statuses.iter().map(|status| status.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(!statuses[0].is_ready() && statuses[1].is_ready());
    let names: Vec<_> = runtime.handlers().iter().map(|handler| handler.name().clone()).collect();
    assert_eq!(names, [name("a"), name("b")]);
    let error = runtime.handler(&name("c")).unwrap_err();
    assert_eq!(error.to_string(), "unknown handler `c`");
    assert_eq!(error.hints(), ["there are `a`, `b`"]);
    let handler = runtime.handler(&name("b")).unwrap();
    let rejected = handler.swap(Source::bytes(&b"x"[..]), "x").await.unwrap_err();
    let (told, hints) = (chain(&rejected), rejected.source.hints());
    let error = ControlError::from(rejected);
    assert_eq!((chain(&error), error.hints()), (told, hints));
    assert_eq!(error.serving().unwrap().generation.get(), 1);
    assert!(runtime.remove(&name("b")).is_some());
    assert!(runtime.remove(&name("b")).is_none());
    assert!(runtime.handler(&name("b")).is_err());
    wait_until(|| runtime.live_stores() == 0, || "no stores".to_owned()).await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_server_with_an_open_stream_of_events_ends_with_its_runtime_or_when_it_is_told_to() {
    for with_stop in [false, true] {
        let (fixture, _) = Fixture::serving(&guest("trap")).await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let until = |mut stopped: tokio::sync::watch::Receiver<bool>| async move {
            let _ = stopped.wait_for(|is| *is).await;
        };
        let token = Token::generate().unwrap();
        let secret = token.as_str().to_owned();
        let (runtime, config) = (fixture.runtime.clone(), AdminConfig::new(token));
        let router = match with_stop {
            true => admin::router_until(runtime, config, until(stopped.clone())),
            false => admin::router(runtime, config),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = axum::serve(listener, router).with_graceful_shutdown(until(stopped));
        let server = tokio::spawn(async move { server.await });
        let mut client = Client::connect(address).await;
        let request =
            Request::get("/v1/events").header("authorization", format!("Bearer {secret}"));
        let stream = client.stream_as("localhost", request).await;
        stop.send_replace(true);
        if !with_stop {
            limited("the runtime's end", fixture.runtime.shutdown()).await;
        }
        // An end in order, which is no end of the connection amid an answer.
        assert_eq!(stream.whole().await.unwrap().status, 200);
        limited("the server's end", server).await.unwrap().unwrap();
        fixture.stop().await;
    }
}

#[tokio::test]
async fn what_became_of_a_generation_is_answered_by_its_number() {
    let (fixture, admin, component) = serving().await;
    let swap = json(&admin.post("/v1/handlers/h/swap", guests::variant(&component, 2)).await);
    assert_eq!(swap["verdict"], "/v1/handlers/h/generations/2");
    assert!(swap.get("warnings").is_none(), "{swap}");
    let verdict = json(&admin.get(swap["verdict"].as_str().unwrap()).await);
    assert_eq!((&verdict["verdict"], &verdict["is_serving"]), (&"confirmed".into(), &true.into()));
    assert_eq!(verdict["record"]["generation"], 2);
    let back = json(&admin.post("/v1/handlers/h/rollback", "").await);
    assert_eq!(back["serving"]["generation"], 3);
    let verdict = json(&admin.get("/v1/handlers/h/generations/2").await);
    assert_eq!(
        (&verdict["verdict"], &verdict["is_serving"]),
        (&"rolled-back".into(), &false.into())
    );
    assert!(verdict["why"].as_str().unwrap().contains("asked for"), "{verdict}");
    for number in ["9", "x", "-1"] {
        let missing = admin.get(&format!("/v1/handlers/h/generations/{number}")).await;
        problem(&missing, 404, "unknown-generation");
    }
    problem(&admin.get("/v1/handlers/other/generations/1").await, 404, "unknown-handler");
    drop(fixture);
}

#[tokio::test]
async fn answers_say_that_a_restart_would_not_know_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = RuntimeConfig::default();
    config.state_dir = Some(dir.path().join("state"));
    let fixture = Fixture::with(config).await;
    let handler = fixture.runtime.add_handler(crate::fixture::config()).unwrap();
    let component = guest("trap");
    swapped(handler.load(bytes(&component)).await);
    let admin = Admin::start(&fixture.runtime).await;
    handler.history_kept().await.unwrap();
    std::fs::remove_file(dir.path().join("state/handlers/h.json")).unwrap();
    std::fs::create_dir(dir.path().join("state/handlers/h.json")).unwrap();
    let swap = admin.post("/v1/handlers/h/swap", guests::variant(&component, 2)).await;
    let rollback = admin.post("/v1/handlers/h/rollback", "").await;
    let confirm = admin.post("/v1/handlers/h/confirm", "").await;
    assert_eq!(json(&confirm)["is_kept"], false);
    for answer in [swap, rollback, confirm] {
        let found = json(&answer);
        assert_eq!(answer.status, 200, "{found}");
        let warning = found["warnings"][0]["message"].as_str().unwrap();
        assert!(warning.contains("is not kept for the next start"), "{found}");
    }
    let metrics = admin.get("/metrics").await;
    assert!(metrics.text().contains("wrt_history_not_kept{handler=\"h\"} 1"), "{}", metrics.text());
    fixture.stop().await;
}

/// Connections without a token that a stranger opens: more than the control plane has places for.
const STRANGERS: usize = 600;

#[tokio::test]
async fn strangers_keep_nobody_out_who_has_the_token() {
    let component = guest("counter");
    let (fixture, handler) = Fixture::serving(&component).await;
    let admin = Admin::start(&fixture.runtime).await;
    let (_client, mut events) = admin.events(None).await;
    // What HTTP/2 begins with, and settings: connections that live as long as they answer pings.
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        let mut stranger = tokio::net::TcpStream::connect(admin.address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stranger, hello).await.unwrap();
        strangers.push(stranger);
    }
    assert_eq!(admin.get("/v1/handlers").await.status, 200);
    assert_eq!(admin.ask(Request::get("/healthz"), "").await.status, 200);
    // Who has shown the token is not displaced.
    swapped(handler.swap(variant(&component, 1), "next").await);
    events.read_until("event: swapped").await;
}
