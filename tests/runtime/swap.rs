//! Swaps while calls are under way: none fails, and each runs wholly on one generation.

use std::time::{Duration, Instant};

use wrt::{Digest, EventKind, HandlerHandle, Source, Swap, SwapRequest};
use wrt_test_support::guests;
use wrt_test_support::history::{History, Milestone};
use wrt_test_support::load::{Load, LoadPlan, Shape};

use crate::fixture::{
    Fixture, bytes, config, guest, label, limited, next_drained, next_event, next_failure, plugin,
    swapped, variant, wait_until,
};

/// Swaps of the load test; the long version is a benchmark.
const SWAPS: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_and_none_is_served_by_a_replaced_generation() {
    // A developer's runtime: it compiles the variants from its function cache, so swaps are dense.
    swap_under_load(wrt::RuntimeConfig::for_dev(), SWAPS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_that_poll_swap_as_well_and_end_with_the_server() {
    let mut polling = wrt::RuntimeConfig::for_dev();
    polling.busy_poll = Duration::from_millis(1);
    swap_under_load(polling, SWAPS / 5).await;
    let n_tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    wait_until(|| n_tasks() == 0, || "the end of all tasks".to_owned()).await;
}

async fn swap_under_load(runtime: wrt::RuntimeConfig, n_swaps: u64) {
    let fixture = Fixture::with(runtime).await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let component = plugin("echo-stream");
    swapped(handler.load(bytes(&component)).await);

    let shapes =
        vec![Shape::get("/"), Shape::post("/echo", 3000), Shape::upload("/echo", 20, 4000)];
    let plan = LoadPlan { n_connections: 16, ..LoadPlan::new(fixture.address, shapes) };
    let load = Load::start(plan);
    let mut milestones = Vec::new();
    for number in 1..=n_swaps {
        let serving = swapped(handler.swap(variant(&component, number), "next").await);
        let generation = label(serving).parse().unwrap();
        milestones.push(Milestone::Published { at: Instant::now(), generation });
        // At least one call of each connection begins after the publication.
        let enough = load.n_ended() + 32;
        wait_until(|| load.n_ended() >= enough, || format!("{enough} calls")).await;
    }
    let result = limited("the calls under way", load.stop()).await.unwrap();
    let report = History { connections: result.connections, milestones }.check();
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.by_kind.len(), 3, "{report}");
    assert!(report.n_generations as u64 >= n_swaps, "{report}");
    assert_eq!(result.n_reconnects, 0, "the server closed connections");
    fixture.wait_for_stores(0).await;
    assert_eq!(fixture.stop().await, 0);
}

#[tokio::test]
async fn request_after_a_swap_is_answered_by_the_new_component() {
    let (fixture, handler) = Fixture::serving(&guest("trap")).await;
    let mut client = fixture.client().await;
    assert_eq!(client.get("/").await.text(), "ok");
    let serving = swapped(handler.swap(bytes(&guest("counter")), "another one").await);
    let answer = client.get("/").await;
    assert_eq!((answer.text(), answer.generation()), ("1", &*label(serving)));
    assert_eq!(handler.serving(), Some(serving));
}

#[tokio::test]
async fn bytes_that_serve_already_change_nothing() {
    let component = guest("trap");
    let (fixture, handler) = Fixture::serving(&component).await;
    let serving = handler.serving().unwrap();
    let mut events = fixture.runtime.events();
    for _ in 0..3 {
        let answer = handler.swap(bytes(&component), "written again").await.unwrap();
        assert_eq!(answer, Swap::Unchanged { serving });
        let digest = next_event(&mut events, "an event of the swap", |event| match event {
            EventKind::Unchanged { digest, passed_over_for: None } => Some(digest),
            other => panic!("expected `unchanged`, found {other:?}"),
        });
        assert_eq!(digest.await, serving.digest);
    }
    assert_eq!(handler.serving(), Some(serving));
    // The number is not used up either.
    let next = swapped(handler.swap(variant(&component, 1), "new").await);
    assert_eq!(next.generation.get(), serving.generation.get() + 1);
}

#[tokio::test]
async fn exchange_under_way_completes_on_its_own_generation() {
    let component = plugin("echo-stream");
    let (fixture, handler) = Fixture::serving(&component).await;
    let mut events = fixture.runtime.events();
    let first = handler.serving().unwrap();
    let mut client = fixture.client().await;
    let (feed, mut answer) = client.upload("/", "before").await;
    assert_eq!(answer.read_until("before").await, "before");

    let second = swapped(handler.swap(variant(&component, 2), "new").await);
    assert_eq!(fixture.get("/").await.generation(), label(second));
    // The old generation still runs: what is sent only now comes back from it.
    feed.send("after");
    assert_eq!(answer.read_until("after").await, "after");
    feed.send("the end");
    drop(feed);
    assert_eq!(answer.generation(), label(first));
    assert_eq!(answer.whole().await.unwrap().text(), "the end");
    assert_eq!(next_drained(&mut events).await, (first.generation.get(), 0));
    // The connection outlives the generation.
    assert_eq!(client.get("/").await.generation(), label(second));
    fixture.wait_for_stores(0).await;
}

#[tokio::test]
async fn answer_that_ended_well_on_a_replaced_generation_is_no_failed_call() {
    let component = guest("slow_stream");
    let (fixture, handler) = Fixture::serving(&component).await;
    let mut events = fixture.runtime.events();
    for number in 2..12 {
        let mut client = fixture.client().await;
        let answer = tokio::spawn(async move { client.get("/?chunks=3&ms=10").await });
        wait_until(|| handler.status().in_flight > 0, || "a call".to_owned()).await;
        swapped(handler.swap(variant(&component, number), "new").await);
        assert_eq!(answer.await.unwrap().status, 200);
    }
    fixture.wait_for_stores(0).await;
    let told = std::iter::from_fn(|| events.try_recv().ok());
    let failed: Vec<_> =
        told.filter(|event| matches!(event.kind, EventKind::CallFailed { .. })).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn streamed_response_completes_while_new_requests_get_new_code() {
    let component = guest("slow_stream");
    let (fixture, handler) = Fixture::serving(&component).await;
    let first = handler.serving().unwrap();
    let mut client = fixture.client().await;
    let mut answer = client.stream("/?chunks=20&ms=100").await;
    let start = answer.read_until("chunk 1\n").await;
    let second = swapped(handler.swap(variant(&component, 2), "new").await);
    assert_eq!(fixture.get("/?chunks=1").await.generation(), label(second));
    assert_eq!(answer.generation(), label(first));
    let all = start + answer.whole().await.unwrap().text();
    let expected: String = (1..=20).map(|chunk| format!("chunk {chunk}\n")).collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn drain_deadline_cuts_what_outlives_it_and_counts_it() {
    let component = plugin("echo-stream");
    let config = config().with_drain(Duration::from_millis(50));
    let (fixture, handler) = Fixture::serving_as(config, &component).await;
    let mut events = fixture.runtime.events();
    let mut client = fixture.client().await;
    let (_feed, mut answer) = client.upload("/", "held open").await;
    answer.read_until("held open").await;
    let second = swapped(handler.swap(variant(&component, 2), "new").await);
    assert_eq!(next_failure(&mut events).await, (1, "cut"));
    assert_eq!(next_drained(&mut events).await, (1, 1));
    assert!(answer.whole().await.is_err(), "a cut response must not look complete");
    assert_eq!(fixture.get("/").await.generation(), label(second));
    fixture.wait_for_stores(0).await;
}

#[tokio::test]
async fn request_that_waits_for_its_answer_is_cut_with_503() {
    let component = guest("never_answers");
    let config = config().with_drain(Duration::from_millis(50));
    let (fixture, handler) = Fixture::serving_as(config, &component).await;
    let mut client = fixture.client().await;
    let request = tokio::spawn(async move { client.get("/never").await });
    wait_until(|| handler.in_flight() == 1, || "the call to begin".into()).await;
    swapped(handler.swap(variant(&component, 2), "new").await);
    let answer = request.await.unwrap();
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    fixture.wait_for_stores(0).await;
}

#[tokio::test]
async fn http_component_gives_way_to_an_event_component_and_back() {
    let (http, event) = (guest("trap"), guest("event_echo"));
    let (fixture, handler) = Fixture::serving(&http).await;
    let mut client = fixture.client().await;
    assert_eq!(client.get("/").await.text(), "ok");

    let to_events = SwapRequest::new(bytes(&event), "it takes events now").as_other_kind();
    swapped(handler.request_swap(to_events).await);
    let answer = client.event("ping").await;
    assert_eq!((answer.status, answer.header("ce-type")), (200, Some("ping.seen")));
    let refused = client.get("/").await;
    assert!((400..500).contains(&refused.status), "a request without an event: {refused:?}");

    let to_http = SwapRequest::new(bytes(&http), "and requests again").as_other_kind();
    swapped(handler.request_swap(to_http).await);
    assert_eq!(client.get("/").await.text(), "ok");
}

#[tokio::test]
async fn swaps_at_the_same_time_get_truthful_answers() {
    let component = guest("trap");
    let (fixture, handler) = Fixture::serving(&component).await;
    let mut events = fixture.runtime.events();
    let swap = async |handler: HandlerHandle, number| {
        let candidate = guests::variant(&component, number);
        let digest = Digest::of(&candidate);
        (digest, handler.swap(Source::bytes(candidate), "at once").await.unwrap())
    };
    let answers = futures::future::join_all((1..=8).map(|n| swap(handler.clone(), n))).await;

    let mut published = Vec::new();
    for (digest, answer) in &answers {
        match answer {
            Swap::Swapped { serving, .. } => {
                assert_eq!(serving.digest, *digest, "an answer about another candidate");
                published.push(*serving);
            }
            Swap::Superseded => {}
            other => panic!("no candidate was serving before, found {other:?}"),
        }
    }
    // The last one asked for was not superseded by anybody, so it serves.
    assert_eq!(published.last().copied(), handler.serving());
    assert_eq!(handler.serving().map(|it| it.digest), answers.last().map(|(digest, _)| *digest));
    assert!(published.is_sorted_by_key(|serving| serving.generation));
    for serving in published {
        let event = next_event(&mut events, "a swap", |event| match event {
            EventKind::Swapped { generation, digest, .. } => Some((generation, digest)),
            _ => None,
        });
        assert_eq!(event.await, (serving.generation, serving.digest));
    }
}

#[tokio::test]
async fn requests_before_the_first_generation_wait_for_it() {
    let fixture = Fixture::start().await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let mut client = fixture.client().await;
    let waiting = tokio::spawn(async move { client.get("/").await });
    assert_eq!(handler.serving(), None);
    swapped(handler.load(bytes(&guest("trap"))).await);
    assert_eq!(waiting.await.unwrap().text(), "ok");
}

#[tokio::test]
async fn shutdown_lets_a_streamed_response_finish() {
    let (fixture, _) = Fixture::serving(&guest("slow_stream")).await;
    let mut client = fixture.client().await;
    let mut answer = client.stream("/?chunks=5&ms=50").await;
    answer.read_until("chunk 1\n").await;
    let reading = tokio::spawn(answer.whole());
    assert_eq!(fixture.stop().await, 0, "connections were cut");
    assert!(reading.await.unwrap().unwrap().text().ends_with("chunk 5\n"));
}
