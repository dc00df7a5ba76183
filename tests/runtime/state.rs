//! Long-lived instances: their state goes over swaps whole or not at all, whatever fails.

use std::collections::BTreeSet;
use std::time::Duration;

use wrt::config::ConfigValue;
use wrt::events::{Stage, StateOutcome};
use wrt::{
    CloudEvent, EventKind, EventReceiver, HandlerConfig, HandlerHandle, InstanceMode,
    RuntimeConfig, Source, Swap, SwapRequest,
};

use crate::fixture::{
    Fixture, bytes, config, guest, limited, next_event, plugin, swapped, variant,
};

/// One step of a hand-over; a guest that loops is ended after it. Long enough for one that does not,
/// on a machine that has much else to do.
const STEP: Duration = Duration::from_secs(2);

/// Largest state.
const MAX_STATE: u64 = 1 << 20;

fn singleton() -> HandlerConfig {
    config().with_instances(InstanceMode::Singleton).with_hand_over(STEP, MAX_STATE)
}

fn with(settings: &[(&str, &str)]) -> HandlerConfig {
    settings.iter().fold(singleton(), |config, (key, value)| {
        config.with_config(*key, ConfigValue::plain(*value))
    })
}

/// What the guest `stateful` answers.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Counted {
    count: u64,
    begun: String,
    sent: String,
}

/// A handler that runs guest `stateful`.
struct Stateful {
    fixture: Fixture,
    handler: HandlerHandle,
    events: EventReceiver,
    component: Vec<u8>,
    serial: u64,
}

impl Stateful {
    async fn start(config: HandlerConfig) -> Self {
        Self::start_in(config, RuntimeConfig::default()).await
    }

    async fn start_in(config: HandlerConfig, runtime: RuntimeConfig) -> Self {
        let component = guest("stateful");
        let fixture = Fixture::with(runtime).await;
        let events = fixture.runtime.events();
        let handler = fixture.runtime.add_handler(config).unwrap();
        swapped(handler.load(bytes(&component)).await);
        Self { fixture, handler, events, component, serial: 1 }
    }

    async fn send(&self, order: &str, data: &str) -> Counted {
        let event = CloudEvent::new("1", "/test", order).with_data("text/plain", data.to_owned());
        let answer = limited("an answer", self.handler.call(event)).await.unwrap().unwrap();
        serde_json::from_slice(&answer.data.unwrap()).unwrap()
    }

    async fn count(&self) -> u64 {
        self.send("count", "").await.count
    }

    /// The next version, which behaves as the one before.
    fn next(&mut self) -> SwapRequest {
        self.serial += 1;
        SwapRequest::new(variant(&self.component, self.serial), "a new version")
    }

    /// How the swap to the next version ended: the state, or the stage that refused it.
    async fn swap(&mut self) -> Result<StateOutcome, Stage> {
        let request = self.next();
        self.request(request).await
    }

    async fn request(&mut self, request: SwapRequest) -> Result<StateOutcome, Stage> {
        let answer = limited("a swap", self.handler.request_swap(request)).await;
        let state = match answer {
            Ok(Swap::Swapped { serving, .. }) => {
                assert_eq!(self.handler.serving(), Some(serving));
                next_event(&mut self.events, "a swap", |event| match event {
                    EventKind::Swapped { generation, state, .. }
                        if generation == serving.generation =>
                    {
                        Some(state)
                    }
                    _ => None,
                })
                .await
            }
            Ok(other) => panic!("expected a swap, found {other:?}"),
            Err(rejected) => {
                assert_eq!(rejected.serving, self.handler.serving(), "the old one serves");
                return Err(rejected.source.stage());
            }
        };
        Ok(state)
    }
}

#[tokio::test]
async fn state_goes_over_a_swap_and_the_first_call_counts_on() {
    let mut stateful = Stateful::start(singleton()).await;
    assert_eq!(stateful.send("count", "").await.begun, "init");
    assert_eq!(stateful.count().await, 2);
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
    let counted = stateful.send("count", "").await;
    assert_eq!((counted.count, &*counted.begun), (3, "carried"));
    // The instance that gave its state away is gone.
    stateful.fixture.wait_for_stores(1).await;
    stateful.fixture.stop().await;
}

