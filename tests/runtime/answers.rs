//! Answers that break: the client sees it, it is told once, and it counts.

use std::time::Duration;

use wrt::{EventKind, HandlerConfig, HandlerHandle, InstanceMode, RuntimeConfig};
use wrt_test_support::guests::with_wasi_alone;

use crate::client::{Client, Protocol};
use crate::fixture::{
    Fixture, bytes, config, guest, label, next_event, next_failed, swapped, variant,
};

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

fn modes() -> [InstanceMode; 3] {
    [InstanceMode::Fresh, InstanceMode::pooled(), InstanceMode::Singleton]
}

/// Memory that a hostile guest has used up soon.
fn bounded() -> HandlerConfig {
    config().with_memory(16 << 20)
}

/// A timeout that is waited for.
fn impatient() -> HandlerConfig {
    bounded().with_timeout(Duration::from_secs(1))
}

async fn serving_03(config: HandlerConfig) -> (Fixture, HandlerHandle) {
    let mut runtime = RuntimeConfig::default();
    runtime.wasi03 = true;
    runtime.expose_generation = true;
    let fixture = Fixture::with(runtime).await;
    let handler = fixture.runtime.add_handler(config).unwrap();
    swapped(handler.load(bytes(&guest("http03"))).await);
    (fixture, handler)
}

