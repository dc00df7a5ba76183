//! Hosts of which some handlers, or many, cannot be loaded: what is served, and what probes are told.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;
use wrt_test_support::process::WAIT_LIMIT;

use crate::binary::{Signalled, run, wrt};
use crate::client::Client;
use crate::project::Project;

/// More handlers than are made ready at the start.
const MANY: usize = 70;

/// The status of `/readyz` on the control plane at `admin`.
pub(crate) fn readyz(admin: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(WAIT_LIMIT)).unwrap();
    let request = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("expected a status line, found {answer:?}"))
}

/// A host with a control plane, and its user's state directory.
struct Host {
    server: Signalled,
    admin: SocketAddr,
    state: TempDir,
}

fn start(project: &Project, flags: &[&str]) -> Host {
    let state = tempfile::tempdir().unwrap();
    let mut command = wrt(["serve", "--listen", ":0", "--admin", ":0"]);
    command.args(flags).arg(project.root()).env("XDG_STATE_HOME", state.path());
    let mut server = Signalled::start(command);
    let line = server.wait_for_line("control plane on ");
    let admin = line.trim_end().strip_prefix("control plane on http://").unwrap();
    Host { admin: admin.parse().unwrap(), server, state }
}

impl Host {
    fn ps(&self) -> Vec<Value> {
        let mut command = wrt(["ps", "--json"]);
        command.env("XDG_STATE_HOME", self.state.path()).current_dir(self.state.path());
        let ended = run(&mut command);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Ends the host, and returns what it said since it was last listened to.
    fn end(mut self) -> String {
        self.server.signal(Signal::TERM);
        let rest = self.server.rest();
        assert_eq!(self.server.wait(), Some(0), "{rest}");
        rest
    }
}

fn component() -> Vec<u8> {
    fs::read(guests::guest("trap").unwrap()).unwrap()
}

/// A project with the handlers `names`, each at a path of its name, of a file of its name.
fn project(names: impl IntoIterator<Item = String>) -> Project {
    let project = Project::empty();
    let mut text = "[host]\nexpose_generation = true\n".to_owned();
    for name in names {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "[handler.{name}]\nsource = '{name}.wasm'\nroute = '/{name}'");
    }
    project.write("wrt.toml", &text);
    project
}

fn many() -> Project {
    let project = project((0..MANY).map(|i| format!("h{i}")));
    let component = component();
    for i in 0..MANY {
        fs::write(project.path(&format!("h{i}.wasm")), &component).unwrap();
    }
    project
}

#[test]
fn broken_handler_costs_the_others_nothing() {
    let project = project(["good", "bad", "gone"].map(str::to_owned));
    fs::write(project.path("good.wasm"), component()).unwrap();
    fs::write(project.path("bad.wasm"), "<!doctype html>").unwrap();
    let mut host = start(&project, &[]);
    let line = host.server.wait_for_line("has no active generation, and its requests fail");
    assert!(line.contains("`wrt swap "), "{line}");
    host.server.wait_for_line("has no active generation, and its requests fail");
    let mut client = Client::connect(host.server.address);
    assert_eq!(client.get("/good").body, "ok");
    assert_eq!(readyz(host.admin), 503);
    let problem_of = |i: usize| host.ps()[i]["problem"].as_str().map(str::to_owned);
    // By their names: "bad", "gone" and "good". The status follows what is told of it.
    let comes = |i: usize| std::iter::from_fn(|| Some(problem_of(i))).flatten().next().unwrap();
    let problems = [0, 1].map(comes);
    assert!(problems[0].contains("HTML") && problems[1].contains("gone.wasm"), "{problems:?}");
    assert_eq!(problem_of(2), None);
    let rest = host.end();
    assert!(!rest.contains("error:"), "{rest}");
}

#[test]
fn host_with_nothing_to_serve_ends_and_says_so() {
    let project = project(["a", "b"].map(str::to_owned));
    for name in ["a.wasm", "b.wasm"] {
        fs::write(project.path(name), "<!doctype html>").unwrap();
    }
    let mut command = wrt(["serve", "--listen", ":0", "--admin", "off"]);
    let ended = run(command.arg(project.root()));
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr.matches("error: rejected a new generation").count(), 2);
    let last = "error: each of the 2 handlers was refused; nothing is served\n";
    assert!(ended.stderr.ends_with(last), "{}", ended.stderr);
}

