//! Pooled instances: used again, never beyond their limits, and gone with their generation.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use wrt::events::StateOutcome;
use wrt::{
    CallError, CloudEvent, EventKind, HandlerConfig, InstanceMode, Plugin, StageError, Swap,
};

use crate::fixture::{
    Fixture, bytes, config, guest, label, limited, next_drained, next_event, swapped, variant,
    wait_until,
};

/// Calls that show that something never happens.
const CALLS: usize = 10;

/// Longer than any test: nothing expires unless a test wants it.
const LONG: Duration = Duration::from_secs(3600);

/// An embedder's world whose guest counts the calls of its instance.
pub(crate) mod bindings {
    #![allow(missing_docs, reason = "generated; the WIT file documents it")]
    wrt::wasmtime::component::bindgen!({
        path: "../tests/guests/wit",
        world: "acme:filters/filter",
        exports: { default: async },
        wasmtime_crate: wrt::wasmtime,
    });
}

pub(crate) struct Settings(pub(crate) Arc<HashMap<String, String>>);

impl bindings::acme::filters::host::Host for Settings {
    fn lookup(&mut self, key: String) -> Option<String> {
        assert!(!self.0.contains_key("panic"), "the host's own function panics");
        self.0.get(&key).cloned()
    }
}

wrt::contract! {
    pub(crate) struct Filters for bindings::Filter, indices bindings::FilterIndices;
    host = Settings;
    world = "acme:filters/filter@1.0.0";
    imports = [bindings::acme::filters::host];
}

/// A plugin that runs guest `own_world`.
async fn filter(instances: InstanceMode) -> (Fixture, Plugin<Filters>) {
    let fixture = Fixture::start().await;
    let settings = Arc::new(HashMap::from([("suffix".to_owned(), "!".to_owned())]));
    let filter = fixture
        .runtime
        .add_plugin(config().with_instances(instances), move || Settings(Arc::clone(&settings)))
        .unwrap();
    swapped(filter.load(bytes(&guest("own_world"))).await);
    (fixture, filter)
}

async fn transform(filter: &Plugin<Filters>, input: &str) -> Result<String, CallError> {
    let call = filter.call(async |filter, store| filter.call_transform(store, input).await);
    limited("a typed call", call).await.map(|answer| answer.unwrap())
}

/// How often the instance that answers was asked to transform.
async fn count(filter: &Plugin<Filters>) -> u32 {
    let call = filter.call(async |filter, store| filter.call_count(store).await);
    limited("a typed call", call).await.unwrap()
}

fn at_most(max_calls: usize) -> InstanceMode {
    InstanceMode::Pooled { max_calls, max_idle: LONG }
}

/// The answers of guest `counter` until one is `last`. An instance is ready again only a moment
/// after its answer was read, so the next request may meet another one.
async fn counts_until(fixture: &Fixture, last: u32) -> Vec<u32> {
    let mut client = fixture.client().await;
    let mut counts = Vec::new();
    limited(&format!("an instance that has seen {last} requests"), async {
        while counts.last() != Some(&last) {
            counts.push(client.get("/").await.text().parse().unwrap());
        }
    })
    .await;
    counts
}

#[tokio::test]
async fn a_plugin_is_controlled_by_its_name_too_and_called_by_its_type_alone() {
    let (fixture, filter) = filter(InstanceMode::Fresh).await;
    let first = filter.serving().unwrap();
    let handler = fixture.handler();
    let second = swapped(handler.swap(variant(&guest("own_world"), 2), "by name").await);
    assert_eq!(filter.serving(), Some(second));
    assert_eq!(swapped(filter.rollback(None).await).digest, first.digest);
    assert_eq!(handler.status(), filter.status());
    let error = handler.call(CloudEvent::new("1", "/test", "x")).await.unwrap_err();
    assert!(matches!(error, CallError::WrongKind { .. }), "{error}");
    assert_eq!(transform(&filter, "hello").await.unwrap(), "HELLO!");
    // A handle outlives the runtime, and is answered.
    fixture.stop().await;
    let late = handler.swap(variant(&guest("own_world"), 3), "late").await.unwrap_err();
    assert!(matches!(late.source, StageError::ShuttingDown), "{late}");
}

#[tokio::test]
async fn fresh_instance_has_seen_no_request_before() {
    let (fixture, _) = Fixture::serving(&guest("counter")).await;
    let mut client = fixture.client().await;
    for _ in 0..CALLS {
        assert_eq!(client.get("/").await.text(), "1");
    }
    fixture.wait_for_stores(0).await;
}

