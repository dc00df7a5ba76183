//! What changes no content builds nothing and swaps nothing.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use wrt_test_support::files::WriteStyle;
use wrt_test_support::process::{Event, ServerProcess, WAIT_LIMIT};

use crate::binary::{count, start, wait};
use crate::client::Client;
use crate::project::{Project, heading, hello};

const NAME: &str = "cli-unchanged";

/// Between what must do nothing and the edit after it, so that they are not taken for one save.
/// Without it the test would pass as well, but see less.
const APART: Duration = Duration::from_millis(100);

/// Between two looks at the page.
const PAUSE: Duration = Duration::from_millis(10);

/// Pauses after which `wrt dev` looks at files that were saved, or checked out. What takes longer, on
/// a machine with other things to do, is rightly seen half done.
const SAVE_QUIET: Duration = Duration::from_millis(2);
const GIT_QUIET: Duration = Duration::from_millis(150);

/// Attempts to be quicker than that.
const N_ATTEMPTS: usize = 20;

/// Expects that `act`, which is told how often it was called before and says how long it took, begins
/// nothing if that is less than `quiet`: the next thing is a build of the edit that this makes, and of
/// nothing else.
fn expect_nothing(
    (project, server, name): (&Project, &ServerProcess, &str),
    what: &str,
    quiet: Duration,
    act: impl Fn(usize) -> Duration,
) {
    for attempt in 0..N_ATTEMPTS {
        let from = server.n_events();
        let is_judged = act(attempt) < quiet;
        thread::sleep(APART);
        let text = format!("{what} {attempt}");
        project.save(&text);
        let generation = wait_for_page(server, &heading(&text));
        // The page may be ahead of what is told.
        let swapped = |event: &Event| {
            event.is("swapped") && event.json["generation"].as_u64() == Some(generation)
        };
        server.wait_for("the swap to the edit", from, swapped).unwrap();
        if is_judged {
            for kind in ["building", "swapped", "changed"] {
                let n_events = count(server, name, kind, from);
                assert_eq!(n_events, 1, "{what}: {:#?}", server.events(from));
            }
            let changed = wait(server, name, "changed", from);
            assert_eq!(changed.json["paths"], serde_json::json!(["src/lib.rs"]), "{what}");
            return;
        }
    }
    panic!("{what}: took longer than {quiet:?} in each of {N_ATTEMPTS} attempts");
}

fn timed(act: impl FnOnce()) -> Duration {
    let started_at = Instant::now();
    act();
    started_at.elapsed()
}

/// Asks until the page has `words`; gives the generation that said so.
fn wait_for_page(server: &ServerProcess, words: &str) -> u64 {
    let mut client = Client::connect(server.address());
    let deadline = Instant::now() + WAIT_LIMIT;
    loop {
        let answer = client.get("/");
        if answer.body.contains(words) {
            return answer.generation();
        }
        assert!(Instant::now() < deadline, "expected {words}, found {}", answer.body);
        thread::sleep(PAUSE);
    }
}

#[test]
fn touch_same_bytes_and_output_do_nothing() {
    let project = Project::hello(NAME);
    let server = start("dev", project.root(), &[]);
    wait(&server, NAME, "swapped", 0);
    let lib = project.path("src/lib.rs");
    let here = (&project, &server, NAME);

    expect_nothing(here, "touched", SAVE_QUIET, |_| {
        timed(|| File::open(&lib).unwrap().set_modified(SystemTime::now()).unwrap())
    });
    for (what, style) in [
        ("renamed", WriteStyle::Rename),
        ("in place", WriteStyle::InPlace),
        ("with a backup", WriteStyle::WithBackup),
    ] {
        expect_nothing(here, what, SAVE_QUIET, |_| {
            let text = fs::read(&lib).unwrap();
            timed(|| style.write(&lib, &text).unwrap())
        });
    }
    expect_nothing(here, "output", SAVE_QUIET, |_| {
        timed(|| {
            for name in ["target/notes.rs", "target/wasm32-wasip2/debug/notes.rs"] {
                project.write(name, "written by a build");
            }
        })
    });
}

#[test]
fn checkout_there_and_back_does_nothing() {
    const NAME: &str = "cli-unchanged-git";
    let project = Project::hello(NAME);
    // As the commit below has it, so that this is no change.
    project.write(".gitignore", "/target\n");
    let server = start("dev", project.root(), &[]);
    wait(&server, NAME, "swapped", 0);
    project.commit_all();
    // The other branch is made aside, so that its content is never seen here before.
    let aside = tempfile::tempdir().unwrap();
    let copy = aside.path().join("copy");
    project.git(&["worktree", "add", "--quiet", "-b", "two", copy.to_str().unwrap()]);
    fs::write(copy.join("src/lib.rs"), hello(Some("two"))).unwrap();
    for n in 0..20 {
        fs::write(copy.join(format!("src/part{n}.rs")), "// of branch two\n").unwrap();
    }
    project.git(&["-C", copy.to_str().unwrap(), "add", "."]);
    project.git(&["-C", copy.to_str().unwrap(), "commit", "--quiet", "--message=two"]);
    project.git(&["worktree", "remove", copy.to_str().unwrap()]);

    expect_nothing((&project, &server, NAME), "there and back", GIT_QUIET, |attempt| {
        if attempt > 0 {
            // The edit after the attempt before this one, which would be in the way.
            project.commit_all();
        }
        let there_and_back = "git checkout --quiet two && git checkout --quiet one";
        let mut shell = Command::new("sh");
        shell.args(["-c", there_and_back]).current_dir(project.root());
        timed(|| assert!(shell.status().unwrap().success()))
    });
}
