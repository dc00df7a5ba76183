//! The examples of embedding do what they say, run as a reader of the documentation runs them.

use std::env;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use wrt::Digest;
use wrt_test_support::guests::{self, Profile};

use crate::client::Client;
use crate::fixture::limited;

/// The executable of example `name`, which Cargo puts beside the tests' own directory.
fn example(name: &str) -> PathBuf {
    let here = env::current_exe().unwrap();
    let profile = here.ancestors().nth(2).unwrap();
    let path = profile.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "expected the example `{name}` at `{}`, found none; `cargo test` builds it, while \
         `cargo test --test runtime` does not: run `cargo build --examples` before",
        path.display()
    );
    path
}

/// Runs example `name` to its end.
async fn run(name: &str, arguments: &[&OsStr]) -> Output {
    let mut command = Command::new(example(name));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    limited(&format!("the end of example `{name}`"), command.output()).await.unwrap()
}

/// The lines that an example printed; it must have succeeded.
fn lines(output: &Output) -> Vec<&str> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    std::str::from_utf8(&output.stdout).unwrap().lines().collect()
}

/// A file with a variant of the component at `path`, and the variant's digest.
fn second_version(path: &Path) -> (tempfile::NamedTempFile, Digest) {
    let bytes = guests::variant(&std::fs::read(path).unwrap(), 2);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    (file, Digest::of(&bytes))
}

#[tokio::test]
async fn events_example_swaps_while_it_calls() {
    let orders = guests::plugin("orders", Profile::Dev).unwrap();
    let (second, digest) = second_version(&orders);
    let output = run("events", &[orders.as_ref(), second.path().as_ref()]).await;
    let [swap, answer, calls] = lines(&output)[..] else { panic!("{output:?}") };
    let digest = digest.short();
    assert_eq!(swap, format!("generation 2 serves {digest} now, after generation 1"));
    assert_eq!(answer, "the answer is order.confirmed");
    let n_calls: usize =
        calls.strip_suffix(" calls during the swap, none failed").unwrap().parse().unwrap();
    assert!(n_calls > 0, "no call was under way");
}

#[tokio::test]
async fn events_example_makes_its_own_second_version() {
    let orders = guests::plugin("orders", Profile::Dev).unwrap();
    let output = run("events", &[orders.as_ref()]).await;
    assert!(lines(&output)[0].starts_with("generation 2 serves "), "{output:?}");
}

#[tokio::test]
async fn own_world_example_calls_typed_and_swaps() {
    let filter = guests::guest("own_world").unwrap();
    let (second, digest) = second_version(&filter);
    let output = run("own_world", &[filter.as_ref(), second.path().as_ref()]).await;
    let [hello, first, same, trap, swap, again] = lines(&output)[..] else { panic!("{output:?}") };
    assert_eq!(hello, r#"transform gives Ok("HELLO!")"#);
    assert_eq!([first, same], ["this instance has transformed 1 text"; 2]);
    assert_eq!(trap, "a trap fails its call: true");
    assert_eq!(swap, format!("generation 2 serves {} now", digest.short()));
    assert_eq!(again, r#"transform gives Ok("AGAIN!")"#);
}

#[tokio::test]
async fn examples_say_how_they_are_used() {
    for name in ["axum", "events", "own_world"] {
        let output = run(name, &[]).await;
        assert!(!output.status.success(), "`{name}` without a component");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(&format!("usage: {name} ")), "{stderr}");
    }
}

#[tokio::test]
async fn axum_example_serves_its_page_and_the_handler_until_it_is_interrupted() {
    let hello = guests::plugin("hello", Profile::Dev).unwrap();
    let mut command = Command::new(example("axum"));
    command.arg(hello).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = command.spawn().unwrap();
    let mut stdout = BufReader::new(server.stdout.take().unwrap()).lines();
    let line = limited("the address", stdout.next_line()).await.unwrap().unwrap();
    let address: SocketAddr = line.strip_prefix("listening on http://").unwrap().parse().unwrap();

    let mut client = Client::connect(address).await;
    assert_eq!(client.get("/").await.text(), "the host's own page\n");
    let answer = client.get("/plugins/x").await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("Hello from wrt"), "{}", answer.text());
    assert_eq!(client.get("/elsewhere").await.status, 404);
    drop(client);

    // As the user's Ctrl-C does.
    let id = server.id().unwrap();
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {id}")]).status().await.unwrap();
    assert!(sent.success());
    let status = limited("the end of example `axum`", server.wait()).await.unwrap();
    assert!(status.success(), "{status}");
}