#[tokio::test]
async fn http_callers_lose_and_double_nothing_over_many_swaps() {
    const CLIENTS: usize = 8;
    const SWAPS: u64 = 20;
    let component = guest("stateful_http");
    let (fixture, handler) = Fixture::serving_as(singleton(), &component).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let clients = (0..CLIENTS).map(|_| {
        let (stop, address) = (stop.clone(), fixture.address);
        tokio::spawn(async move {
            let mut client = crate::client::Client::connect(address).await;
            let mut counts = Vec::new();
            while !stop.is_cancelled() {
                let answer = client.get("/").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let counted: Counted = serde_json::from_slice(&answer.body).unwrap();
                counts.push(counted.count);
            }
            counts
        })
    });
    let clients: Vec<_> = clients.collect();
    for serial in 0..SWAPS {
        swapped(handler.swap(variant(&component, 100 + serial), "again").await);
    }
    stop.cancel();
    let mut all = BTreeSet::new();
    let mut n_calls = 0;
    for client in clients {
        let counts = limited("a client", client).await.unwrap();
        assert!(counts.windows(2).all(|two| two[0] < two[1]), "a count went back");
        n_calls += counts.len();
        all.extend(counts);
    }
    assert_eq!(all.len(), n_calls, "a call was doubled");
    assert_eq!(all.last().copied(), Some(n_calls as u64), "a call was lost");
    fixture.stop().await;
}

#[tokio::test]
async fn a_save_that_refuses_leaves_the_old_instance_with_its_state() {
    let mut stateful = Stateful::start(singleton()).await;
    stateful.send("save:error", "").await;
    assert_eq!(stateful.swap().await, Err(Stage::Save));
    assert_eq!(stateful.send("save:ok", "").await.count, 2);
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
    assert_eq!(stateful.count().await, 3);
    // More than is allowed.
    stateful.send("count", &(MAX_STATE + 1).to_string()).await;
    assert_eq!(stateful.swap().await, Err(Stage::Save));
    assert_eq!(stateful.send("count", "10").await.count, 5);
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
    assert_eq!(stateful.count().await, 6);
}

/// The next word about state that a generation does not go on with: the generation, whose state it has
/// instead, and why.
async fn next_loss(events: &mut EventReceiver) -> (u64, Option<u64>, String) {
    next_event(events, "a word about the state", |event| match event {
        EventKind::StateLost { generation, reason } => Some((generation.get(), None, reason)),
        EventKind::StateReverted { generation, of, reason } => {
            Some((generation.get(), Some(of.get()), reason))
        }
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_save_that_ends_its_instance_leaves_the_old_version_with_the_state_it_began_with() {
    for turn in ["trap", "loop", "sleep", "large"] {
        let mut stateful = Stateful::start(singleton()).await;
        stateful.send(&format!("save:{turn}"), "").await;
        assert_eq!(stateful.swap().await, Err(Stage::Save), "{turn}");
        let (generation, of, reason) = next_loss(&mut stateful.events).await;
        assert_eq!((generation, of), (1, None), "{turn}");
        assert!(reason.contains("what that gathered is lost"), "{turn}: {reason}");
        assert_eq!(stateful.count().await, 1, "{turn}");
        // It can be saved again, and a version that was handed a state has that one.
        assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried), "{turn}");
        assert_eq!(stateful.count().await, 2, "{turn}");
        stateful.send(&format!("save:{turn}"), "").await;
        assert_eq!(stateful.swap().await, Err(Stage::Save), "{turn}");
        let (generation, of, _) = next_loss(&mut stateful.events).await;
        assert_eq!((generation, of), (3, Some(1)), "{turn}");
        assert_eq!(stateful.count().await, 2, "{turn}");
        assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried), "{turn}");
        assert_eq!(stateful.count().await, 3, "{turn}");
    }
}

