//! What outlives a process: the confirmed version is booted, and what was rolled back is not.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use wrt::history::HistoryUnavailable;
use wrt::history::Outcome;
use wrt::{
    EventKind, HandlerConfig, HandlerHandle, Hint as _, Rejected, Runtime, RuntimeConfig, Source,
    Swap, Verdict, chain,
};
use wrt_test_support::guests;

use crate::fixture::{Fixture, bytes, config, guest, next_event, plugin, swapped};

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

/// The outcomes in the history, newest first.
fn outcomes(handler: &HandlerHandle) -> Vec<(u64, &'static str)> {
    let records = handler.history();
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
    assert_eq!(outcomes(&handler), [(2, "published"), (1, "confirmed")]);
    fixture.stop().await;

    let (fixture, handler) = host(dir.path(), on_probation()).await;
    // The confirmed one is generation 3, and the newer one comes behind it as a candidate.
    assert_eq!(number(handler.load(bytes(&second)).await), 4);
    let told = outcomes(&handler);
    assert_eq!(told[..2], [(4, "published"), (3, "confirmed")]);
    let confirmed = handler.history()[1].clone();
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
    assert_eq!(outcomes(&handler)[0].1, "rejected");
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
    assert_eq!(number(handler.rollback(None).await), 3);
    let told = outcomes(&handler);
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
    let kept = || -> (BTreeSet<String>, usize) {
        let files = std::fs::read_dir(dir.path().join("state/components")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let (components, settings): (BTreeSet<_>, BTreeSet<_>) =
            names.partition(|name| name.ends_with(".wasm"));
        (components, settings.len())
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
        assert_eq!(kept(), (names(left), 1), "all ran with the same settings");
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
        assert_eq!(digest(handler.rollback(None).await), wrt::Digest::of(&version(earlier)));
    }
    fixture.stop().await;

    // What was rolled back is not the version before, and can be had by its number.
    let (fixture, handler) = host(dir.path(), config()).await;
    swapped(handler.load(bytes(&version(7))).await);
    assert_eq!(digest(handler.rollback(None).await), wrt::Digest::of(&version(6)));
    let to = |number| Some(wrt::GenerationNumber::new(number));
    assert_eq!(digest(handler.rollback(to(3)).await), wrt::Digest::of(&version(3)));
    assert_eq!(digest(handler.rollback(to(9)).await), wrt::Digest::of(&version(9)));
    let gone = handler.rollback(to(1)).await.unwrap_err();
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
    assert_eq!(outcomes(&handler), [(1, "confirmed")]);
    fixture.stop().await;
}

#[tokio::test]
async fn a_version_that_was_swapped_in_stays_over_restarts_until_the_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    let file = dir.path().join("h.wasm");
    std::fs::write(&file, &hello).unwrap();
    let (fixture, handler) = host(dir.path(), config()).await;
    assert_eq!(number(handler.load(Source::file(&file)).await), 1);
    let second = guests::variant(&hello, 2);
    assert_eq!(number(handler.swap(bytes(&second), "by hand").await), 2);
    fixture.stop().await;

    // More than one restart: what was booted was swapped in over the same file.
    for restart in 1..=2 {
        let (fixture, handler) = host(dir.path(), config()).await;
        let mut events = fixture.runtime.events();
        let answer = handler.load(Source::file(&file)).await.unwrap();
        assert!(matches!(answer, Swap::Unchanged { .. }), "restart {restart}: {answer:?}");
        assert_eq!(handler.serving().unwrap().digest, wrt::Digest::of(&second));
        let told = next_event(&mut events, "what is passed over", |event| match event {
            EventKind::Unchanged { digest, passed_over_for } => Some((digest, passed_over_for)),
            _ => None,
        });
        assert_eq!(told.await, (wrt::Digest::of(&hello), handler.serving()));
        // Asked for by hand, the file's bytes come in at any time.
        if restart == 2 {
            swapped(handler.swap(Source::file(&file), "by hand").await);
            swapped(handler.swap(bytes(&second), "by hand").await);
        }
        fixture.stop().await;
    }

    let third = guests::variant(&hello, 3);
    std::fs::write(&file, &third).unwrap();
    let (fixture, handler) = host(dir.path(), config()).await;
    swapped(handler.load(Source::file(&file)).await);
    assert_eq!(handler.serving().unwrap().digest, wrt::Digest::of(&third));
    fixture.stop().await;
}

