//! Going back, and coming again: with which state, for which bytes, to which kind of component.

use std::time::Duration;

use wrt::events::{Stage, StateOutcome};
use wrt::{
    CloudEvent, Event, EventKind, EventReceiver, HandlerConfig, HandlerHandle, Hint as _,
    InstanceMode, Rejected, RollbackRequest, RuntimeConfig, Source, Swap, SwapRequest, chain,
};
use wrt_test_support::guests;

use crate::fixture::{Fixture, bytes, config, guest, next_event, plugin, swapped, variant};

fn singleton() -> HandlerConfig {
    config().with_instances(InstanceMode::Singleton)
}

/// What became of the state.
fn state(answer: Result<Swap, Rejected>) -> StateOutcome {
    match answer {
        Ok(Swap::Swapped { state, .. }) => state,
        other => panic!("expected a swap, found {other:?}"),
    }
}

fn example(name: &str) -> Source {
    Source::file(guests::plugin_example("counter", name).unwrap())
}

/// A handler that counts its POSTs, beginning with the plugin `counter`.
struct Counting {
    fixture: Fixture,
    handler: HandlerHandle,
    events: EventReceiver,
}

impl Counting {
    async fn start(config: HandlerConfig, runtime: RuntimeConfig) -> Self {
        let fixture = Fixture::with(runtime).await;
        let events = fixture.runtime.events();
        let handler = fixture.runtime.add_handler(config).unwrap();
        swapped(handler.load(bytes(&plugin("counter"))).await);
        Self { fixture, handler, events }
    }

