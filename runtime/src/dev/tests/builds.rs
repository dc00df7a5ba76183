//! Builds are cancelled by newer content, lose no save, and cannot hurt by what they print.

use std::fs;
use std::path::Path;

use super::{Bench, Project, save};
use crate::dev::{NoticeKind, Options, build_once};

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
    let options = Options { watch: false, ..Options::default() };
    let sources = vec![("one", project.source()), ("two", project.source_running("exit 1"))];
    let mut bench = Bench::start_all(sources, options);
    let mut outcomes = Vec::new();
    while let Some(notice) = bench.notices.recv().await {
        if !matches!(notice.kind, NoticeKind::Building) {
            outcomes
                .push((notice.handler.to_string(), matches!(notice.kind, NoticeKind::Built(_))));
        }
    }
    outcomes.sort();
    assert_eq!(outcomes, [("one".to_owned(), true), ("two".to_owned(), false)]);
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