#[tokio::test]
async fn a_save_that_ends_its_instance_does_not_keep_a_developers_next_version_out() {
    let mut stateful = Stateful::start_in(singleton(), RuntimeConfig::for_dev()).await;
    assert_eq!(stateful.count().await, 1);
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
    stateful.send("save:trap", "").await;
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Reverted));
    let (generation, of, reason) = next_loss(&mut stateful.events).await;
    assert_eq!((generation, of), (3, Some(1)));
    assert!(reason.contains("`save` ended its instance"), "{reason}");
    assert_eq!(stateful.count().await, 2);
}

#[tokio::test]
async fn a_restore_that_fails_leaves_the_old_instance_with_its_state() {
    let mut stateful = Stateful::start(singleton()).await;
    let mut count = 0;
    for turn in ["error", "trap", "loop", "sleep", "incompatible"] {
        count += 1;
        assert_eq!(stateful.send(&format!("restore:{turn}"), "").await.count, count, "{turn}");
        assert_eq!(stateful.swap().await, Err(Stage::Restore), "{turn}");
    }
    count += 1;
    assert_eq!(stateful.send("restore:ok", "").await.count, count);
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
    assert_eq!(stateful.count().await, count + 1);
    stateful.fixture.wait_for_stores(1).await;
}

#[tokio::test]
async fn a_developer_gets_a_reset_with_its_reason_where_state_cannot_be_read() {
    let mut stateful = Stateful::start_in(singleton(), RuntimeConfig::for_dev()).await;
    stateful.send("restore:incompatible", "").await;
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Reset));
    let reason = next_event(&mut stateful.events, "lost state", |event| match event {
        EventKind::StateLost { reason, .. } => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("cannot read the state"), "{reason}");
    assert_eq!(
        stateful.send("count", "").await,
        Counted { count: 1, begun: "init".to_owned(), sent: String::new() }
    );
    // A fault is no other shape: there the old instance goes on.
    stateful.send("restore:error", "").await;
    assert_eq!(stateful.swap().await, Err(Stage::Restore));
    assert_eq!(stateful.count().await, 3);
}

#[tokio::test]
async fn a_swap_can_leave_the_state_behind_on_purpose() {
    let mut stateful = Stateful::start(singleton()).await;
    stateful.send("save:loop", "").await;
    let request = stateful.next().fresh();
    assert_eq!(stateful.request(request).await, Ok(StateOutcome::Reset));
    assert_eq!(stateful.count().await, 1);
}

#[tokio::test]
async fn a_component_without_state_takes_the_place_of_one_with_state_only_on_purpose() {
    let mut stateful = Stateful::start(singleton()).await;
    assert_eq!(stateful.count().await, 1);
    let echo = bytes(&guest("event_echo"));
    let request = SwapRequest::new(echo, "another component");
    assert_eq!(stateful.request(request.clone()).await, Err(Stage::Restore));
    assert_eq!(stateful.count().await, 2);
    assert_eq!(stateful.request(request.fresh()).await, Ok(StateOutcome::Reset));
}

#[tokio::test]
async fn requests_that_a_restore_sends_are_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let origin = wrt::HttpOrigin::parse(&url).unwrap();
    let settings = with(&[("url", &url)]).with_allowed_http(origin);
    let mut stateful = Stateful::start(settings).await;
    stateful.send("restore:send", "").await;
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
    let counted = stateful.send("restore:ok", "").await;
    assert!(counted.count == 2 && counted.sent.starts_with("refused"), "{counted:?}");
    let connected = listener.accept();
    assert!(futures::FutureExt::now_or_never(connected).is_none(), "a connection was made");
}