    async fn post(&self) -> String {
        let mut client = self.fixture.client().await;
        let answer = client.send(http::Request::post("/"), bytes::Bytes::new()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().to_string()
    }

    async fn swap(&self, source: Source) -> StateOutcome {
        state(self.handler.swap(source, "a new version").await)
    }

    /// The next word about state that did not go on: the generation, whose state it has, and why.
    async fn loss(&mut self) -> (u64, Option<u64>, String) {
        next_event(&mut self.events, "a word about the state", |event| match event {
            EventKind::StateLost { generation, reason } => Some((generation.get(), None, reason)),
            EventKind::StateReverted { generation, of, reason } => {
                Some((generation.get(), Some(of.get()), reason))
            }
            _ => None,
        })
        .await
    }
}

#[tokio::test]
async fn version_that_cannot_read_the_state_of_now_goes_back_to_its_own() {
    let mut counting = Counting::start(singleton(), RuntimeConfig::default()).await;
    for expected in ["1", "2"] {
        assert_eq!(counting.post().await, expected);
    }
    assert_eq!(counting.swap(example("counter_v2")).await, StateOutcome::Carried);
    assert!(counting.post().await.starts_with("3, "));
    // Without probation, the new version is confirmed at once.
    assert!(counting.handler.status().is_confirmed);
    assert_eq!(state(counting.handler.rollback(None).await), StateOutcome::Reverted);
    let (generation, of, reason) = counting.loss().await;
    assert_eq!((generation, of), (3, Some(1)));
    assert!(reason.contains("`shown:u64` is gone"), "{reason}");
    assert_eq!(counting.post().await, "3");
    counting.fixture.stop().await;
}

#[tokio::test]
async fn rollback_that_would_lose_the_state_is_refused_until_that_is_asked_for() {
    let mut counting = Counting::start(singleton(), RuntimeConfig::default()).await;
    assert_eq!(counting.post().await, "1");
    // What is left behind on purpose does not come back.
    let fresh = SwapRequest::new(example("counter_v2"), "anew").fresh();
    assert_eq!(state(counting.handler.request_swap(fresh).await), StateOutcome::Reset);
    assert!(counting.post().await.starts_with("1, "));
    let before = counting.handler.serving();
    let refused = counting.handler.rollback(None).await.unwrap_err();
    assert_eq!((refused.serving, refused.source.stage()), (before, Stage::Restore));
    assert!(chain(&refused).contains("`shown:u64` is gone"), "{}", chain(&refused));
    let hints = refused.source.hints();
    assert!(hints.iter().any(|hint| hint.contains("`wrt rollback --fresh`")), "{hints:?}");
    assert!(counting.post().await.starts_with("2, "), "the state is as it was");
    let fresh = RollbackRequest::new(None).fresh();
    assert_eq!(state(counting.handler.request_rollback(fresh).await), StateOutcome::Reset);
    assert_eq!(counting.post().await, "1");
    // It was asked for, so nobody has to be told.
    let told = std::iter::from_fn(|| counting.events.try_recv().ok());
    let is_loss = |event: &Event| matches!(event.kind, EventKind::StateLost { .. });
    assert!(!told.into_iter().any(|event| is_loss(&event)));
    counting.fixture.stop().await;
}

#[tokio::test]
async fn state_that_an_edit_could_not_read_comes_back_with_the_code_that_can() {
    let mut counting = Counting::start(singleton(), RuntimeConfig::for_dev()).await;
    for expected in ["1", "2"] {
        assert_eq!(counting.post().await, expected);
    }
    assert_eq!(counting.swap(bytes(&guest("renamed"))).await, StateOutcome::Reset);
    let (generation, of, reason) = counting.loss().await;
    assert_eq!((generation, of), (2, None));
    assert!(reason.contains("`count:u64` is gone"), "{reason}");
    assert_eq!(counting.post().await, "1");
    // Several edits later the field has its old name again.
    assert_eq!(counting.swap(variant(&guest("renamed"), 2)).await, StateOutcome::Carried);
    assert_eq!(counting.post().await, "2");
    assert_eq!(counting.swap(variant(&plugin("counter"), 3)).await, StateOutcome::Reverted);
    let (generation, of, reason) = counting.loss().await;
    assert_eq!((generation, of), (4, Some(1)));
    assert!(reason.contains("`visits:u64` is gone"), "{reason}");
    assert_eq!(counting.post().await, "3");
    assert_eq!(counting.swap(variant(&guest("renamed"), 4)).await, StateOutcome::Reverted);
    assert_eq!(counting.post().await, "3", "what it had gathered is back as well");
    // Nor is it lost by code that keeps no state at all.
    assert_eq!(counting.swap(bytes(&plugin("hello"))).await, StateOutcome::Reset);
    assert_eq!(counting.swap(variant(&guest("renamed"), 5)).await, StateOutcome::Reverted);
    assert_eq!(counting.post().await, "4");
    counting.fixture.stop().await;
}

#[tokio::test]
async fn bad_version_that_was_taken_back_has_one_true_word_about_the_state() {
    let config = singleton().with_probation(Duration::from_secs(3600), 2);
    let fixture = Fixture::start().await;
    let handler = fixture.runtime.add_handler(config).unwrap();
    let component = guest("stateful");
    swapped(handler.load(bytes(&component)).await);
    let call = |order: &str| handler.call(CloudEvent::new("1", "/test", order));
    for _ in 0..3 {
        assert!(call("count").await.is_ok());
    }
    handler.confirm().await.unwrap();
    assert_eq!(
        state(handler.swap(variant(&component, 2), "a bad version").await),
        StateOutcome::Carried
    );
    let mut events = fixture.runtime.events();
    for _ in 0..2 {
        assert!(call("trap").await.is_err());
    }
    let found = next_event(&mut events, "a swap", |event| match event {
        EventKind::Swapped { generation, state, .. } => Some((generation.get(), state)),
        _ => None,
    })
    .await;
    // What the bad version began anew after its trap is not the handler's state.
    assert_eq!(found, (3, StateOutcome::Reverted));
    let (of, reason) = next_event(&mut events, "a word about the state", |event| match event {
        EventKind::StateReverted { generation, of, reason } if generation.get() == 3 => {
            Some((of.get(), reason))
        }
        EventKind::StateLost { generation, .. } if generation.get() == 3 => {
            panic!("the state was not lost")
        }
        _ => None,
    })
    .await;
    assert_eq!(of, 1);
    assert!(reason.contains("a call had ended the instance"), "{reason}");
    let answer = call("count").await.unwrap().unwrap();
    let text = String::from_utf8(answer.data.unwrap().to_vec()).unwrap();
    assert!(text.contains("\"count\":4"), "{text}");
    fixture.stop().await;
}

#[tokio::test]
async fn float_is_the_same_after_a_swap() {
    let (fixture, handler) = Fixture::serving_as(singleton(), &guest("renamed")).await;
    // A number that a quick reader of JSON takes for its neighbour.
    let ratio = "31.245270191439438";
    assert_eq!(fixture.get(&format!("/?ratio={ratio}")).await.status, 200);
    for number in 2..=3 {
        let swap = handler.swap(variant(&guest("renamed"), number), "new").await;
        assert_eq!(state(swap), StateOutcome::Carried);
        assert_eq!(fixture.get("/?ratio").await.text(), ratio);
    }
    fixture.stop().await;
}

#[tokio::test]
async fn memory_that_no_version_can_hand_over_is_told_when_it_goes() {
    let (fixture, handler) = Fixture::serving_as(singleton(), &plugin("hello")).await;
    let mut events = fixture.runtime.events();
    let swap = handler.swap(variant(&plugin("hello"), 2), "new").await;
    assert_eq!(state(swap), StateOutcome::Reset);
    let reason = next_event(&mut events, "lost state", |event| match event {
        EventKind::StateLost { generation, reason } if generation.get() == 2 => Some(reason),
        _ => None,
    })
    .await;
    assert!(reason.contains("does not export `wrt:plugin/state`"), "{reason}");
    fixture.stop().await;
}

#[tokio::test]
async fn each_rollback_goes_one_version_further() {
    let (fixture, handler) = Fixture::serving_as(config(), &plugin("hello")).await;
    for number in 2..=4 {
        swapped(handler.swap(variant(&plugin("hello"), number), "next").await);
    }
    for (generation, version) in [(5, 3), (6, 2)] {
        let back = swapped(handler.rollback(None).await);
        let digest = wrt::Digest::of(&guests::variant(&plugin("hello"), version));
        assert_eq!((back.generation.get(), back.digest), (generation, digest));
    }
    assert_eq!(swapped(handler.rollback(None).await).digest, wrt::Digest::of(&plugin("hello")));
    let refused = handler.rollback(None).await.unwrap_err();
    assert!(chain(&refused).contains("no generation before"), "{}", chain(&refused));
    fixture.stop().await;
}

#[tokio::test]
async fn bytes_that_were_rolled_back_come_again_when_they_are_asked_for() {
    let (fixture, handler) = Fixture::serving_as(config(), &plugin("hello")).await;
    let second = || SwapRequest::new(variant(&plugin("hello"), 2), "the second version");
    swapped(handler.request_swap(second()).await);
    swapped(handler.rollback(None).await);
    let refused = handler.request_swap(second()).await.unwrap_err();
    assert_eq!(refused.source.stage(), Stage::Check);
    let hints = refused.source.hints();
    assert!(hints.iter().any(|hint| hint.contains("`wrt swap --again`")), "{hints:?}");
    let again = swapped(handler.request_swap(second().again()).await);
    assert_eq!(again.generation.get(), 5);
    // They are as welcome as any other now.
    swapped(handler.swap(variant(&plugin("hello"), 3), "the third").await);
    swapped(handler.request_swap(second()).await);
    fixture.stop().await;
}

#[tokio::test]
async fn component_of_another_kind_is_refused_until_that_is_asked_for() {
    let (fixture, handler) = Fixture::serving_as(config(), &plugin("hello")).await;
    let mut events = fixture.runtime.events();
    let before = handler.serving();
    let echo = || SwapRequest::new(bytes(&guest("event_echo")), "events");
    let refused = handler.request_swap(echo()).await.unwrap_err();
    assert_eq!((refused.serving, refused.source.stage()), (before, Stage::Check));
    let text = chain(&refused);
    assert!(text.contains("takes events") && text.contains("takes HTTP requests"), "{text}");
    let hints = refused.source.hints();
    assert!(hints.iter().any(|hint| hint.contains("`wrt swap --as-other-kind`")), "{hints:?}");
    assert_eq!(fixture.get("/").await.status, 200);

    swapped(handler.request_swap(echo().as_other_kind()).await);
    let kinds = next_event(&mut events, "another kind", |event| match event {
        EventKind::KindChanged { generation, from, to } => Some((generation.get(), from, to)),
        _ => None,
    })
    .await;
    assert_eq!(kinds, (3, "HTTP requests", "events"));
    // Back is where it came from, so nobody has to ask twice.
    swapped(handler.rollback(None).await);
    assert_eq!(fixture.get("/").await.status, 200);
    fixture.stop().await;
}

#[tokio::test]
async fn developer_may_turn_a_handler_into_another_kind_and_is_told() {
    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    swapped(handler.load(bytes(&plugin("hello"))).await);
    let mut events = fixture.runtime.events();
    swapped(handler.swap(bytes(&guest("event_echo")), "an edit").await);
    let to = next_event(&mut events, "another kind", |event| match event {
        EventKind::KindChanged { to, .. } => Some(to),
        _ => None,
    })
    .await;
    assert_eq!(to, "events");
    fixture.stop().await;
}