#[tokio::test]
async fn pooled_instance_answers_one_request_after_another() {
    let config = config().with_instances(InstanceMode::pooled());
    let (fixture, _) = Fixture::serving_as(config, &guest("counter")).await;
    let counts = counts_until(&fixture, 5).await;
    let n_instances = counts.iter().filter(|&&count| count == 1).count();
    fixture.wait_for_stores(n_instances).await;
}

#[tokio::test]
async fn pooled_instance_answers_no_more_requests_than_it_may() {
    let (fixture, _) =
        Fixture::serving_as(config().with_instances(at_most(3)), &guest("counter")).await;
    for _ in 0..CALLS {
        let counts = counts_until(&fixture, 3).await;
        assert!(counts.iter().all(|&count| count <= 3), "{counts:?}");
    }
}

#[tokio::test]
async fn pooled_instance_is_dropped_when_it_was_idle_for_long() {
    let instances = InstanceMode::Pooled { max_calls: 1000, max_idle: Duration::from_millis(50) };
    let config = config().with_instances(instances);
    let (fixture, _) = Fixture::serving_as(config, &guest("counter")).await;
    assert_eq!(fixture.get("/").await.text(), "1");
    fixture.wait_for_stores(0).await;
    assert_eq!(fixture.get("/").await.text(), "1");
}

#[tokio::test]
async fn idle_instances_go_with_their_generation() {
    let component = guest("counter");
    let (fixture, handler) =
        Fixture::serving_as(config().with_instances(at_most(1000)), &component).await;
    let mut events = fixture.runtime.events();
    counts_until(&fixture, 2).await;
    assert!(fixture.runtime.live_stores() > 0, "nothing was kept");

    let second = swapped(handler.swap(variant(&component, 2), "new").await);
    // One of the new generation is warm before its first call.
    fixture.wait_for_stores(1).await;
    assert_eq!(next_drained(&mut events).await, (1, 0));
    let answer = fixture.get("/").await;
    assert_eq!((answer.text(), answer.generation()), ("1", &*label(second)));
}

#[tokio::test]
async fn pooled_instance_that_traps_answers_nothing_further() {
    let (fixture, _) =
        Fixture::serving_as(config().with_instances(at_most(1000)), &guest("trap")).await;
    let mut client = fixture.client().await;
    assert_eq!(client.get("/trap").await.status, 500);
    fixture.wait_for_stores(0).await;
    assert_eq!(client.get("/").await.text(), "ok");
    fixture.wait_for_stores(1).await;
}

#[tokio::test]
async fn typed_calls_share_a_pooled_instance() {
    let (fixture, filter) = filter(InstanceMode::pooled()).await;
    for calls in 1..=5 {
        assert_eq!(transform(&filter, "hello").await.unwrap(), "HELLO!");
        assert_eq!(count(&filter).await, calls);
    }
    assert_eq!(fixture.runtime.live_stores(), 1);
}

#[tokio::test]
async fn typed_calls_of_a_fresh_handler_share_nothing() {
    let (fixture, filter) = filter(InstanceMode::Fresh).await;
    assert_eq!(transform(&filter, "hello").await.unwrap(), "HELLO!");
    assert_eq!(count(&filter).await, 0);
    assert_eq!(fixture.runtime.live_stores(), 0);
}

#[tokio::test]
async fn typed_instance_is_replaced_after_the_calls_it_may_take() {
    let (fixture, filter) = filter(at_most(3)).await;
    for _ in 0..CALLS {
        transform(&filter, "a").await.unwrap();
        transform(&filter, "b").await.unwrap();
        assert_eq!(count(&filter).await, 2, "the third call meets the same instance");
        assert_eq!(fixture.runtime.live_stores(), 0, "which then has done its part");
    }
}

#[tokio::test]
async fn typed_instance_that_traps_is_not_called_again() {
    let (fixture, filter) = filter(at_most(1000)).await;
    transform(&filter, "hello").await.unwrap();
    match transform(&filter, "trap").await {
        Err(CallError::Failed { source, .. }) => assert_eq!(source.outcome(), "trap"),
        other => panic!("expected a trap, found {other:?}"),
    }
    assert_eq!(fixture.runtime.live_stores(), 0);
    assert_eq!(count(&filter).await, 0);
    assert_eq!(transform(&filter, "again").await.unwrap(), "AGAIN!");
}

#[derive(Debug, PartialEq, Eq)]
struct OwnError(u32);

impl std::fmt::Display for OwnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "own error {}", self.0)
    }
}

