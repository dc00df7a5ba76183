//! A manifest that is edited while the host runs: by SIGHUP, and by itself where the host watches.

use std::fs;
use std::io::Write as _;

use rustix::process::{Pid, Signal, kill_process};
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;
use wrt_test_support::process::{Event, ServerProcess};

use crate::binary::{start, wait};
use crate::client::Client;
use crate::project::Project;

const READER: &str = "\
[handler.reader]
source = 'reader.wasm'
route = '/reader/*'
config = { greeting = 'GREETING' }
";

const COUNTER: &str = "[handler.counter]\nsource = 'counter.wasm'\nroute = '/counter'\n";

/// A project with two components, of which the manifest names one.
fn project() -> Project {
    let project = Project::empty();
    for (file, guest) in [("reader.wasm", "config_reader"), ("counter.wasm", "counter")] {
        fs::copy(guests::guest(guest).unwrap(), project.path(file)).unwrap();
    }
    project.write("wrt.toml", &READER.replace("GREETING", "hello"));
    project
}

/// Writes the manifest as editors do.
fn save(project: &Project, manifest: &str) {
    WriteStyle::Rename.write(&project.path("wrt.toml"), manifest.as_bytes()).unwrap();
}

fn hang_up(server: &ServerProcess) {
    let pid = i32::try_from(server.id()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

/// The next plan that was told of, from event `from` on.
fn planned(server: &ServerProcess, from: usize) -> Event {
    server.wait_for("an event of a plan", from, |event| event.is("plan")).unwrap()
}

fn greeting(client: &mut Client) -> String {
    client.get("/reader/?key=greeting").body
}

#[test]
fn hang_up_applies_what_the_manifest_says_now() {
    let project = project();
    let server = start("serve", project.root(), &[]);
    let mut client = Client::connect(server.address());
    assert_eq!(greeting(&mut client), "hello");
    assert_eq!(client.get("/counter").status, 404);

    let from = server.n_events();
    save(&project, &(READER.replace("GREETING", "hi") + COUNTER));
    hang_up(&server);
    let plan = planned(&server, from);
    assert_eq!((plan.text("outcome"), plan.text("cause")), ("applied", "SIGHUP"));
    assert_eq!(plan.json["changes"]["counter"]["change"], "added");
    assert_eq!(plan.json["changes"]["reader"]["keys"][0], "config");
    assert_eq!(greeting(&mut client), "hi");
    assert_eq!(client.get("/counter").status, 200);
    server.wait_for_stderr("`counter` added, `reader` changed (config)").unwrap();

    let from = server.n_events();
    save(&project, "[handler.reader]\nsorce = 'reader.wasm'\n");
    hang_up(&server);
    let plan = planned(&server, from);
    assert_eq!(plan.text("outcome"), "refused");
    assert!(plan.text("error").contains("sorce"), "{}", plan.json);
    let hints = plan.json["hints"].to_string();
    assert!(hints.contains("`source`"), "the nearest key: {}", plan.json);
    server.wait_for_stderr("nothing has changed").unwrap();
    assert_eq!(greeting(&mut client), "hi");

    let from = server.n_events();
    save(&project, COUNTER);
    hang_up(&server);
    assert_eq!(planned(&server, from).json["changes"]["reader"]["change"], "removed");
    assert_eq!(client.get("/reader/").status, 404);
    assert_eq!(client.get("/counter").status, 200);
    let from = server.n_events();
    hang_up(&server);
    assert_eq!(planned(&server, from).text("outcome"), "unchanged");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn host_that_watches_applies_its_manifest_by_itself() {
    let project = project();
    let server = start("serve", project.root(), &["--watch"]);
    let mut client = Client::connect(server.address());
    assert_eq!(greeting(&mut client), "hello");

    let from = server.n_events();
    save(&project, &(READER.replace("GREETING", "hi") + COUNTER));
    let plan = planned(&server, from);
    assert_eq!(plan.text("cause"), "`wrt.toml` was written");
    assert_eq!(greeting(&mut client), "hi");
    wait(&server, "counter", "swapped", from);
    assert_eq!(client.get("/counter").status, 200);

    // What came by the manifest is watched like everything else, with its settings.
    let from = server.n_events();
    let reader = fs::read(project.path("reader.wasm")).unwrap();
    let next = guests::variant(&reader, 2);
    WriteStyle::Rename.write(&project.path("reader.wasm"), &next).unwrap();
    wait(&server, "reader", "swapped", from);
    assert_eq!(greeting(&mut client), "hi");
    let counter = fs::read(project.path("counter.wasm")).unwrap();
    let next = guests::variant(&counter, 2);
    WriteStyle::Rename.write(&project.path("counter.wasm"), &next).unwrap();
    wait(&server, "counter", "swapped", from);

    let from = server.n_events();
    save(&project, COUNTER);
    assert_eq!(planned(&server, from).json["changes"]["reader"]["change"], "removed");
    assert_eq!(client.get("/reader/").status, 404);
    assert!(server.terminate().unwrap().success());
}

#[test]
fn manifest_that_goes_back_after_a_refusal_is_told_of() {
    let project = project();
    let server = start("serve", project.root(), &["--watch"]);
    let applied = READER.replace("GREETING", "hello");

    let from = server.n_events();
    save(&project, "[handler.reader]\nsorce = 'reader.wasm'\n");
    assert_eq!(planned(&server, from).text("outcome"), "refused");
    let from = server.n_events();
    save(&project, &applied);
    assert_eq!(planned(&server, from).text("outcome"), "unchanged");

    // A plan that the runtime refuses is a refusal, too: here two handlers want one route.
    let from = server.n_events();
    save(&project, &(applied.clone() + &COUNTER.replace("'/counter'", "'/reader/*'")));
    assert_eq!(planned(&server, from).text("outcome"), "refused");
    let from = server.n_events();
    save(&project, &applied);
    assert_eq!(planned(&server, from).text("outcome"), "unchanged");
    assert_eq!(greeting(&mut Client::connect(server.address())), "hello");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn first_component_that_its_settings_kept_from_serving_is_tried_again_when_they_change() {
    let project = project();
    let good = fs::read_to_string(project.path("wrt.toml")).unwrap();
    save(&project, &(good.clone() + "probe = '/?key=nothing'\n"));
    let server = start("serve", project.root(), &["--watch"]);
    let mut client = Client::connect(server.address());
    wait(&server, "reader", "rejected", 0);
    assert_eq!(client.get("/reader/?key=greeting").status, 503);
    save(&project, &good);
    wait(&server, "reader", "swapped", 0);
    assert_eq!(greeting(&mut client), "hello");

    // The same for a newer component: it is tried again, and not the one that serves.
    let from = server.n_events();
    let reader = fs::read(project.path("reader.wasm")).unwrap();
    save(&project, &(good.clone() + "probe = '/?key=other'\n"));
    wait(&server, "reader", "rejected", from);
    let from = server.n_events();
    let next = guests::variant(&reader, 2);
    WriteStyle::Rename.write(&project.path("reader.wasm"), &next).unwrap();
    wait(&server, "reader", "rejected", from);
    save(&project, &good);
    let digest = wrt::Digest::of(&next).to_string();
    let is_next = |event: &Event| event.is("swapped") && event.text("digest") == digest;
    server.wait_for("the newer component", from, is_next).unwrap();
    assert_eq!(greeting(&mut client), "hello");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn handler_that_comes_back_begins_with_what_the_manifest_says() {
    let project = project();
    let server = start("serve", project.root(), &[]);
    let mut client = Client::connect(server.address());
    wait(&server, "reader", "swapped", 0);
    let again = |manifest: &str| {
        let from = server.n_events();
        save(&project, manifest);
        hang_up(&server);
        planned(&server, from)
    };
    again(COUNTER);
    // What it ran before would answer here.
    let plan = again("[handler.reader]\nsource = 'nothing.wasm'\nroute = '/reader/*'\n");
    assert_eq!(plan.json["changes"]["reader"]["change"], "refused", "{}", plan.json);
    assert_eq!(plan.json["changes"]["reader"]["serving"], serde_json::Value::Null);
    assert_eq!(client.get("/reader/?key=greeting").status, 503);
    assert!(server.terminate().unwrap().success());
}

#[test]
fn manifest_that_is_being_written_is_not_read() {
    let project = project();
    let server = start("serve", project.root(), &["--watch"]);
    wait(&server, "reader", "swapped", 0);
    let from = server.n_events();
    let mut file = fs::File::create(project.path("wrt.toml")).unwrap();
    file.write_all(COUNTER.as_bytes()).unwrap();
    // Longer than it takes to notice a file that stays the same.
    std::thread::sleep(std::time::Duration::from_millis(500));
    file.write_all(READER.replace("GREETING", "hello").as_bytes()).unwrap();
    drop(file);
    let plan = planned(&server, from);
    assert_eq!(plan.json["changes"]["reader"], serde_json::Value::Null, "{}", plan.json);
    assert_eq!(plan.json["changes"]["counter"]["change"], "added");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn settings_that_a_component_does_not_run_with_leave_it_as_it_was() {
    let project = project();
    let server = start("serve", project.root(), &["--watch"]);
    let mut client = Client::connect(server.address());
    wait(&server, "reader", "swapped", 0);
    assert_eq!(greeting(&mut client), "hello");
    let from = server.n_events();
    let good = READER.replace("GREETING", "hi");
    save(&project, &(good.clone() + "probe = '/?key=nothing'\n"));
    let plan = planned(&server, from);
    assert_eq!(plan.json["changes"]["reader"]["change"], "refused", "{}", plan.json);
    let rejected = wait(&server, "reader", "rejected", from);
    assert_eq!(rejected.text("stage"), "probe");
    assert_eq!(greeting(&mut client), "hello");
    save(&project, &good);
    wait(&server, "reader", "swapped", from);
    assert_eq!(greeting(&mut client), "hi");
    assert!(server.terminate().unwrap().success());
}