#[tokio::test]
async fn a_call_that_outstays_the_hand_over_keeps_the_old_version() {
    // Far longer than the test: only the drain of the last step ends the call.
    let settings = singleton().with_timeout(Duration::from_secs(600)).with_drain(STEP);
    let mut stateful = Stateful::start(settings).await;
    let endless = tokio::spawn({
        let handler = stateful.handler.clone();
        async move { handler.call(CloudEvent::new("1", "/test", "loop")).await }
    });
    crate::fixture::wait_until(|| stateful.handler.in_flight() == 1, || "a call inside".to_owned())
        .await;
    assert_eq!(stateful.swap().await, Err(Stage::Save));
    assert!(!endless.is_finished(), "a hand-over cuts nothing");
    let request = stateful.next().fresh();
    assert_eq!(stateful.request(request).await, Ok(StateOutcome::Reset));
    assert!(limited("the cut", endless).await.unwrap().is_err());
    assert_eq!(stateful.count().await, 1);
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
}

#[tokio::test]
async fn a_call_that_traps_takes_the_state_along_and_the_next_one_says_so() {
    let mut stateful = Stateful::start(singleton()).await;
    assert_eq!(stateful.count().await, 1);
    assert!(stateful.handler.call(CloudEvent::new("1", "/test", "trap")).await.is_err());
    assert_eq!(stateful.count().await, 1, "a new instance, from nothing");
    let (generation, reason) =
        next_event(&mut stateful.events, "lost state", |event| match event {
            EventKind::StateLost { generation, reason } => Some((generation.get(), reason)),
            _ => None,
        })
        .await;
    assert!(generation == 1 && reason.contains("a call ended"), "{generation}: {reason}");
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
    assert_eq!(stateful.count().await, 2);
}

#[tokio::test]
async fn a_client_that_leaves_takes_no_state_along() {
    let (fixture, handler) = Fixture::serving_as(singleton(), &guest("stateful_http")).await;
    let mut leaving = fixture.client().await;
    let request = tokio::spawn(async move { leaving.get("/?do=pause").await });
    crate::fixture::wait_until(|| handler.in_flight() == 1, || "a call inside".to_owned()).await;
    request.abort();
    let counted: Counted = serde_json::from_slice(&fixture.get("/").await.body).unwrap();
    assert_eq!(counted.count, 2, "the call of the one who left went on to its end");
    let event = guest("stateful");
    swapped(
        handler
            .request_swap(SwapRequest::new(bytes(&event), "events").fresh().as_other_kind())
            .await,
    );
    let call = CloudEvent::new("1", "/test", "pause");
    let calling = tokio::spawn({
        let handler = handler.clone();
        async move { handler.call(call).await }
    });
    crate::fixture::wait_until(|| handler.in_flight() == 1, || "a call inside".to_owned()).await;
    calling.abort();
    let answer = handler.call(CloudEvent::new("2", "/test", "count")).await.unwrap().unwrap();
    let counted: Counted = serde_json::from_slice(&answer.data.unwrap()).unwrap();
    assert_eq!(counted.count, 2);
    fixture.stop().await;
}

#[tokio::test]
async fn a_candidate_that_finds_no_place_is_refused_and_nobody_notices() {
    // As many places as the pool of instances has in spare, and one call beside them.
    const PLACES: usize = 257;
    let mut config = RuntimeConfig::default();
    config.max_concurrent_calls = 1;
    let fixture = Fixture::with(config).await;
    let component = guest("stateful");
    let names = (0..PLACES).map(|i| HandlerConfig::new(crate::fixture::name(&format!("h{i}"))));
    let singletons = names.map(|config| config.with_instances(InstanceMode::Singleton));
    let handlers = fixture.runtime.add_handlers(singletons).unwrap();
    for handler in &handlers {
        swapped(handler.load(bytes(&component)).await);
    }
    assert_eq!(fixture.runtime.live_stores(), PLACES);
    let call = |i: usize| handlers[i].call(CloudEvent::new("1", "/test", "count"));
    assert!(call(0).await.unwrap().is_some());
    let next = variant(&component, 2);
    let refused = handlers[0].swap(next.clone(), "one too many").await.unwrap_err();
    assert_eq!(refused.source.stage(), Stage::Init);
    assert_eq!(refused.serving, handlers[0].serving());
    assert!(call(0).await.unwrap().is_some() && call(PLACES - 1).await.unwrap().is_some());
    // As soon as there is a place, it comes in.
    assert!(fixture.runtime.remove(handlers[PLACES - 1].name()).is_some());
    fixture.wait_for_stores(PLACES - 1).await;
    swapped(handlers[0].swap(next, "there is room").await);
    fixture.stop().await;
}

