//! What changes no content builds nothing and swaps nothing.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use wrt_test_support::files::WriteStyle;
use wrt_test_support::process::ServerProcess;

use crate::binary::{count, start, wait};
use crate::client::Client;
use crate::project::{Project, heading, hello};

const NAME: &str = "cli-unchanged";

/// Between what must do nothing and the edit after it, so that they are not taken for one save.
/// Without it the test would pass as well, but see less.
const APART: Duration = Duration::from_millis(100);

/// Expects that nothing has begun since the first `from` events: the next thing is a build of the
/// edit that this makes, and of nothing else.
fn expect_nothing(project: &Project, server: &ServerProcess, from: usize, what: &str) {
    thread::sleep(APART);
    project.save(what);
    wait(server, NAME, "swapped", from);
    for name in ["building", "swapped", "changed"] {
        assert_eq!(count(server, NAME, name, from), 1, "{what}: {:#?}", server.events(from));
    }
    let changed = wait(server, NAME, "changed", from);
    assert_eq!(changed.json["paths"], serde_json::json!(["src/lib.rs"]), "{what}");
    let mut client = Client::connect(server.address());
    assert!(client.get("/").body.contains(&heading(what)), "{what}");
}

#[test]
fn touch_same_bytes_and_output_do_nothing() {
    let project = Project::hello(NAME);
    let server = start("dev", project.root(), &[]);
    wait(&server, NAME, "swapped", 0);
    let lib = project.path("src/lib.rs");

    let from = server.n_events();
    File::open(&lib).unwrap().set_modified(SystemTime::now()).unwrap();
    expect_nothing(&project, &server, from, "touched");

    let from = server.n_events();
    let text = fs::read(&lib).unwrap();
    for style in [WriteStyle::Rename, WriteStyle::InPlace, WriteStyle::WithBackup] {
        style.write(&lib, &text).unwrap();
    }
    expect_nothing(&project, &server, from, "same bytes");

    let from = server.n_events();
    for name in ["target/notes.rs", "target/wasm32-wasip2/debug/notes.rs"] {
        project.write(name, "written by a build");
    }
    expect_nothing(&project, &server, from, "output");
}

#[test]
fn checkout_there_and_back_does_nothing() {
    const NAME: &str = "cli-unchanged-git";
    let project = Project::hello(NAME);
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

    let from = server.n_events();
    let there_and_back = "git checkout --quiet two && git checkout --quiet one";
    let mut shell = Command::new("sh");
    assert!(
        shell.args(["-c", there_and_back]).current_dir(project.root()).status().unwrap().success()
    );
    thread::sleep(APART);
    project.save("edited");
    wait(&server, NAME, "swapped", from);
    for name in ["building", "swapped", "changed"] {
        assert_eq!(count(&server, NAME, name, from), 1, "{:#?}", server.events(from));
    }
    assert!(Client::connect(server.address()).get("/").body.contains(&heading("edited")));
}
