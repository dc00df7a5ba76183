//! What outlives a process: the confirmed version is booted, and what was rolled back is not.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use wrt::history::Outcome;
use wrt::{
    HandlerConfig, HandlerHandle, HandlerName, Rejected, Runtime, RuntimeConfig, Swap, chain,
};
use wrt_test_support::guests;

use crate::fixture::{Fixture, bytes, config, guest, name, plugin, swapped};

/// A host that remembers in `dir`, with a handler that is on probation for longer than any test.
async fn host(dir: &Path, config: HandlerConfig) -> (Fixture, HandlerHandle) {
    let mut runtime = RuntimeConfig::default();
    runtime.state_dir = Some(dir.join("state"));
    let fixture = Fixture::with(runtime).await;
    assert!(fixture.runtime.history_problem().is_none());
    let handler = fixture.runtime.add_handler(config).unwrap();
    (fixture, handler)
}

fn on_probation() -> HandlerConfig {
    config().with_probation(Duration::from_secs(3600), 2)
}

fn number(answer: Result<Swap, Rejected>) -> u64 {
    swapped(answer).generation.get()
}

fn h() -> HandlerName {
    name("h")
}

/// The outcomes in the history, newest first.
async fn outcomes(runtime: &Runtime) -> Vec<(u64, &'static str)> {
    let records = runtime.history(&h()).await.unwrap();
    let word = |outcome: &Outcome| match outcome {
        Outcome::Published => "published",
        Outcome::Confirmed => "confirmed",
        Outcome::RolledBack { .. } => "rolled back",
        Outcome::Rejected { .. } => "rejected",
        _ => "other",
    };
    records.iter().map(|record| (record.generation.get(), word(&record.outcome))).collect()
}

#[tokio::test]
async fn a_restart_boots_the_confirmed_version_and_stages_the_newer_one_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let first = plugin("hello");
    let second = guests::variant(&first, 2);
    let (fixture, handler) = host(dir.path(), on_probation()).await;
    assert_eq!(number(handler.load(bytes(&first)).await), 1);
    handler.confirm().await.unwrap();
    assert_eq!(number(handler.load(bytes(&second)).await), 2);
    assert_eq!(outcomes(&fixture.runtime).await, [(2, "published"), (1, "confirmed")]);
    fixture.stop().await;

    let (fixture, handler) = host(dir.path(), on_probation()).await;
    // The confirmed one is generation 3, and the newer one comes behind it as a candidate.
    assert_eq!(number(handler.load(bytes(&second)).await), 4);
    let told = outcomes(&fixture.runtime).await;
    assert_eq!(told[..2], [(4, "published"), (3, "confirmed")]);
    let confirmed = fixture.runtime.history(&h()).await.unwrap()[1].clone();
    assert!(confirmed.cause.contains("restart"), "{}", confirmed.cause);
    fixture.stop().await;
}

#[tokio::test]
async fn a_start_with_a_broken_artifact_serves_the_confirmed_version() {
    let dir = tempfile::tempdir().unwrap();
    let (fixture, handler) = host(dir.path(), config()).await;
    assert_eq!(number(handler.load(bytes(&plugin("hello"))).await), 1);
    fixture.stop().await;

    let (fixture, handler) = host(dir.path(), config()).await;
    let rejected = handler.load(bytes(b"not a component")).await.unwrap_err();
    assert_eq!(rejected.serving, handler.serving());
    assert_eq!(fixture.get("/").await.status, 200);
    assert_eq!(outcomes(&fixture.runtime).await[0].1, "rejected");
    // It was on the disk before the answer came.
    let file = dir.path().join("state/handlers/h.json");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.contains("rejected") && text.contains("expected a WebAssembly component"),
        "{text}"
    );
    fixture.stop().await;
}

#[tokio::test]
async fn what_was_rolled_back_is_not_tried_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (plugin("hello"), guest("trap"));
    let (fixture, handler) = host(dir.path(), config()).await;
    swapped(handler.load(bytes(&first)).await);
    swapped(handler.load(bytes(&second)).await);
    assert_eq!(number(handler.roll_back(None).await), 3);
    let told = outcomes(&fixture.runtime).await;
    assert_eq!(told, [(3, "confirmed"), (2, "rolled back"), (1, "confirmed")]);
    fixture.stop().await;

    let (fixture, handler) = host(dir.path(), config()).await;
    let rejected = handler.load(bytes(&second)).await.unwrap_err();
    assert!(chain(&rejected).contains("was rolled back"), "{}", chain(&rejected));
    let digest = rejected.serving.unwrap().digest;
    assert_eq!(digest, wrt::Digest::of(&first));
    // Other bytes are welcome.
    swapped(handler.load(bytes(&guests::variant(&second, 3))).await);
    fixture.stop().await;
}

#[tokio::test]
async fn of_many_versions_the_last_eight_components_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    let kept = || -> BTreeSet<String> {
        let files = std::fs::read_dir(dir.path().join("state/components")).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    let names = |numbers: RangeInclusive<u64>| -> BTreeSet<String> {
        let digest = |number| wrt::Digest::of(&guests::variant(&hello, number));
        numbers.map(|number| format!("{}.wasm", digest(number))).collect()
    };
    for (versions, left) in [(1..=9, 2..=9), (10..=11, 4..=11), (11..=11, 4..=11)] {
        let (fixture, handler) = host(dir.path(), config()).await;
        for version in versions {
            swapped(handler.load(bytes(&guests::variant(&hello, version))).await);
        }
        fixture.stop().await;
        assert_eq!(kept(), names(left));
    }
}

#[tokio::test]
async fn versions_of_an_earlier_process_can_be_gone_back_to() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    let version = |number| guests::variant(&hello, number);
    let (fixture, handler) = host(dir.path(), config()).await;
    for number in 1..=9 {
        assert_eq!(number, self::number(handler.load(bytes(&version(number))).await));
    }
    fixture.stop().await;

    let digest = |answer| swapped(answer).digest;
    let (fixture, handler) = host(dir.path(), config()).await;
    assert_eq!(number(handler.load(bytes(&version(9))).await), 10);
    for earlier in [8, 7] {
        assert_eq!(digest(handler.roll_back(None).await), wrt::Digest::of(&version(earlier)));
    }
    fixture.stop().await;

    // What was rolled back is not the version before, and can be had by its number.
    let (fixture, handler) = host(dir.path(), config()).await;
    swapped(handler.load(bytes(&version(7))).await);
    assert_eq!(digest(handler.roll_back(None).await), wrt::Digest::of(&version(6)));
    let to = |number| Some(wrt::GenerationNumber::new(number));
    assert_eq!(digest(handler.roll_back(to(3)).await), wrt::Digest::of(&version(3)));
    assert_eq!(digest(handler.roll_back(to(9)).await), wrt::Digest::of(&version(9)));
    let gone = handler.roll_back(to(1)).await.unwrap_err();
    assert!(chain(&gone).contains("generation 1 is not among those"), "{}", chain(&gone));
    fixture.stop().await;
}

#[tokio::test]
async fn without_a_usable_directory_everything_works_and_the_problem_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let mut runtime = RuntimeConfig::default();
    runtime.state_dir = Some(file);
    let fixture = Fixture::with(runtime).await;
    assert!(fixture.runtime.history_problem().is_some());
    let handler = fixture.runtime.add_handler(config()).unwrap();
    swapped(handler.load(bytes(&plugin("hello"))).await);
    assert_eq!(outcomes(&fixture.runtime).await, [(1, "confirmed")]);
    fixture.stop().await;
}