/// Sends requests to `path`, of which the guest breaks the answers after their heads, by both versions of
/// HTTP; each failure has to be told as `outcome`.
async fn breaks(fixture: &Fixture, path: &str, outcome: &str) {
    for protocol in PROTOCOLS {
        let mut events = fixture.runtime.events();
        let mut client = Client::connect_by(protocol, fixture.address).await;
        let (feed, mut answer) = client.upload(path, "of the client").await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.read_until("half of it").await, "half of it");
        drop(feed);
        let rest = answer.whole().await;
        assert!(rest.is_err(), "{path} by {protocol:?} looks whole: {rest:?}");
        let failed = next_failed(&mut events).await;
        assert_eq!((failed.outcome, failed.answered), (outcome, true), "{path}: {}", failed.error);
        // Nothing else was told meanwhile, and the handler answers.
        assert_eq!(fixture.get("/none-such?").await.status, 200);
        let more = std::iter::from_fn(|| events.try_recv().ok());
        let n_failed =
            more.filter(|event| matches!(event.kind, EventKind::CallFailed { .. })).count();
        assert_eq!(n_failed, 0, "{path} by {protocol:?} is told twice");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamed_answer_that_breaks_is_broken_off_told_and_counted() {
    let whole = guest("broken_answer");
    for mode in modes() {
        // Streams go by WASI's way whichever export was called; each is called once here.
        let is_fresh = mode == InstanceMode::Fresh;
        let component = if is_fresh { with_wasi_alone(&whole) } else { whole.clone() };
        let (fixture, _) = Fixture::serving_as(bounded().with_instances(mode), &component).await;
        for (then, outcome) in
            [("panic", "trap"), ("exit", "trap"), ("grow", "memory"), ("error", "guest")]
        {
            breaks(&fixture, &format!("/?then={then}"), outcome).await;
        }
        breaks(&fixture, "/?then=panic&length=100", "trap").await;
        let config = impatient().with_instances(mode);
        let (fixture, _) = Fixture::serving_as(config, &component).await;
        let then = if is_fresh { "wait" } else { "loop" };
        breaks(&fixture, &format!("/?then={then}"), "deadline").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_by_wasi_alone_is_whole_only_when_it_was_finished() {
    for mode in modes() {
        let (fixture, _) =
            Fixture::serving_as(bounded().with_instances(mode), &guest("raw_answer")).await;
        for (then, outcome) in [("panic", "trap"), ("drop", "guest"), ("forget", "guest")] {
            breaks(&fixture, &format!("/?then={then}"), outcome).await;
        }
        for protocol in PROTOCOLS {
            let mut events = fixture.runtime.events();
            for (path, fails) in [("/?then=finish", false), ("/?then=finish-panic", true)] {
                let mut client = Client::connect_by(protocol, fixture.address).await;
                let (feed, mut answer) = client.upload(path, "of the client").await;
                assert_eq!(answer.read_until("half of it").await, "half of it");
                drop(feed);
                assert_eq!(answer.whole().await.unwrap().text(), "", "{path}");
                if fails {
                    let failed = next_failed(&mut events).await;
                    assert_eq!((failed.outcome, failed.answered), ("trap", true));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answer_of_wasi_03_that_breaks_is_broken_off_told_and_counted() {
    for mode in modes() {
        let (fixture, _) = serving_03(impatient().with_instances(mode)).await;
        for (then, outcome) in [("panic", "trap"), ("error", "guest"), ("loop", "deadline")] {
            breaks(&fixture, &format!("/?then={then}"), outcome).await;
        }
        let mut client = fixture.client().await;
        let (feed, mut answer) = client.upload("/?then=finish", "of the client").await;
        assert_eq!(answer.read_until("half of it").await, "half of it");
        drop(feed);
        assert_eq!(answer.whole().await.unwrap().text(), "");
    }
}

#[tokio::test]
async fn guest_that_fails_before_anything_was_sent_is_answered_with_a_status() {
    /// The guest is interrupted now and then, just after it has set its answer; not as often.
    const TRIES: usize = 50;

    let (fixture, _) = Fixture::serving_as(bounded(), &guest("raw_answer")).await;
    for (then, outcome) in [("panic", "trap"), ("drop", "guest"), ("forget", "guest")] {
        let mut had_status = false;
        for _ in 0..TRIES {
            let mut events = fixture.runtime.events();
            // Without a body to wait for, it is done before its answer is looked at.
            let mut client = fixture.client().await;
            let answer = client.stream(&format!("/?then={then}")).await;
            had_status = answer.status() == 500;
            assert_eq!(answer.whole().await.is_ok(), had_status, "{then}");
            let failed = next_failed(&mut events).await;
            assert_eq!((failed.outcome, failed.answered), (outcome, !had_status), "{then}");
            if had_status {
                break;
            }
        }
        assert!(had_status, "{then}");
    }
    let mut events = fixture.runtime.events();
    let answer = fixture.get("/?then=finish-panic").await;
    assert_eq!((answer.status, answer.text()), (200, "half of it"));
    let failed = next_failed(&mut events).await;
    assert_eq!((failed.outcome, failed.answered), ("trap", true));
    assert_eq!(fixture.get("/?then=finish").await.text(), "half of it");
    assert_eq!(fixture.get("/empty").await.text(), "");
}

#[tokio::test]
async fn answer_that_is_longer_or_shorter_than_it_says_is_no_answer() {
    let (fixture, _) = Fixture::serving_as(bounded(), &guest("broken_answer")).await;
    breaks(&fixture, "/?then=nothing&length=100", "guest").await;
    breaks(&fixture, "/?then=nothing&length=12", "guest").await;
}

#[tokio::test]
async fn answer_that_the_drain_deadline_cuts_is_broken_off_and_not_counted() {
    let component = guest("broken_answer");
    // A singleton is not replaced while it is busy.
    for mode in [InstanceMode::Fresh, InstanceMode::pooled()] {
        let config = config().with_drain(Duration::from_millis(50)).with_instances(mode);
        let (fixture, handler) = Fixture::serving_as(config, &component).await;
        let mut client = fixture.client().await;
        let (_feed, mut answer) = client.upload("/?then=wait", "of the client").await;
        assert_eq!(answer.read_until("half of it").await, "half of it");
        let mut events = fixture.runtime.events();
        swapped(handler.swap(variant(&component, 2), "new").await);
        assert!(answer.whole().await.is_err());
        let failed = next_failed(&mut events).await;
        assert_eq!((failed.outcome, failed.answered), ("cut", true));
    }
}

#[tokio::test]
async fn version_that_breaks_its_answers_does_not_pass_its_probation() {
    let component = guest("broken_answer");
    for mode in modes() {
        let config = config().with_instances(mode).with_probation(Duration::from_secs(3600), 3);
        let (fixture, handler) = Fixture::serving_as(config, &component).await;
        handler.confirm().await.unwrap();
        let first = handler.serving().unwrap();
        let second = swapped(handler.swap(variant(&component, 2), "breaks").await);
        let mut events = fixture.runtime.events();
        for _ in 0..3 {
            let mut client = fixture.client().await;
            let (feed, mut answer) = client.upload("/?then=panic", "of the client").await;
            assert_eq!(answer.generation(), label(second));
            answer.read_until("half of it").await;
            drop(feed);
            assert!(answer.whole().await.is_err());
        }
        next_event(&mut events, "the way back", |event| match event {
            EventKind::RolledBack { .. } => Some(()),
            _ => None,
        })
        .await;
        assert_eq!(handler.serving().unwrap().digest, first.digest);
    }
}