impl std::error::Error for OwnError {}

#[tokio::test]
async fn error_of_the_callers_own_comes_back_typed_and_nobody_pays_for_it() {
    for mode in [InstanceMode::Fresh, InstanceMode::pooled(), InstanceMode::Singleton] {
        let fixture = Fixture::start().await;
        let settings = Arc::new(HashMap::from([("suffix".to_owned(), "!".to_owned())]));
        let config = config().with_instances(mode).with_probation(LONG, 1);
        let make_host = move || Settings(Arc::clone(&settings));
        let filter = fixture.runtime.add_plugin::<Filters>(config, make_host).unwrap();
        let component = guest("own_world");
        swapped(filter.load(bytes(&component)).await);
        filter.confirm().await.unwrap();
        let second = swapped(filter.swap(variant(&component, 2), "on probation").await);
        transform(&filter, "hello").await.unwrap();
        let mut events = fixture.runtime.events();
        for number in 0..3 {
            let failed = filter.call(async |filter, store| {
                filter.call_transform(store, "hello").await?.unwrap();
                Err::<(), _>(wrt::wasmtime::Error::new(OwnError(number)))
            });
            match limited("a typed call", failed).await {
                Err(CallError::Caller { source, .. }) => {
                    assert_eq!(source.downcast::<OwnError>().unwrap(), OwnError(number));
                }
                other => panic!("expected the caller's error, found {other:?}"),
            }
        }
        assert_eq!(filter.serving(), Some(second), "it was taken back");
        if mode != InstanceMode::Fresh {
            assert_eq!(count(&filter).await, 4, "the instance is another");
        }
        let failed = |event: &wrt::Event| matches!(event.kind, EventKind::CallFailed { .. });
        assert!(!std::iter::from_fn(|| events.try_recv().ok()).any(|event| failed(&event)));
        // A trap inside of such a call is the guest's all the same.
        match transform(&filter, "trap").await {
            Err(CallError::Failed { source, .. }) => assert_eq!(source.outcome(), "trap"),
            other => panic!("expected a trap, found {other:?}"),
        }
    }
}

#[tokio::test]
async fn typed_calls_at_the_same_time_have_an_instance_each() {
    let (fixture, filter) = filter(at_most(1000)).await;
    // Two calls that are inside together: each waits for the other before it ends.
    let meeting = Arc::new(tokio::sync::Barrier::new(2));
    let call = || {
        let (filter, meeting) = (filter.clone(), Arc::clone(&meeting));
        async move {
            let call = filter.call(async |filter, store| {
                meeting.wait().await;
                filter.call_transform(store, "hello").await
            });
            limited("a call beside another", call).await.unwrap().unwrap()
        }
    };
    let answers = futures::future::join(call(), call()).await;
    assert_eq!(answers, ("HELLO!".to_owned(), "HELLO!".to_owned()));
    assert_eq!(fixture.runtime.live_stores(), 2);
    assert_eq!(count(&filter).await, 1);
}

#[tokio::test]
async fn typed_instances_go_with_their_generation() {
    let (fixture, filter) = filter(at_most(1000)).await;
    transform(&filter, "hello").await.unwrap();
    assert_eq!(fixture.runtime.live_stores(), 1);
    let second = swapped(filter.swap(variant(&guest("own_world"), 2), "new").await);
    // One of the new generation is warm before its first call.
    fixture.wait_for_stores(1).await;
    assert_eq!(filter.serving(), Some(second));
    assert_eq!(count(&filter).await, 0);
}

#[tokio::test]
async fn idle_instances_do_not_wait_for_the_calls_of_their_generation() {
    let (fixture, filter) = filter(at_most(1000)).await;
    let go = Arc::new(tokio::sync::Notify::new());
    let held = tokio::spawn({
        let (filter, go) = (filter.clone(), Arc::clone(&go));
        async move {
            let call = filter.call(async |_, _| {
                go.notified().await;
                Ok(())
            });
            call.await
        }
    });
    let inside = || filter.in_flight();
    wait_until(|| inside() == 1, || "a call inside".to_owned()).await;
    transform(&filter, "hello").await.unwrap();
    assert_eq!(fixture.runtime.live_stores(), 2, "one with its call, one idle");

    swapped(filter.swap(variant(&guest("own_world"), 2), "new").await);
    // That of the call, and a warm one of the new generation.
    fixture.wait_for_stores(2).await;
    go.notify_one();
    limited("a held call", held).await.unwrap().unwrap();
    fixture.wait_for_stores(1).await;
}