#[tokio::test]
async fn a_kept_version_that_is_damaged_gives_way_to_the_file_and_nothing_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    let (fixture, handler) = host(dir.path(), config()).await;
    let kept = swapped(handler.load(bytes(&hello)).await).digest;
    fixture.stop().await;
    std::fs::write(dir.path().join(format!("state/components/{kept}.wasm")), "damaged").unwrap();

    let (fixture, handler) = host(dir.path(), config()).await;
    let mut events = fixture.runtime.events();
    swapped(handler.load(bytes(&guests::variant(&hello, 2))).await);
    let note = next_event(&mut events, "the damage", |event| match event {
        EventKind::Note { message } => Some(message),
        EventKind::Rejected { error, .. } => panic!("it is no rejected candidate: {error}"),
        _ => None,
    });
    assert!(note.await.contains("the handler's own component comes in its place"));
    fixture.stop().await;
}

#[tokio::test]
async fn a_start_without_the_components_file_serves_the_confirmed_version() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("h.wasm");
    std::fs::write(&file, plugin("hello")).unwrap();
    let (fixture, handler) = host(dir.path(), config()).await;
    assert!(!handler.has_confirmed());
    let serving = swapped(handler.load(Source::file(&file)).await);
    fixture.stop().await;
    std::fs::remove_file(&file).unwrap();

    for is_directory in [false, true] {
        if is_directory {
            std::fs::create_dir(&file).unwrap();
        }
        let (fixture, handler) = host(dir.path(), config()).await;
        assert!(handler.has_confirmed());
        let rejected = handler.load(Source::file(&file)).await.unwrap_err();
        assert_eq!(rejected.serving.map(|it| it.digest), Some(serving.digest));
        assert_eq!(fixture.get("/").await.status, 200);
        fixture.stop().await;
    }

    let (fixture, handler) = host(dir.path(), config()).await;
    assert_eq!(swapped(handler.boot().await).digest, serving.digest);
    assert!(matches!(handler.boot().await.unwrap(), Swap::Unchanged { .. }));
    fixture.stop().await;
}

#[tokio::test]
async fn a_second_runtime_is_told_who_has_the_history_and_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    let (fixture, handler) = host(dir.path(), config()).await;
    let serving = swapped(handler.load(bytes(&hello)).await);

    let mut second = RuntimeConfig::default();
    second.state_dir = Some(dir.path().join("state"));
    let second = Runtime::new(second).unwrap();
    let Some(HistoryUnavailable::InUse { holder, .. }) = second.history_problem() else {
        panic!("{:?}", second.history_problem());
    };
    assert_eq!(*holder, Some(std::process::id()));
    let other = second.add_handler(config()).unwrap();
    // It begins with what was confirmed, and tells that nothing of its own is kept.
    assert_eq!(swapped(other.boot().await).digest, serving.digest);
    swapped(other.load(bytes(&guests::variant(&hello, 2))).await);
    let problem = other.history_kept().await.unwrap_err();
    assert!(problem.reason.contains("is in use by"), "{problem}");
    assert_eq!(other.status().not_kept, Some(problem.reason));
    second.shutdown().await;

    assert_eq!(handler.history_kept().await, Ok(()));
    swapped(handler.load(bytes(&guests::variant(&hello, 3))).await);
    assert_eq!(outcomes(&handler), [(2, "confirmed"), (1, "confirmed")]);
    fixture.stop().await;
    let (fixture, handler) = host(dir.path(), config()).await;
    let third = wrt::Digest::of(&guests::variant(&hello, 3));
    assert_eq!(swapped(handler.boot().await).digest, third);
    fixture.stop().await;
}

