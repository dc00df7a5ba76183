//! Settings that change while calls are under way: a swap like any other, and a part of each version.

use std::time::Instant;

use wrt::config::ConfigValue;
use wrt::{HandlerHandle, Plan, Planned, RollbackRequest, RuntimeConfig, Settings, SwapRequest};
use wrt_test_support::history::{History, Milestone};
use wrt_test_support::load::{Load, LoadPlan, Shape};

use crate::fixture::{
    Fixture, bytes, config, guest, label, limited, name, plugin, swapped, wait_until,
};

/// Changes of settings under load; the long version is a benchmark.
const CHANGES: u64 = 50;

fn greets(settings: &Settings, greeting: &str) -> Settings {
    let mut settings = settings.clone();
    settings.config.insert("greeting".to_owned(), ConfigValue::plain(greeting));
    settings
}

async fn change(handler: &HandlerHandle, settings: Settings) -> wrt::Serving {
    swapped(handler.request_swap(SwapRequest::settings(settings, "a test asked")).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_settings_change() {
    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let component = plugin("echo-stream");
    swapped(handler.load(bytes(&component)).await);
    let shapes = vec![Shape::get("/"), Shape::post("/echo", 3000)];
    let plan = LoadPlan { n_connections: 8, ..LoadPlan::new(fixture.address, shapes) };
    let load = Load::start(plan);
    let mut milestones = Vec::new();
    for number in 1..=CHANGES {
        let serving = change(&handler, greets(&handler.settings(), &number.to_string())).await;
        let generation = label(serving).parse().unwrap();
        milestones.push(Milestone::Published { at: Instant::now(), generation });
        let enough = load.n_ended() + 16;
        wait_until(|| load.n_ended() >= enough, || format!("{enough} calls")).await;
    }
    let result = limited("the calls under way", load.stop()).await.unwrap();
    let report = History { connections: result.connections, milestones }.check();
    assert!(report.is_clean(), "{report}");
    assert!(report.n_generations as u64 >= CHANGES, "{report}");
    assert_eq!(fixture.stop().await, 0);
}

#[tokio::test]
async fn guest_reads_the_settings_of_its_version_and_a_rollback_brings_them_back() {
    let (fixture, handler) = Fixture::serving_as(
        config().with_config("greeting", "hello".into()),
        &guest("config_reader"),
    )
    .await;
    let first = handler.serving().unwrap();
    let says = async || fixture.get("/?key=greeting").await.text().to_owned();
    assert_eq!(says().await, "hello");
    let second = change(&handler, greets(&handler.settings(), "hi")).await;
    assert_eq!(says().await, "hi");
    assert_eq!(second.digest, first.digest, "the component is the same");
    let back = RollbackRequest::new(Some(first.generation));
    let third = swapped(handler.request_rollback(back).await);
    assert_eq!(says().await, "hello");
    assert_eq!(third.generation.get(), 3);
    let changed = change(&handler, Settings::default()).await;
    assert_eq!(fixture.get("/?key=greeting").await.status, 404);
    assert_eq!(handler.serving(), Some(changed));
}

#[tokio::test]
async fn rollback_brings_no_secret_back_that_was_changed_since() {
    let with = |greeting: &str, token: &str| {
        config()
            .with_config("greeting", greeting.into())
            .with_config("token", ConfigValue::secret(token))
    };
    let fixture = Fixture::start().await;
    let plan =
        |config| Plan::new([Planned::new(config).with_source(bytes(&guest("config_reader")))]);
    for (greeting, token) in [("hello", "old"), ("hi", "old"), ("hi", "new")] {
        let applied = fixture.runtime.apply(plan(with(greeting, token)), "a test asked").await;
        assert_eq!(applied.unwrap().refused().count(), 0);
        assert_eq!(fixture.get("/?key=token").await.text(), token);
    }
    let handler = fixture.runtime.handler(&name("h")).unwrap();
    let back = RollbackRequest::new(Some(wrt::GenerationNumber::FIRST));
    swapped(handler.request_rollback(back).await);
    assert_eq!(fixture.get("/?key=greeting").await.text(), "hello");
    assert_eq!(fixture.get("/?key=token").await.text(), "new");
    fixture.stop().await;
}

#[tokio::test]
async fn settings_that_the_component_cannot_run_with_are_refused() {
    let (fixture, handler) = Fixture::serving(&guest("config_reader")).await;
    let before = handler.serving();
    // It has no such path.
    let mut probed = handler.settings();
    probed.probe = Some("/?key=nothing".to_owned());
    let refused = handler.request_swap(SwapRequest::settings(probed, "a test asked")).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.serving, before);
    assert_eq!(handler.serving(), before);
    assert_eq!(handler.settings(), Settings::default());
    assert_eq!(fixture.get("/?key=x").await.status, 404);
}