#[tokio::test]
async fn an_init_that_fails_refuses_the_candidate() {
    for turn in ["error", "trap", "loop"] {
        for mode in [InstanceMode::Singleton, InstanceMode::Fresh, InstanceMode::pooled()] {
            let settings = with(&[("init", turn)]).with_timeout(STEP).with_instances(mode);
            let fixture = Fixture::start().await;
            let handler = fixture.runtime.add_handler(settings).unwrap();
            swapped(handler.load(bytes(&guest("event_echo"))).await);
            let before = handler.serving();
            let refused = handler.swap(bytes(&guest("stateful")), "a bad version").await;
            let refused = refused.unwrap_err();
            assert_eq!(refused.source.stage(), Stage::Init, "{turn} {mode:?}");
            assert_eq!((refused.serving, handler.serving()), (before, before));
            let event = CloudEvent::new("1", "/test", "ping");
            assert!(handler.call(event).await.unwrap().is_some(), "the old one answers");
            fixture.stop().await;
        }
    }
}

#[tokio::test]
async fn a_shutdown_that_fails_is_told_and_changes_nothing() {
    for (turn, outcome) in [("trap", true), ("loop", true), ("ok", false)] {
        let mut stateful = Stateful::start(with(&[("shutdown", turn)])).await;
        assert_eq!(stateful.count().await, 1);
        assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
        let is_told =
            next_event(&mut stateful.events, "the end of an instance", |event| match event {
                EventKind::CallFailed { outcome: "shutdown", generation, .. } => {
                    Some(generation.get() == 1)
                }
                EventKind::Log { message, .. } if message.starts_with("shutdown 1") => Some(false),
                _ => None,
            })
            .await;
        assert_eq!(is_told, outcome, "{turn}");
        assert_eq!(stateful.count().await, 2);
        stateful.fixture.stop().await;
    }
}

