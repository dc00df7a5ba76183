//! `wrt serve --watch`: a component file that others replace, spoil, delete and bring back.

use std::fs;
use std::path::Path;

use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;
use wrt_test_support::process::ServerProcess;

use crate::binary::{start, wait};
use crate::client::Client;
use crate::project::Project;

/// A project that serves `page.wasm` as handler `page`, and names the generation in answers.
fn project() -> (Project, Vec<u8>) {
    let project = Project::empty();
    let component = fs::read(guests::guest("trap").unwrap()).unwrap();
    fs::write(project.path("page.wasm"), &component).unwrap();
    let text =
        "[host]\nexpose_generation = true\n[handler.page]\nsource = 'page.wasm'\nroute = '/'\n";
    project.write("wrt.toml", text);
    (project, component)
}

fn put(path: &Path, bytes: &[u8]) {
    WriteStyle::Rename.write(path, bytes).unwrap();
}

fn start_watching(project: &Project) -> (ServerProcess, Client) {
    let server = start("serve", project.root(), &["--watch"]);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/").generation(), 1);
    wait(&server, "page", "swapped", 0);
    (server, client)
}

#[test]
fn replaced_file_is_swapped_in_and_a_bad_one_is_not() {
    let (project, component) = project();
    let path = project.path("page.wasm");
    let (server, mut client) = start_watching(&project);

    let from = server.n_events();
    put(&path, &guests::variant(&component, 2));
    let swapped = wait(&server, "page", "swapped", from);
    assert_eq!(swapped.text("cause"), "`page.wasm` was replaced");
    assert_eq!(client.get("/").generation(), 2);

    let from = server.n_events();
    put(&path, b"<!doctype html><title>404");
    let rejected = wait(&server, "page", "rejected", from);
    assert_eq!(rejected.text("stage"), "compile");
    assert_eq!(rejected.text("error"), "expected a WebAssembly component, found an HTML page");
    assert_eq!(rejected.json["serving"]["generation"], 2);
    assert_eq!(rejected.text("cause"), "`page.wasm` was replaced");
    server.wait_for_stderr("note: generation 2 keeps serving").unwrap();
    assert_eq!(client.get("/").generation(), 2);

    let from = server.n_events();
    put(&path, &guests::variant(&component, 3));
    let swapped = wait(&server, "page", "swapped", from);
    assert_eq!(swapped.json["from"], 2);
    let answer = client.get("/");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    let served_by = answer.served_by().unwrap();
    assert_eq!(Some(served_by.generation), swapped.json["generation"].as_u64());
    assert!(swapped.text("digest").starts_with(&*served_by.digest));
}

#[test]
fn handler_that_is_not_built_yet_costs_the_others_nothing_and_is_served_when_it_is() {
    let (project, component) = project();
    project.write("plugins/Cargo.lock", "");
    project.write("plugins/late/Cargo.toml", "[package]\nname = 'late'\n");
    let text = fs::read_to_string(project.path("wrt.toml")).unwrap();
    let late = "[handler.late]\nsource = 'plugins/late'\nroute = '/late'\n";
    project.write("wrt.toml", &(text + late));
    let (server, mut client) = start_watching(&project);
    let rejected = wait(&server, "late", "rejected", 0);
    let error = rejected.text("error");
    assert!(error.contains("plugins/target/wasm32-wasip2/release/late.wasm"), "{error}");
    let built = project.path("plugins/target/wasm32-wasip2/release");
    fs::create_dir_all(&built).unwrap();
    put(&built.join("late.wasm"), &component);
    wait(&server, "late", "swapped", 0);
    assert_eq!(client.get("/late").status, 200);
}

#[test]
fn deleted_file_is_told_and_swapped_in_when_it_is_back() {
    let (project, component) = project();
    let path = project.path("page.wasm");
    let (server, mut client) = start_watching(&project);

    let from = server.n_events();
    fs::remove_file(&path).unwrap();
    let rejected = wait(&server, "page", "rejected", from);
    assert_eq!(rejected.text("stage"), "read");
    assert!(rejected.text("error").contains("page.wasm"), "{}", rejected.json);
    assert_eq!(rejected.json["serving"]["generation"], 1);
    assert_eq!(client.get("/").generation(), 1);

    let from = server.n_events();
    put(&path, &component);
    wait(&server, "page", "unchanged", from);
    assert_eq!(client.get("/").generation(), 1);

    fs::remove_file(&path).unwrap();
    wait(&server, "page", "rejected", from);
    put(&path, &guests::variant(&component, 2));
    wait(&server, "page", "swapped", from);
    assert_eq!(client.get("/").generation(), 2);
}

#[test]
fn file_that_is_written_slowly_is_swapped_in_whole() {
    let (project, component) = project();
    let (server, mut client) = start_watching(&project);
    let from = server.n_events();
    let bytes = guests::variant(&component, 2);
    let pause = std::time::Duration::from_millis(5);
    let style = WriteStyle::InPieces { piece: bytes.len() / 16 + 1, pause };
    style.write(&project.path("page.wasm"), &bytes).unwrap();
    wait(&server, "page", "swapped", from);
    assert_eq!(client.get("/").generation(), 2);
    let events = server.events(from);
    assert!(!events.iter().any(|event| event.is("rejected")), "{events:?}");
}

#[test]
fn stream_begun_before_a_swap_ends_on_its_own_generation() {
    let project = Project::empty();
    let component = fs::read(guests::guest("slow_stream").unwrap()).unwrap();
    let path = project.path("stream.wasm");
    fs::write(&path, &component).unwrap();
    let text =
        "[host]\nexpose_generation = true\n[handler.stream]\nsource = 'stream.wasm'\nroute = '/'\n";
    project.write("wrt.toml", text);
    let server = start("serve", project.root(), &["--watch"]);
    let mut old = Client::connect(server.address());
    old.send("GET", "/?chunks=20&ms=100", "", "");
    let (_, headers) = old.head();
    assert!(headers["wrt-generation"].starts_with("stream/1;"), "{headers:?}");
    old.chunk().unwrap();
    wait(&server, "stream", "swapped", 0);

    let from = server.n_events();
    put(&path, &guests::variant(&component, 2));
    wait(&server, "stream", "swapped", from);
    let mut new = Client::connect(server.address());
    assert_eq!(new.get("/?chunks=1").generation(), 2);

    let rest: Vec<u8> = std::iter::from_fn(|| old.chunk()).flatten().collect();
    assert!(rest.ends_with(b"chunk 20\n"), "{}", String::from_utf8_lossy(&rest));
    let drained = wait(&server, "stream", "drained", from);
    assert_eq!(
        (drained.json["generation"].as_u64(), drained.json["cut"].as_u64()),
        (Some(1), Some(0))
    );
}
