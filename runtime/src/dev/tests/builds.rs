//! Builds are cancelled by newer content, lose no save, and cannot hurt by what they print.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{Bench, Project, save};
use crate::dev::notice::NoticeKind;
use crate::dev::{News, Options, Source, build_all, build_once};

/// A command that announces itself in `started`, then waits for the file `go`.
const WAITING: &str = "echo x >> started; cat src/a.txt > mine; \
                       until [ -e go ]; do sleep 0.01; done; cp mine out.wasm; echo x >> runs";

/// Waits until the command has begun `n` times.
async fn wait_for_start(project: &Project, n: usize) {
    let path = project.path("started");
    let wait = async {
        while fs::read_to_string(&path).map_or(0, |text| text.lines().count()) < n {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, wait).await.unwrap();
}

#[tokio::test]
async fn newer_content_cancels_a_running_build() {
    let mut project = Project::new();
    let mut bench = Bench::start(project.source_running(WAITING), Options::default());
    wait_for_start(&project, 1).await;
    for (n, content) in ["1", "2", "3"].into_iter().enumerate() {
        save(&project.path("src/a.txt"), content);
        wait_for_start(&project, n + 2).await;
    }
    fs::write(project.path("go"), "").unwrap();
    bench.built().await;
    assert_eq!(project.output(), "3");
    // Those cancelled are dead, and so did not end now.
    project.fence(&mut bench).await;
    assert_eq!(project.n_runs(), 2);
}

#[tokio::test]
async fn newer_content_of_a_file_that_is_watched_by_name_cancels_too() {
    let project = Project::new();
    let mut source = project.source_running(WAITING);
    if let Source::Command { watch, .. } = &mut source {
        *watch = vec!["src/a.txt".into()];
    }
    let mut bench = Bench::start(source, Options::default());
    wait_for_start(&project, 1).await;
    save(&project.path("src/a.txt"), "new");
    wait_for_start(&project, 2).await;
    fs::write(project.path("go"), "").unwrap();
    bench.built().await;
    assert_eq!(project.output(), "new");
}

#[tokio::test]
async fn content_that_went_back_cancels_without_a_build() {
    let mut project = Project::new();
    fs::write(project.path("go"), "").unwrap();
    let mut bench = Bench::start(project.source_running(WAITING), Options::default());
    bench.built().await;
    fs::remove_file(project.path("go")).unwrap();
    save(&project.path("src/a.txt"), "new\n");
    wait_for_start(&project, 2).await;
    save(&project.path("src/a.txt"), "old\n");
    let (changed, notice) = bench.outcome().await;
    assert!(matches!(notice.kind, NoticeKind::Unchanged), "{notice:?}");
    assert_eq!(changed, [Path::new("src/a.txt")]);
    fs::write(project.path("go"), "").unwrap();
    project.fence(&mut bench).await;
}

#[tokio::test]
async fn a_save_that_the_build_itself_makes_room_for_is_not_lost() {
    let project = Project::new();
    // It changes its own input while it runs, at first; a save at that moment looks the same.
    let command = "cp src/a.txt out.wasm; echo x >> runs; \
                   if grep -q old src/a.txt; then echo new > src/a.txt; fi";
    let mut bench = Bench::start(project.source_running(command), Options::default());
    while !matches!(fs::read_to_string(project.path("out.wasm")).as_deref(), Ok("new\n")) {
        bench.built().await;
    }
}

/// The outcomes up to the next note, and that note.
async fn built_until_told(bench: &mut Bench) -> (usize, String) {
    let mut n_built = 0;
    loop {
        match bench.next().await.kind {
            NoticeKind::Info { message } => return (n_built, message),
            NoticeKind::Built(_) => n_built += 1,
            NoticeKind::BuildFailed(failure) => panic!("{failure:?}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_build_that_makes_its_output_directory_anew_is_one_build() {
    let project = Project::new();
    // All of the project is watched, so that what it counts by has to be elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let runs = elsewhere.path().join("runs");
    let command = format!(
        "echo x >> '{}'; rm -rf dist; mkdir dist; cat src/*.txt > dist/step1.o; sleep 0.2; \
         echo more >> dist/step2.o; sleep 0.2; cp dist/step1.o dist/out.wasm",
        runs.display()
    );
    let source = Source::Command {
        command,
        dir: project.dir.path().to_owned(),
        output: "dist/out.wasm".into(),
        watch: vec![],
    };
    let n_runs = || fs::read_to_string(&runs).unwrap().lines().count();
    let mut bench = Bench::start(source.clone(), Options::default());
    let (n_built, told) = built_until_told(&mut bench).await;
    assert_eq!((n_built, n_runs()), (1, 1), "{told}");
    assert!(told.contains("changes its own inputs (`dist/step1.o` and 1 more)"), "{told}");
    for n in 2..=3 {
        save(&project.path("src/a.txt"), format!("{n}\n"));
        let (changed, ..) = bench.built().await;
        assert_eq!((changed, n_runs()), (vec!["src/a.txt".into()], n));
        let built = fs::read_to_string(project.path("dist/out.wasm")).unwrap();
        assert_eq!(built, format!("{n}\n"));
    }
    drop(bench);
    // Where the directory is there from before, it comes to an end, too.
    let mut bench = Bench::start(source, Options::default());
    bench.built().await;
    save(&project.path("src/a.txt"), "last\n");
    loop {
        bench.built().await;
        if fs::read_to_string(project.path("dist/out.wasm")).unwrap() == "last\n" {
            break;
        }
    }
    assert!(n_runs() <= 10, "{} builds", n_runs());
}

#[tokio::test]
async fn a_build_that_writes_the_time_into_its_inputs_comes_to_an_end() {
    let mut project = Project::new();
    let stamp = "date +%s%N > src/stamp";
    for (name, pause) in [("at once", ""), ("slowly", "; sleep 0.3")] {
        let command = format!("{stamp}{pause}; cat src/*.txt > out.wasm; echo x >> runs");
        let mut bench = Bench::start(project.source_running(&command), Options::default());
        let (n_built, told) = built_until_told(&mut bench).await;
        assert!((1..=3).contains(&n_built), "{name}: {n_built} builds");
        assert!(told.contains("changes its own inputs (`src/stamp`)"), "{name}: {told}");
        // One more, because the last change may have been a save.
        bench.built().await;
        project.fence(&mut bench).await;
        project.fence(&mut bench).await;
    }
}

#[tokio::test]
async fn builds_that_fail_and_write_into_their_inputs_come_to_an_end() {
    let project = Project::new();
    let command = "date +%s%N > src/log; echo x >> runs; exit 1";
    let mut bench = Bench::start(project.source_running(command), Options::default());
    let told = loop {
        if let NoticeKind::Info { message } = bench.next().await.kind {
            break message;
        }
    };
    assert!(told.contains("changes its own inputs (`src/log`)"), "{told}");
    assert!(project.n_runs() <= 3, "{} builds", project.n_runs());
}

#[tokio::test]
async fn builds_that_write_each_others_inputs_come_to_an_end() {
    // Builds that overlap, and builds that follow each other.
    for pause in ["", "sleep 0.1; "] {
        let project = Project::new();
        let source = |own: &str, other: &str| Source::Command {
            command: format!(
                "cat src/*.txt > {own}.wasm; {pause}date +%s%N > to-{other}; echo x >> runs"
            ),
            dir: project.dir.path().to_owned(),
            output: format!("{own}.wasm").into(),
            watch: vec!["src".into(), format!("to-{own}").into()],
        };
        for name in ["to-a", "to-b"] {
            fs::write(project.path(name), "").unwrap();
        }
        let sources = vec![("a", source("a", "b")), ("b", source("b", "a"))];
        let mut bench = Bench::start_all(sources, Options::default());
        for round in 1..=2 {
            let told = loop {
                match bench.next().await.kind {
                    NoticeKind::Info { message } => break message,
                    NoticeKind::BuildFailed(failure) => panic!("{failure:?}"),
                    _ => {}
                }
            };
            assert!(told.contains("write each other's inputs"), "{told}");
            // Each of the ten builds of the chain may be cancelled three times before.
            assert!(project.n_runs() <= 60 * round, "{} builds", project.n_runs());
            // Both go on with what people save, whatever is still under way.
            save(&project.path("src/a.txt"), format!("{round}\n"));
            let (mut saw, mut built) = (BTreeSet::new(), BTreeSet::new());
            while built.len() < 2 {
                let notice = bench.next().await;
                match notice.kind {
                    NoticeKind::Changed { paths } if paths.contains(&"src/a.txt".into()) => {
                        saw.insert(notice.handler);
                    }
                    NoticeKind::Built(_) if saw.contains(&notice.handler) => {
                        built.insert(notice.handler);
                    }
                    NoticeKind::BuildFailed(failure) => panic!("{failure:?}"),
                    _ => {}
                }
            }
            for name in ["a.wasm", "b.wasm"] {
                let text = fs::read_to_string(project.path(name)).unwrap();
                assert!(text.is_empty() || text == format!("{round}\n"), "{name}: {text}");
            }
        }
    }
}

#[tokio::test]
async fn handlers_with_one_directory_do_not_take_each_others_output_for_a_source() {
    let project = Project::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let runs = elsewhere.path().join("runs");
    let source = |name: &str| Source::Command {
        command: format!("date +%s%N > {name}.wasm; echo x >> '{}'", runs.display()),
        dir: project.dir.path().to_owned(),
        output: format!("{name}.wasm").into(),
        watch: vec![],
    };
    let sources = vec![("a", source("a")), ("b", source("b"))];
    let mut bench = Bench::start_all(sources, Options::default());
    for n in 1..=3 {
        for _ in 0..2 {
            bench.built().await;
        }
        assert_eq!(fs::read_to_string(&runs).unwrap().lines().count(), 2 * n);
        save(&project.path("src/a.txt"), format!("{n}\n"));
    }
}

#[tokio::test]
async fn a_file_that_is_added_while_a_build_runs_is_built() {
    let mut project = Project::new();
    let command = "cat src/*.txt > mine; echo x >> started; \
                   until [ -e go ]; do sleep 0.01; done; cp mine out.wasm; echo x >> runs";
    let mut bench = Bench::start(project.source_running(command), Options::default());
    wait_for_start(&project, 1).await;
    save(&project.path("src/b.txt"), "added\n");
    fs::write(project.path("go"), "").unwrap();
    while !project.path("out.wasm").exists() || project.output() != "old\nadded\n" {
        bench.built().await;
    }
    project.fence(&mut bench).await;
}

#[tokio::test]
async fn a_failed_build_says_how_and_the_next_one_is_fine() {
    let project = Project::new();
    let command = "cat src/a.txt; if grep -q bad src/a.txt; then exit 3; fi; cp src/a.txt out.wasm";
    let mut bench = Bench::start(project.source_running(command), Options::default());
    bench.built().await;
    save(&project.path("src/a.txt"), "bad \u{1b}]0;title\u{7}\u{1b}[31mred\u{1b}[0m\n");
    let failure = bench.failed().await;
    assert!(failure.message.ends_with("ended with exit status: 3"), "{failure:?}");
    assert_eq!(failure.diagnostics[0].text, "bad red");
    assert_eq!(failure.rendered.trim(), "bad red");
    save(&project.path("src/a.txt"), "good\n");
    bench.built().await;
}

#[tokio::test]
async fn what_a_command_says_that_succeeds_is_told() {
    let project = Project::new();
    let build = async |command: &str| {
        let built = build_once(&project.source_running(command), &Options::default()).await;
        let said = built.unwrap().diagnostics.into_iter().map(|one| (one.level, one.text));
        said.collect::<Vec<_>>()
    };
    let said = build("echo 'warning: \u{1b}[33modd' >&2; cp src/a.txt out.wasm").await;
    assert_eq!(said, [("note".to_owned(), "warning: odd".to_owned())]);
    assert_eq!(build("cp src/a.txt out.wasm").await, []);
}

#[tokio::test]
async fn a_command_that_writes_nothing_is_a_failure() {
    let project = Project::new();
    let failure = build_once(&project.source_running("true"), &Options::default()).await;
    let failure = failure.unwrap_err();
    assert!(failure.message.contains("wrote no"), "{failure}");
    assert_eq!(failure.hints.len(), 1);
}

#[tokio::test]
async fn endless_output_is_capped() {
    let project = Project::new();
    // 64 MiB, which would show in the length if it were kept.
    let command = "head -c 67108864 /dev/zero | tr '\\0' x; echo the end; exit 1";
    let failure = build_once(&project.source_running(command), &Options::default()).await;
    let failure = failure.unwrap_err();
    assert!(failure.rendered.len() < 1024 * 1024, "{}", failure.rendered.len());
    assert!(failure.rendered.contains("KiB of output left out"));
    assert!(failure.rendered.trim_end().ends_with("the end"));
}

#[tokio::test]
async fn without_watching_each_handler_has_one_outcome() {
    let project = Project::new();
    let missing = Source::Wasm { path: project.path("missing.wasm") };
    let sources =
        [("one", project.source()), ("two", project.source_running("exit 1")), ("three", missing)];
    let sources = sources.map(|(name, source)| (name.parse().unwrap(), source));
    let (_session, mut news) = build_all(sources.into(), Options::default());
    let mut outcomes = Vec::new();
    while let Some((handler, told)) = news.recv().await {
        let outcome = match told {
            News::Built(_) => "built",
            News::Failed(_) => "failed",
            News::Unavailable { .. } => "unavailable",
            News::Note { message } => panic!("{message}"),
        };
        outcomes.push((handler.to_string(), outcome));
    }
    outcomes.sort();
    let expected = [("one", "built"), ("three", "unavailable"), ("two", "failed")];
    assert_eq!(outcomes, expected.map(|(name, outcome)| (name.to_owned(), outcome)));
}

#[tokio::test]
async fn dropping_the_session_kills_the_build() {
    let project = Project::new();
    let command = "echo $$ > pid.tmp; mv pid.tmp pid; sleep 1000; true";
    let bench = Bench::start(project.source_running(command), Options::default());
    let pid = loop {
        match fs::read_to_string(project.path("pid")) {
            Ok(pid) => break pid.trim().to_owned(),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
        }
    };
    drop(bench);
    let is_alive =
        || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let wait = async {
        while is_alive() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, wait).await.unwrap();
}
