//! Plans: handlers are added, changed, re-routed and removed as one, while calls are under way.

use std::time::Duration;

use wrt::events::{PlanChange, PlanOutcome, PlanReport, StateOutcome};
use wrt::{
    AddError, Applied, Change, EventKind, HandlerConfig, Plan, Planned, Route, RuntimeConfig,
    TableError,
};
use wrt_test_support::history::{End, Outcome};
use wrt_test_support::load::{Load, LoadPlan, Shape};

use crate::fixture::{Fixture, bytes, guest, limited, name, next_event, plugin, wait_until};

/// Plans under load; the long version is a benchmark.
const PLANS: u64 = 60;

fn planned(handler: &str, route: &str, component: &[u8]) -> Planned {
    Planned::new(config(handler, route)).with_source(bytes(component))
}

fn config(handler: &str, route: &str) -> HandlerConfig {
    HandlerConfig::new(name(handler)).with_route(Route::parse(route).unwrap())
}

/// What became of each handler, in the order of their names.
fn changes(applied: &Applied) -> Vec<(&str, &'static str)> {
    let word = |change: &Change| match change {
        Change::Added => "added",
        Change::Unchanged => "unchanged",
        Change::Changed { .. } => "changed",
        Change::Removed => "removed",
        Change::Refused { .. } => "refused",
        _ => "?",
    };
    applied.handlers.iter().map(|(name, change)| (name.as_str(), word(change))).collect()
}

async fn apply(fixture: &Fixture, handlers: impl IntoIterator<Item = Planned>) -> Applied {
    let applying = fixture.runtime.apply(Plan::new(handlers), "a test asked");
    limited("a plan", applying).await.unwrap()
}

#[tokio::test]
async fn plan_adds_changes_and_removes() {
    let fixture = Fixture::start().await;
    let (reader, counter) = (guest("config_reader"), guest("counter"));
    let reads = |greeting: &str| {
        let config = config("reads", "/reads/*").with_config("greeting", greeting.into());
        Planned::new(config).with_source(bytes(&reader))
    };
    let counts = planned("counts", "/counts/*", &counter);
    let first = apply(&fixture, [reads("hello"), counts.clone()]).await;
    assert_eq!(changes(&first), [("counts", "added"), ("reads", "added")]);
    assert_eq!(fixture.get("/reads/?key=greeting").await.text(), "hello");

    let mut events = fixture.runtime.events();
    let compared = fixture.runtime.compare(&Plan::new([reads("hi")])).unwrap();
    let keys = PlanChange::Changed { keys: vec!["config"], state: None };
    let expected = [(name("counts"), PlanChange::Removed), (name("reads"), keys)];
    assert_eq!(compared.changes, expected.into());
    assert_eq!(fixture.get("/reads/?key=greeting").await.text(), "hello", "nothing is done");
    let second = apply(&fixture, [reads("hi"), counts.clone()]).await;
    assert_eq!(changes(&second), [("counts", "unchanged"), ("reads", "changed")]);
    let told = next_event(&mut events, "an event of the plan", |event| match event {
        EventKind::Plan(PlanReport { outcome, changes, error: None, .. }) => {
            Some((outcome, changes))
        }
        _ => None,
    });
    let (outcome, told) = told.await;
    let (keys, state) = (vec!["config"], Some(StateOutcome::None));
    let keys = PlanChange::Changed { keys, state };
    assert_eq!(
        (outcome, told.into_iter().collect::<Vec<_>>()),
        (PlanOutcome::Applied, vec![(name("reads"), keys)])
    );
    assert_eq!(fixture.get("/reads/?key=greeting").await.text(), "hi");

    let moved = planned("counts", "/moved", &counter);
    let third = apply(&fixture, [moved.clone()]).await;
    assert_eq!(changes(&third), [("counts", "changed"), ("reads", "removed")]);
    assert_eq!(fixture.get("/reads/").await.status, 404);
    assert_eq!(fixture.get("/counts/").await.status, 404);
    assert_eq!(fixture.get("/moved").await.status, 200);
    assert!(fixture.runtime.handler(&name("reads")).is_err());
    assert!(apply(&fixture, [moved]).await.is_unchanged());
}

#[tokio::test]
async fn plan_that_cannot_be_changes_nothing() {
    let fixture = Fixture::start().await;
    let component = guest("counter");
    let good = planned("one", "/one", &component);
    apply(&fixture, [good.clone()]).await;
    let mut events = fixture.runtime.events();
    let (two, same) = (planned("two", "/two", &component), planned("three", "/two", &component));
    let route = fixture.runtime.apply(Plan::new([two.clone(), same]), "a test asked").await;
    assert!(matches!(route, Err(AddError::Taken(TableError::SameRoute { .. }))), "{route:?}");
    let error = next_event(&mut events, "an event of the plan", |event| match event {
        EventKind::Plan(PlanReport { outcome: PlanOutcome::Refused, error, .. }) => error,
        _ => None,
    });
    assert_eq!(error.await, "handlers `two` and `three` both have the route `/two`");
    let twice = fixture.runtime.apply(Plan::new([two.clone(), two.clone()]), "a test asked").await;
    assert!(matches!(twice, Err(AddError::Taken(TableError::SameName { .. }))), "{twice:?}");
    let zero = Planned::new(config("one", "/one").with_timeout(Duration::ZERO));
    let zero = fixture.runtime.apply(Plan::new([two, zero]), "a test asked").await;
    assert!(matches!(zero, Err(AddError::Config { .. })), "{zero:?}");
    assert_eq!(fixture.runtime.handlers().len(), 1);
    assert_eq!(fixture.get("/one").await.status, 200);
    assert_eq!(fixture.get("/two").await.status, 404);
    assert!(apply(&fixture, [good]).await.is_unchanged());
}

