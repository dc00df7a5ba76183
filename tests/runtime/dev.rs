//! Dev sessions of an embedder: what happens to a source is told, answered and run, by the library alone.

use std::fs;
use std::path::Path;

use serde_json::Value;
use wrt::dev::{Options, Session, Source, WatchedSource};
use wrt::{EventReceiver, RuntimeConfig};
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;

use crate::fixture::{Fixture, config, guest, limited, wait_until};

/// What is told until the next event `last`, that event included, in the form that all sinks have.
async fn told_until(events: &mut EventReceiver, last: &str) -> Vec<Value> {
    limited(last, async {
        let mut told = Vec::new();
        loop {
            let event = serde_json::to_value(events.recv().await.unwrap()).unwrap();
            let is_last = event["event"] == last;
            told.push(event);
            if is_last {
                return told;
            }
        }
    })
    .await
}

/// The next event `wanted`.
async fn next(events: &mut EventReceiver, wanted: &str) -> Value {
    told_until(events, wanted).await.pop().unwrap()
}

fn names(told: &[Value]) -> Vec<&str> {
    told.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

fn put(path: &Path, bytes: &[u8]) {
    WriteStyle::Rename.write(path, bytes).unwrap();
}

#[tokio::test]
async fn failed_build_is_told_and_answered_and_the_next_one_is_run() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("src")).unwrap();
    let component = guests::guest("trap").unwrap();
    let source = Source::Command {
        command: format!(
            "if [ -e src/good ]; then echo mind the gap >&2; cp '{}' out.wasm; \
             else echo no such tool >&2; exit 3; fi",
            component.display()
        ),
        dir: dir.path().to_owned(),
        output: "out.wasm".into(),
        watch: vec!["src".into()],
    };
    let fixture = Fixture::with(RuntimeConfig::for_dev()).await;
    let mut events = fixture.runtime.events();
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let session = Session::start(vec![WatchedSource::new(handler, source)], Options::default());

    let told = told_until(&mut events, "build-failed").await;
    assert_eq!(names(&told), ["building", "build-failed"]);
    let failed = &told[1];
    assert_eq!((&failed["handler"], &failed["cause"]), (&"h".into(), &"first build".into()));
    assert_eq!(failed["diagnostics"][0]["text"], "no such tool");
    assert!(failed["serving"].is_null(), "{failed}");
    let answer = fixture.get("/").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("no such tool"), "{}", answer.text());

    fs::write(dir.path().join("src/good"), "").unwrap();
    let told = told_until(&mut events, "swapped").await;
    assert_eq!(names(&told), ["changed", "building", "built", "staged", "swapped"]);
    assert_eq!(told[0]["paths"], serde_json::json!(["src/good"]));
    assert_eq!(told[2]["warnings"][0]["text"], "mind the gap");
    assert_eq!(told[4]["cause"], told[0]["cause"]);
    assert_eq!(fixture.get("/").await.status, 200);
    session.end().await;
    fixture.stop().await;
}

#[tokio::test]
async fn file_that_is_missing_is_told_and_each_that_comes_is_run() {
    let dir = tempfile::tempdir().unwrap();
    let (path, component) = (dir.path().join("x.wasm"), guest("trap"));
    let fixture = Fixture::start().await;
    let mut events = fixture.runtime.events();
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let watched = WatchedSource::new(handler.clone(), Source::Wasm { path: path.clone() });
    let session = Session::start(vec![watched], Options::default());

    let told = told_until(&mut events, "rejected").await;
    assert_eq!(names(&told), ["rejected"]);
    assert_eq!(told[0]["stage"], "read");
    assert_eq!(told[0]["error"], format!("`{}` does not exist", path.display()));
    assert_eq!(told[0]["hints"], serde_json::json!(["it is picked up as soon as it is there"]));

    put(&path, &component);
    assert_eq!(next(&mut events, "swapped").await["cause"], "`x.wasm` appeared");
    assert_eq!(fixture.get("/").await.status, 200);
    put(&path, &guests::variant(&component, 2));
    assert_eq!(next(&mut events, "swapped").await["cause"], "`x.wasm` was replaced");
    assert_eq!(handler.serving().unwrap().generation.get(), 2);
    session.end().await;
    fixture.stop().await;
}

#[tokio::test]
async fn lazy_handler_whose_file_was_away_for_a_while_is_served_by_its_first_call() {
    let fixture = Fixture::start().await;
    let mut events = fixture.runtime.events();
    let dir = tempfile::tempdir().unwrap();
    let (path, away) = (dir.path().join("h.wasm"), dir.path().join("away"));
    std::fs::copy(guests::guest("trap").unwrap(), &path).unwrap();
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let watched = WatchedSource::new(handler.clone(), Source::Wasm { path: path.clone() }).lazily();
    let session = Session::start(vec![watched], Options::default());
    wait_until(|| handler.status().is_lazy, || format!("a lazy handler, it is {handler:?}")).await;
    std::fs::rename(&path, &away).unwrap();
    crate::fixture::next_event(&mut events, "the missing file", |event| match event {
        wrt::EventKind::Rejected { .. } => Some(()),
        _ => None,
    })
    .await;
    std::fs::rename(&away, &path).unwrap();
    let answers = || async { fixture.get("/").await.status };
    while answers().await != 200 {}
    session.end().await;
    fixture.stop().await;
}

#[tokio::test]
async fn lazy_handler_waits_with_its_file_for_its_first_call() {
    let fixture = Fixture::start().await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let source = Source::Wasm { path: guests::guest("trap").unwrap() };
    let watched = WatchedSource::new(handler.clone(), source).lazily();
    let session = Session::start(vec![watched], Options::default());
    let is_lazy = || handler.status().is_lazy;
    wait_until(is_lazy, || format!("a lazy handler, it is {handler:?}")).await;
    assert!(handler.serving().is_none(), "nobody has called");
    assert_eq!(fixture.get("/").await.status, 200);
    session.end().await;
    fixture.stop().await;
}

#[tokio::test]
async fn version_that_was_confirmed_is_served_while_its_file_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.wasm");
    put(&path, &guest("trap"));
    for told_first in ["staged", "rejected"] {
        let mut settings = RuntimeConfig::default();
        settings.state_dir = Some(dir.path().join("state"));
        let fixture = Fixture::with(settings).await;
        let mut events = fixture.runtime.events();
        let handler = fixture.runtime.add_handler(config()).unwrap();
        let watched = WatchedSource::new(handler, Source::Wasm { path: path.clone() });
        let session = Session::start(vec![watched], Options::default());
        let told = told_until(&mut events, "swapped").await;
        assert_eq!(names(&told)[0], told_first);
        assert_eq!(fixture.get("/").await.status, 200);
        session.end().await;
        fixture.stop().await;
        // Missing at the second start.
        let _ = fs::remove_file(&path);
    }
}