#[tokio::test]
async fn what_a_disk_refuses_is_told_and_written_when_it_is_well_again() {
    let dir = tempfile::tempdir().unwrap();
    let hello = plugin("hello");
    let (fixture, handler) = host(dir.path(), config()).await;
    swapped(handler.load(bytes(&hello)).await);
    assert_eq!(handler.history_kept().await, Ok(()));
    // A directory in the file's place refuses also those whom permissions do not.
    let (file, aside) = (dir.path().join("state/handlers/h.json"), dir.path().join("aside"));
    std::fs::rename(&file, aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    let mut events = fixture.runtime.events();
    swapped(handler.load(bytes(&guests::variant(&hello, 2))).await);
    let problem = handler.history_kept().await.unwrap_err();
    assert!(problem.to_string().contains("failed to write"), "{problem}");
    assert!(handler.status().not_kept.is_some());
    let told = next_event(&mut events, "the problem", |event| match event {
        EventKind::HistoryNotKept { error, .. } => Some(error),
        _ => None,
    });
    assert!(told.await.contains("failed to write"));

    std::fs::remove_dir(&file).unwrap();
    // Without being asked for.
    let is_well = |event| matches!(event, EventKind::HistoryKept).then_some(());
    next_event(&mut events, "the end of the problem", is_well).await;
    assert_eq!(handler.status().not_kept, None);
    assert!(std::fs::read_to_string(&file).unwrap().contains("\"generation\": 2"));
    fixture.stop().await;
}

#[tokio::test]
async fn a_component_that_a_disk_refuses_is_told_of_and_kept_when_it_is_well_again() {
    let dir = tempfile::tempdir().unwrap();
    let (fixture, handler) = host(dir.path(), config()).await;
    let components = dir.path().join("state/components");
    std::fs::remove_dir(&components).unwrap();
    std::fs::write(&components, "in the way").unwrap();
    let mut events = fixture.runtime.events();
    let serving = swapped(handler.load(bytes(&plugin("hello"))).await);
    let problem = handler.history_kept().await.unwrap_err();
    assert!(problem.reason.contains("components"), "{problem}");
    std::fs::remove_file(&components).unwrap();
    let is_well = |event| matches!(event, EventKind::HistoryKept).then_some(());
    next_event(&mut events, "the end of the problem", is_well).await;
    fixture.stop().await;
    let (fixture, handler) = host(dir.path(), config()).await;
    assert_eq!(swapped(handler.boot().await).digest, serving.digest);
    fixture.stop().await;
}

#[tokio::test]
async fn a_damaged_history_is_told_of_and_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let (fixture, handler) = host(dir.path(), config()).await;
    swapped(handler.load(bytes(&plugin("hello"))).await);
    fixture.stop().await;
    let file = dir.path().join("state/handlers/h.json");
    std::fs::write(&file, "[{\"generation\": 1").unwrap();

    let (fixture, handler) = host(dir.path(), config()).await;
    let mut events = fixture.runtime.events();
    swapped(handler.load(bytes(&plugin("hello"))).await);
    let (error, hints) = next_event(&mut events, "the damage", |event| match event {
        EventKind::HistoryNotKept { error, hints } => Some((error, hints)),
        _ => None,
    })
    .await;
    assert!(error.contains("failed to read the history of `h`"), "{error}");
    assert!(hints[0].contains("h.json.damaged"), "{hints:?}");
    let aside = std::fs::read_to_string(dir.path().join("state/handlers/h.json.damaged")).unwrap();
    assert_eq!(aside, "[{\"generation\": 1");
    fixture.stop().await;
}

#[tokio::test]
async fn a_version_that_answers_badly_is_taken_back_and_the_verdict_says_why() {
    let statuses = "4xx".parse().unwrap();
    let config = on_probation().with_probation_status(statuses);
    let (fixture, handler) = Fixture::serving_as(config, &plugin("hello")).await;
    let mut events = fixture.runtime.events();
    let mut client = fixture.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.status, 200);
    }
    // It finds no setting, and says so with 404.
    swapped(handler.load(bytes(&guest("config_reader"))).await);
    let standing = handler.status();
    assert_eq!((standing.verdict, standing.is_confirmed), (Some(Verdict::Probation), false));
    let mut n = 0;
    while handler.serving().unwrap().generation.get() == 2 {
        n += 1;
        assert!(n <= 200, "it serves still");
        client.get("/?key=absent").await;
    }
    let why = next_event(&mut events, "the rollback", |event| match event {
        EventKind::RolledBack { why, .. } => Some(why),
        _ => None,
    })
    .await;
    assert!(why.contains("have a bad status"), "{why}");
    let verdict = |number| handler.generation(number).ok();
    let second = verdict(wrt::GenerationNumber::new(2)).unwrap();
    assert_eq!(
        (second.verdict, second.why, second.is_serving),
        (Verdict::RolledBack, Some(why), false)
    );
    let third = verdict(handler.serving().unwrap().generation).unwrap();
    assert!(third.is_serving && third.verdict == Verdict::Confirmed, "{third:?}");
    let standing = handler.status();
    assert_eq!(standing.rolled_back.map(|it| it.generation.get()), Some(2));
    let unknown = handler.generation(wrt::GenerationNumber::new(9)).unwrap_err();
    assert_eq!(unknown.to_string(), "unknown generation 9 of handler `h`");
    assert_eq!(unknown.hints(), ["the newest is 3; `wrt history` lists those that are known"]);
    fixture.stop().await;
}