#[tokio::test]
async fn a_new_version_is_warm_for_those_who_call_the_old_one() {
    const CALLS: usize = 3;
    let (fixture, filter) = filter(InstanceMode::pooled()).await;
    let go = Arc::new(tokio::sync::Notify::new());
    let calls: Vec<_> = (0..CALLS)
        .map(|_| {
            let (filter, go) = (filter.clone(), Arc::clone(&go));
            tokio::spawn(async move {
                let held = async |_: &bindings::Filter, _: &mut wrt::wasmtime::Store<_>| {
                    go.notified().await;
                    Ok(())
                };
                filter.call(held).await
            })
        })
        .collect();
    let inside = || filter.in_flight();
    wait_until(|| inside() == CALLS, || format!("{CALLS} calls inside, {} are", inside())).await;
    swapped(filter.swap(variant(&guest("own_world"), 2), "new").await);
    assert_eq!(fixture.runtime.live_stores(), 2 * CALLS, "as many warm ones as there are calls");
    go.notify_waiters();
    for call in calls {
        limited("a held call", call).await.unwrap().unwrap();
    }
    fixture.wait_for_stores(CALLS).await;
}

#[tokio::test]
async fn typed_singleton_keeps_its_memory_until_a_swap() {
    let (fixture, filter) = filter(InstanceMode::Singleton).await;
    let mut events = fixture.runtime.events();
    for expected in 1..=3 {
        transform(&filter, "hello").await.unwrap();
        assert_eq!(count(&filter).await, expected);
    }
    assert_eq!(fixture.runtime.live_stores(), 1);
    let calls = (0..16).map(|_| transform(&filter, "hello"));
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(count(&filter).await, 19, "one call at a time, in the same memory");
    // It exports no state, so there is nothing to hand over, and everybody is told.
    let answer = filter.swap(variant(&guest("own_world"), 2), "new").await;
    let is_reset = |answer| matches!(answer, Ok(Swap::Swapped { state: StateOutcome::Reset, .. }));
    assert!(is_reset(answer));
    let state = next_event(&mut events, "a swap", |event| match event {
        EventKind::Swapped { state, .. } => Some(state),
        _ => None,
    })
    .await;
    assert_eq!(state, StateOutcome::Reset);
    let (generation, reason) = next_event(&mut events, "lost state", |event| match event {
        EventKind::StateLost { generation, reason } => Some((generation.get(), reason)),
        _ => None,
    })
    .await;
    assert_eq!(generation, 2);
    assert!(reason.contains("does not export `wrt:plugin/state`"), "{reason}");
    assert_eq!(count(&filter).await, 0);
}

#[tokio::test]
async fn a_panic_in_the_hosts_own_function_ends_its_call_and_no_other() {
    let fixture = Fixture::start().await;
    let plugin = |name: &str, settings: HashMap<String, String>| {
        let settings = Arc::new(settings);
        let config = HandlerConfig::new(crate::fixture::name(name));
        let config = config.with_instances(InstanceMode::pooled()).with_concurrency(1);
        let make_host = move || Settings(Arc::clone(&settings));
        fixture.runtime.add_plugin::<Filters>(config, make_host).unwrap()
    };
    let suffix = || ("suffix".to_owned(), "!".to_owned());
    let bad = plugin("bad", HashMap::from([suffix(), ("panic".to_owned(), String::new())]));
    let good = plugin("good", HashMap::from([suffix()]));
    for filter in [&bad, &good] {
        swapped(filter.load(bytes(&guest("own_world"))).await);
    }
    // More often than it has places.
    for _ in 0..3 {
        let filter = bad.clone();
        let call = tokio::spawn(async move { transform(&filter, "hello").await.map(drop) });
        assert!(call.await.is_err_and(|error| error.is_panic()), "the caller hears of it");
    }
    assert!(transform(&good, "hello").await.is_ok());
    swapped(bad.swap(variant(&guest("own_world"), 2), "new").await);
    assert_eq!(count(&bad).await, 0, "its places are free");
}

#[tokio::test]
async fn typed_instance_is_dropped_when_it_was_idle_for_long() {
    let instances = InstanceMode::Pooled { max_calls: 1000, max_idle: Duration::from_millis(50) };
    let (fixture, filter) = filter(instances).await;
    transform(&filter, "hello").await.unwrap();
    let left = || fixture.runtime.live_stores();
    wait_until(|| left() == 0, || format!("no idle instance, there are {}", left())).await;
    assert_eq!(count(&filter).await, 0);
}
