//! `wrt serve`: a component, a manifest with several handlers, what a client sees of a failure.

use std::fs;
use std::path::PathBuf;

use wrt_test_support::guests;

use crate::binary::{start, wait};
use crate::client::Client;
use crate::project::Project;

/// A project with the guests `names` beside a manifest with `text`.
fn project(names: &[&str], text: &str) -> Project {
    let project = Project::empty();
    for name in names {
        let guest: PathBuf = guests::guest(name).unwrap();
        fs::copy(guest, project.path(&format!("{name}.wasm"))).unwrap();
    }
    project.write("wrt.toml", text);
    project
}

#[test]
fn component_is_served_at_every_path_and_events_have_their_fields() {
    let server = start("serve", &guests::guest("trap").unwrap(), &[]);
    let mut client = Client::connect(server.address());
    let answer = client.get("/any/path");
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert!(answer.served_by().is_none(), "{answer:?}");

    let swapped = wait(&server, "trap", "swapped", 0);
    let events = server.events(0);
    let url = format!("http://{}", server.address());
    assert!(events[0].is("listening") && events[0].text("url") == url, "{:?}", events[0]);
    for event in &events {
        let time = event.text("time");
        assert!(time.len() == 24 && time.contains('T') && time.ends_with('Z'), "{time}");
    }
    let staged = &wait(&server, "trap", "staged", 0).json;
    assert_eq!(staged["tier"], "optimized");
    // The tests share a cache directory, so an earlier run may have compiled it.
    let by = staged["compiled_by"].as_str().unwrap();
    assert!(["compiler", "functions", "disk"].contains(&by), "{by}");
    assert!(staged["bytes"].as_u64().unwrap() > 0 && staged["compile_ms"].as_f64().unwrap() > 0.0);
    assert!(staged.get("build_ms").is_none(), "nothing was built: {staged}");
    let swapped = &swapped.json;
    assert_eq!((swapped["generation"].as_u64(), swapped.get("from")), (Some(1), None));
    assert_eq!(swapped["digest"], staged["digest"]);
    assert_eq!(swapped["digest"].as_str().unwrap().len(), 64);
    assert_eq!(
        (swapped["pause_ms"].as_f64(), swapped["state"].as_str()),
        (Some(0.0), Some("none"))
    );
    assert!(swapped["total_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(swapped["cause"], "first load");
}

#[test]
fn manifest_routes_to_each_of_its_handlers() {
    let text = "\
[host]
expose_generation = true
[handler.echo]
source = 'post_echo.wasm'
route = '/echo'
[handler.settings]
source = 'config_reader.wasm'
route = '/settings/*'
[handler.settings.config]
colour = 'green'
[handler.events]
source = 'event_echo.wasm'
route = '/events'
types = ['order.*']
";
    let project = project(&["post_echo", "config_reader", "event_echo"], text);
    let server = start("serve", project.root(), &[]);
    let mut client = Client::connect(server.address());
    let answer = client.post("/echo", "", "abc");
    assert!(answer.body.starts_with("3 "), "{answer:?}");
    assert_eq!(&*answer.served_by().unwrap().handler, "echo");
    assert_eq!(client.get("/settings/a?key=colour").body, "green");
    let answer = client.get("/elsewhere");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (404, "no handler has a route for `/elsewhere`")
    );
    let event =
        |ty: &str| format!("ce-specversion: 1.0\r\nce-id: 1\r\nce-source: /t\r\nce-type: {ty}\r\n");
    let answer = client.post("/events", &event("order.new"), "");
    assert_eq!((answer.status, answer.headers["ce-type"].as_str()), (200, "order.new.seen"));
    assert_eq!(client.post("/events", &event("other"), "").status, 400);
}

#[test]
fn failed_call_tells_the_terminal_everything_and_the_client_nothing() {
    let server = start("serve", &guests::guest("trap").unwrap(), &[]);
    let mut client = Client::connect(server.address());
    let answer = client.get("/trap");
    assert_eq!((answer.status, answer.body.as_str()), (500, "handler `trap` failed"));
    let failed = wait(&server, "trap", "call-failed", 0);
    assert_eq!(failed.json["generation"], 1);
    assert!(!failed.text("outcome").is_empty() && !failed.text("request_id").is_empty());
    server.wait_for_stderr("asked to trap").unwrap();
    server.wait_for_stderr("a call failed on generation 1").unwrap();
    assert_eq!(client.get("/").body, "ok");
}

#[test]
fn failed_call_shows_a_developer_the_error_and_what_serves() {
    let server = start("dev", &guests::guest("trap").unwrap(), &[]);
    let mut client = Client::connect(server.address());
    let answer = client.get("/trap");
    assert_eq!(answer.status, 500);
    for expected in ["handler `trap` failed: the guest ", "note: generation 1 ("] {
        assert!(answer.body.contains(expected), "no `{expected}` in {}", answer.body);
    }
    assert_eq!(answer.generation(), 1);
    assert_eq!(client.get("/").body, "ok");
}