#[tokio::test]
async fn pooled_instances_begin_and_end_in_order() {
    let settings = config().with_instances(InstanceMode::pooled()).with_hand_over(STEP, MAX_STATE);
    let mut stateful = Stateful::start(settings).await;
    next_event(&mut stateful.events, "a word about the state", |event| match event {
        EventKind::Log { message, .. } if message.contains("singleton") => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(stateful.send("count", "").await.begun, "init");
    // Which instance a call gets is nobody's promise, so there is no state to lose.
    assert_eq!(stateful.swap().await, Ok(StateOutcome::None));
    next_event(&mut stateful.events, "the end of the warm instance", |event| match event {
        EventKind::Log { message, .. } if message.starts_with("shutdown") => Some(()),
        _ => None,
    })
    .await;
    stateful.fixture.stop().await;
}

#[tokio::test]
async fn rolling_back_takes_the_state_along_and_refuses_the_bytes_it_took_back() {
    let mut stateful = Stateful::start(singleton()).await;
    assert_eq!(stateful.count().await, 1);
    let second = stateful.next();
    assert_eq!(stateful.request(second.clone()).await, Ok(StateOutcome::Carried));
    assert_eq!(stateful.count().await, 2);
    let back = swapped(stateful.handler.rollback(None).await);
    assert_eq!(back.generation.get(), 3, "numbers only grow");
    let (generation, from) = next_event(&mut stateful.events, "a rollback", |event| match event {
        EventKind::RolledBack { generation, from, .. } => Some((generation.get(), from.get())),
        _ => None,
    })
    .await;
    assert_eq!((generation, from), (3, 2));
    assert_eq!(stateful.count().await, 3);
    assert_eq!(stateful.request(second).await, Err(Stage::Check));
    assert_eq!(stateful.swap().await, Ok(StateOutcome::Carried));
    assert_eq!(stateful.count().await, 4);
    let lost = stateful.handler.rollback(Some(wrt::GenerationNumber::new(77))).await.unwrap_err();
    assert!(lost.source.to_string().contains("generation 77"), "{}", lost.source);
}

#[tokio::test]
async fn a_version_that_fails_in_its_probation_is_taken_back() {
    let settings = config().with_probation(Duration::from_secs(3600), 2);
    let (fixture, handler) = Fixture::serving_as(settings, &plugin("hello")).await;
    let first = handler.serving().unwrap();
    let mut events = fixture.runtime.events();
    swapped(handler.swap(bytes(&guest("trap")), "a bad version").await);
    let mut n_failed = 0;
    let generation = limited("the rollback", async {
        while handler.serving().is_some_and(|it| it.digest != first.digest) {
            if fixture.get("/trap").await.status != 200 {
                n_failed += 1;
            }
        }
        handler.serving().unwrap().generation.get()
    })
    .await;
    assert!(n_failed >= 2, "{n_failed} calls failed");
    assert_eq!(generation, 3);
    let cause = next_event(&mut events, "a rollback", |event| match event {
        EventKind::RolledBack { from, .. } => Some(from.get()),
        _ => None,
    })
    .await;
    assert_eq!(cause, 2);
    assert_eq!(fixture.get("/").await.status, 200);
    let again = handler.swap(bytes(&guest("trap")), "the same again").await.unwrap_err();
    assert!(again.source.to_string().contains("was rolled back"), "{}", again.source);
}

#[tokio::test]
async fn a_version_that_passes_its_probation_is_confirmed() {
    let settings = config().with_probation(Duration::from_millis(50), 2);
    let (fixture, handler) = Fixture::serving_as(settings, &plugin("hello")).await;
    let mut events = fixture.runtime.events();
    swapped(handler.swap(bytes(&guest("trap")), "a version that is never called").await);
    let confirmed = next_event(&mut events, "a confirmation", |event| match event {
        EventKind::Confirmed { generation } if generation.get() == 2 => Some(generation),
        _ => None,
    })
    .await;
    assert_eq!(handler.confirm().await.unwrap().generation, confirmed);
}

#[tokio::test]
async fn a_candidate_that_fails_its_probe_is_refused() {
    let (fixture, handler) =
        Fixture::serving_as(config().with_probe("/trap"), &plugin("hello")).await;
    let before = handler.serving();
    let refused = handler.swap(bytes(&guest("trap")), "a bad version").await.unwrap_err();
    assert_eq!((refused.source.stage(), refused.serving), (Stage::Probe, before));
    assert_eq!(fixture.get("/").await.status, 200);
    swapped(handler.swap(variant(&plugin("hello"), 2), "a good version").await);
    // An event handler has no path that could be asked for.
    let events = SwapRequest::new(bytes(&guest("event_echo")), "events").as_other_kind();
    let refused = handler.request_swap(events).await.unwrap_err();
    assert!(wrt::chain(&refused.source).contains("no path to ask for"), "{:?}", refused.source);
}

#[tokio::test]
async fn the_counter_plugin_carries_on_counting_through_its_versions() {
    let (fixture, handler) = Fixture::serving_as(singleton(), &plugin("counter")).await;
    let mut client = fixture.client().await;
    let post = |path| http::Request::post(path);
    for expected in ["1", "2"] {
        assert_eq!(client.send(post("/"), bytes::Bytes::new()).await.text(), expected);
    }
    let mut events = fixture.runtime.events();
    for (version, state) in
        [("counter_v2", StateOutcome::Carried), ("counter_v3", StateOutcome::Migrated)]
    {
        let component = wrt_test_support::guests::plugin_example("counter", version).unwrap();
        swapped(handler.swap(Source::file(component), version).await);
        let found = next_event(&mut events, "a swap", |event| match event {
            EventKind::Swapped { state, .. } => Some(state),
            _ => None,
        })
        .await;
        assert_eq!(found, state, "{version}");
        let answer = client.send(post("/"), bytes::Bytes::new()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let answer = client.get("/").await;
    assert!(answer.text().contains('4'), "{}", answer.text());
    fixture.stop().await;
}