#[tokio::test]
async fn part_of_a_plan_that_is_refused_keeps_what_serves_and_costs_the_others_nothing() {
    let fixture = Fixture::start().await;
    let component = guest("config_reader");
    let good = planned("good", "/good", &component);
    apply(&fixture, [good.clone(), planned("other", "/other", &component)]).await;
    let before = fixture.runtime.handler(&name("good")).unwrap().serving();
    // The component answers this path with 404.
    let probed = Planned::new(config("good", "/better").with_probe("/?key=nothing"));
    let other = planned("other", "/elsewhere", &component);
    let applied = apply(&fixture, [probed, other.clone()]).await;
    assert_eq!(changes(&applied), [("good", "refused"), ("other", "changed")]);
    assert_eq!(applied.refused().next().unwrap().serving, before);
    assert_eq!(fixture.runtime.handler(&name("good")).unwrap().serving(), before);
    assert_eq!(fixture.get("/better?key=x").await.status, 404, "no setting of that name");
    assert_eq!(fixture.get("/elsewhere").await.status, 400);
    // What was refused is gone with the next plan.
    let good = planned("good", "/good", &component);
    assert_eq!(
        changes(&apply(&fixture, [good, other]).await),
        [("good", "changed"), ("other", "unchanged")]
    );
}

#[tokio::test]
async fn calls_that_wait_take_the_places_that_a_plan_gives() {
    let fixture = Fixture::start().await;
    let component = plugin("echo-stream");
    let with = |concurrency| {
        let config = config("h", "/*").with_concurrency(concurrency);
        Planned::new(config).with_source(bytes(&component))
    };
    apply(&fixture, [with(1)]).await;
    let mut client = fixture.client().await;
    let (feed, mut answer) = client.upload("/", "held").await;
    assert_eq!(answer.read_until("held").await, "held");
    let mut second = Box::pin(fixture.get("/"));
    let waits = tokio::time::timeout(Duration::from_millis(100), second.as_mut()).await;
    assert!(waits.is_err(), "the only place is taken");
    let applied = apply(&fixture, [with(2)]).await;
    let keys = match &applied.handlers[&name("h")] {
        Change::Changed { keys, .. } => keys.clone(),
        other => panic!("expected a change, found {other:?}"),
    };
    assert_eq!(keys, ["concurrency"]);
    assert_eq!(limited("the call that waited", second).await.status, 200);
    drop(feed);
    assert_eq!(answer.whole().await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_plans_change_everything_around_it() {
    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    let (hello, counter) = (plugin("echo-stream"), guest("counter"));
    // One route goes from handler to handler, another one's settings change, and others come and go.
    let plan = |n: u64| {
        let owner = if n.is_multiple_of(2) { "even" } else { "odd" };
        let mut stays = config("stays", "/stays/*").with_config("n", n.to_string().as_str().into());
        if n.is_multiple_of(3) {
            stays = stays.with_concurrency(50);
        }
        let guest = format!("guest-{}", n % 5);
        [
            planned(owner, "/moves/*", &counter),
            Planned::new(stays).with_source(bytes(&hello)),
            planned(&guest, &format!("/{guest}"), &counter),
        ]
    };
    apply(&fixture, plan(0)).await;
    let shapes = vec![Shape::get("/moves/"), Shape::post("/stays/", 3000)];
    let load = Load::start(LoadPlan { n_connections: 8, ..LoadPlan::new(fixture.address, shapes) });
    for n in 1..=PLANS {
        let applied = apply(&fixture, plan(n)).await;
        assert_eq!(applied.refused().count(), 0, "{applied:?}");
        if n.is_multiple_of(7) {
            let broken = [planned("a", "/x", &counter), planned("b", "/x", &counter)];
            assert!(fixture.runtime.apply(Plan::new(broken), "a broken one").await.is_err());
        }
        let enough = load.n_ended() + 16;
        wait_until(|| load.n_ended() >= enough, || format!("{enough} calls")).await;
    }
    let result = limited("the calls under way", load.stop()).await.unwrap();
    let calls = result.connections.iter().flat_map(|connection| &connection.calls);
    let failed: Vec<_> = calls
        .filter(|call| {
            let answered = |end: &End| matches!(end.outcome, Outcome::Answered(..400));
            !call.end.as_ref().is_some_and(answered)
        })
        .take(5)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(result.n_reconnects, 0, "the server closed connections");
    assert_eq!(fixture.stop().await, 0);
}