#[test]
fn handlers_that_wait_for_a_call_are_ready_when_their_files_can_be_loaded() {
    let project = many();
    fs::write(project.path("h3.wasm"), "<!doctype html>").unwrap();
    fs::remove_file(project.path("h5.wasm")).unwrap();
    // It can be read, and does not fit; nothing tells before it is loaded.
    fs::write(project.path("h7.wasm"), wat::parse_str("(component)").unwrap()).unwrap();
    let host = start(&project, &[]);
    assert_eq!(readyz(host.admin), 503);
    let mut client = Client::connect(host.server.address);
    assert_eq!(client.get("/h7").status, 503);
    assert_eq!(client.get("/h0").body, "ok");
    let problems: Vec<_> = host
        .ps()
        .iter()
        .filter(|handler| handler["problem"].is_string())
        .map(|handler| handler["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(problems, ["h3", "h5", "h7"]);
    for name in ["h3.wasm", "h5.wasm", "h7.wasm"] {
        WriteStyle::Rename.write(&project.path(name), &component()).unwrap();
    }
    while readyz(host.admin) != 200 {}
    let rest = host.end();
    assert_eq!(rest.matches("error:").count(), 1, "{rest}");
    assert!(rest.contains("its next call tries again"), "{rest}");
}

#[test]
fn many_handlers_without_files_are_not_ready_and_become_so() {
    let project = project((0..MANY).map(|i| format!("h{i}")));
    let host = start(&project, &[]);
    assert_eq!(readyz(host.admin), 503);
    let problems = host.ps().iter().filter(|handler| handler["problem"].is_string()).count();
    assert_eq!(problems, MANY);
    for i in 0..MANY {
        fs::write(project.path(&format!("h{i}.wasm")), component()).unwrap();
    }
    while readyz(host.admin) != 200 {}
    assert_eq!(Client::connect(host.server.address).get("/h69").body, "ok");
    host.end();
}

#[test]
fn watched_handlers_wait_for_a_call_too_when_there_are_many() {
    let project = many();
    let host = start(&project, &["--watch"]);
    while readyz(host.admin) != 200 {}
    let mut client = Client::connect(host.server.address);
    assert_eq!(client.get("/h1").generation(), 1);
    let loaded = host.ps().iter().filter(|handler| handler["serving"].is_object()).count();
    assert_eq!(loaded, 1);
    WriteStyle::Rename.write(&project.path("h1.wasm"), &guests::variant(&component(), 2)).unwrap();
    while client.get("/h1").generation() != 2 {}
    // One that nobody has called yet begins with what is there when it is called.
    let broken = fs::write(project.path("h2.wasm"), "<!doctype html>");
    broken.unwrap();
    while client.get("/h2").status != 503 {}
    WriteStyle::Rename.write(&project.path("h2.wasm"), &component()).unwrap();
    while client.get("/h2").status != 200 {}
    host.end();
}

#[test]
fn component_is_served_whatever_its_name() {
    let project = Project::empty();
    for name in ["X.WASM", "component"] {
        fs::write(project.path(name), component()).unwrap();
        let mut command = wrt(["serve", "--listen", ":0", "--admin", "off"]);
        command.arg(project.path(name));
        let server = Signalled::start(command);
        assert_eq!(Client::connect(server.address).get("/").body, "ok");
    }
    project.write("wrt.toml", "[handler.a]\nsource = 'X.WASM'\nroute = '/'\n");
    for command in ["serve", "dev"] {
        let mut command = wrt([command, "--listen", ":0", "--admin", "off"]);
        command.arg(project.root());
        let server = Signalled::start(command);
        assert_eq!(Client::connect(server.address).get("/").body, "ok");
    }
}

#[test]
fn host_that_was_killed_is_passed_over_when_its_number_lives_again() {
    let state = tempfile::tempdir().unwrap();
    let hosts = state.path().join("wrt/hosts");
    fs::create_dir_all(&hosts).unwrap();
    let left = hosts.join("127.0.0.1:9.json");
    // The number of this test, which is no host.
    let text = serde_json::json!({
        "address": "127.0.0.1:9",
        "token": "x",
        "pid": std::process::id(),
        "is_locked": true,
    });
    fs::write(&left, text.to_string()).unwrap();
    let ps = || -> Command {
        let mut command = wrt(["ps"]);
        command.env("XDG_STATE_HOME", state.path()).current_dir(state.path());
        command
    };
    let ended = run(&mut ps());
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("no host of yours is running"), "{}", ended.stderr);
    let mut command = wrt(["serve", "--listen", ":0", "--admin", ":0"]);
    command.arg(guests::guest("trap").unwrap()).env("XDG_STATE_HOME", state.path());
    let mut server = Signalled::start(command);
    server.wait_for_line("control plane on ");
    let ended = run(&mut ps());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!left.exists());
}
