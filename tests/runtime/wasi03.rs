//! HTTP handlers of WASI 0.3: served where the runtime opts in, refused with the way out elsewhere.

use http::Request;
use wrt::config::InstanceMode;
use wrt::events::Stage;
use wrt::{EventKind, Hint as _, RuntimeConfig, chain};

use crate::fixture::{
    Fixture, bytes, config, guest, label, next_drained, next_event, swapped, variant,
};

/// A runtime that opts in and names the generation in each answer.
async fn opted_in() -> Fixture {
    let mut config = RuntimeConfig::default();
    config.expose_generation = true;
    config.wasi03 = true;
    Fixture::with(config).await
}

#[tokio::test]
async fn handler_of_wasi_03_answers_and_swaps_both_ways_with_one_of_wasi_02() {
    let fixture = opted_in().await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let component = guest("http03");
    let first = swapped(handler.load(bytes(&component)).await);
    let mut client = fixture.client().await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.text()), (200, "ok from 0.3"));
    assert_eq!(answer.generation(), label(first));

    let body = "all of it ".repeat(50_000);
    let answer = client.send(Request::post("/"), body.clone().into()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.body == body, "{} bytes came back of {}", answer.body.len(), body.len());

    swapped(handler.swap(bytes(&guest("trap")), "back to 0.2").await);
    assert_eq!(client.get("/").await.text(), "ok");
    let third = swapped(handler.swap(variant(&component, 3), "0.3 again").await);
    let answer = client.get("/").await;
    assert_eq!((answer.text(), answer.generation()), ("ok from 0.3", &*label(third)));
    fixture.wait_for_stores(0).await;
    assert_eq!(fixture.stop().await, 0);
}

#[tokio::test]
async fn exchange_of_wasi_03_under_way_completes_on_its_own_generation() {
    let fixture = opted_in().await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let component = guest("http03");
    let first = swapped(handler.load(bytes(&component)).await);
    let mut events = fixture.runtime.events();
    let mut client = fixture.client().await;
    let (feed, mut answer) = client.upload("/", "before").await;
    assert_eq!(answer.read_until("before").await, "before");

    let second = swapped(handler.swap(variant(&component, 2), "new").await);
    assert_eq!(fixture.get("/").await.generation(), label(second));
    feed.send("after");
    assert_eq!(answer.read_until("after").await, "after");
    drop(feed);
    assert_eq!(answer.generation(), label(first));
    assert_eq!(answer.whole().await.unwrap().text(), "");
    assert_eq!(next_drained(&mut events).await, (first.generation.get(), 0));
    fixture.wait_for_stores(0).await;
}

#[tokio::test]
async fn pooled_instance_of_wasi_03_serves_calls_at_once() {
    let fixture = opted_in().await;
    let config = config().with_instances(InstanceMode::pooled());
    let handler = fixture.runtime.add_handler(config).unwrap();
    let component = guest("http03");
    let first = swapped(handler.load(bytes(&component)).await);
    assert_eq!(fixture.get("/").await.text(), "ok from 0.3");
    // The instance of the first call waits for more.
    fixture.wait_for_stores(1).await;

    let mut calls = Vec::new();
    for _ in 0..5 {
        let mut client = fixture.client().await;
        let (feed, mut answer) = client.upload("/", "before").await;
        assert_eq!(answer.read_until("before").await, "before");
        calls.push((client, feed, answer));
    }
    // Five calls are under way, and none has a store of its own.
    assert_eq!(fixture.runtime.live_stores(), 1);

    let second = swapped(handler.swap(variant(&component, 2), "new").await);
    assert_eq!(fixture.get("/").await.generation(), label(second));
    for (_client, feed, mut answer) in calls {
        feed.send("after");
        assert_eq!(answer.read_until("after").await, "after");
        drop(feed);
        assert_eq!(answer.generation(), label(first));
        assert_eq!(answer.whole().await.unwrap().text(), "");
    }
    // Of the first generation nothing is left; the second keeps one instance for the next call.
    fixture.wait_for_stores(1).await;
    assert_eq!(fixture.stop().await, 0);
}

#[tokio::test]
async fn handler_of_wasi_03_is_refused_without_the_opt_in_and_the_active_one_serves_on() {
    let (fixture, handler) = Fixture::serving(&guest("trap")).await;
    let mut events = fixture.runtime.events();
    let serving = handler.serving();
    let swap = handler.swap(bytes(&guest("http03")), "0.3");
    let rejected = swap.await.expect_err("it was accepted");
    assert_eq!(rejected.serving, serving);
    assert_eq!(rejected.source.stage(), Stage::Check);
    let said = chain(&rejected.source);
    assert!(said.contains("`wasi:http/types@0.3."), "{said}");
    let hint = "set `host.wasi03 = true` in the manifest to allow WASI 0.3";
    assert_eq!(rejected.source.hints(), [hint]);
    let told = next_event(&mut events, "the rejection", |event| match event {
        EventKind::Rejected { stage, hints, serving, .. } => Some((stage, hints, serving)),
        _ => None,
    });
    assert_eq!(told.await, (Stage::Check, vec![hint.to_owned()], serving));
    assert_eq!(fixture.get("/").await.text(), "ok");
    assert_eq!(handler.serving(), serving);
}

/// An event handler that imports a function of `interface`.
fn importing(interface: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            (import "{interface}" (instance (export "handle" (func))))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "handle")))
            (instance $e (export "handle" (func $f)))
            (export "wrt:plugin/handler@0.1.0" (instance $e)))"#
    );
    wat::parse_str(text).unwrap()
}

#[tokio::test]
async fn what_is_not_offered_of_wasi_03_is_told_the_same_with_and_without_the_opt_in() {
    for fixture in [opted_in().await, Fixture::start().await] {
        let handler = fixture.runtime.add_handler(config()).unwrap();
        for (interface, offered, hint) in [
            (
                "wasi:http/handler@0.3.0",
                "of that package, this runtime provides `client`, `types` in version 0.3.0",
                "compose it with the handler that it wraps",
            ),
            (
                "wasi:http/types@0.3.0-rc-2026-01-06",
                "this runtime provides 0.3.0",
                "build it again with a toolchain for WASI 0.3.0",
            ),
            (
                "wasi:sockets/tcp@0.3.0",
                "of that package, this runtime provides `ip-name-lookup`, `types` in version 0.3.0",
                "build against the offered version",
            ),
            (
                "wasi:keyvalue/store@0.2.0-draft",
                "this runtime provides nothing of that name",
                "remove the dependency",
            ),
        ] {
            let rejected = handler.load(bytes(&importing(interface))).await.unwrap_err();
            assert_eq!(rejected.source.stage(), Stage::Check);
            let said = chain(&rejected.source);
            let named = format!("import `{interface}` is not provided ({offered}");
            assert!(said.contains(&named), "`{named}` is not in `{said}`");
            let hints = rejected.source.hints().join("; ");
            assert!(hints.contains(hint) && !hints.contains("wasi03"), "{hints}");
        }
        // Where it is only compiled, for a later start, the same is said.
        let candidate = bytes(&importing("wasi:http/types@0.3.0-rc-2026-01-06"));
        let error = fixture.runtime.precompile(candidate, false).await.unwrap_err();
        assert!(error.to_string().contains("this runtime provides 0.3.0"), "{error}");
        assert_eq!(fixture.stop().await, 0);
    }
}
