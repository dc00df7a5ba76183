//! Signals end the server in order, a second one at once; a closed pipe does not end it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use wrt_test_support::guests;

use crate::binary::{Signalled, wrt};
use crate::client::Client;
use crate::project::Project;
use crate::ready::readyz;

/// Starts `wrt serve` of a guest that streams.
fn start() -> Signalled {
    let guest = guests::guest("slow_stream").unwrap();
    let mut command = wrt(["serve", "--listen", ":0", "--admin", "off"]);
    command.arg(guest);
    Signalled::start(command)
}

/// Sends a request for a long stream, and reads the start of its response.
fn begin(server: &Signalled, path: &str) -> Client {
    let mut client = Client::connect(server.address);
    client.send("GET", path, "", "");
    assert_eq!(client.head().0, 200);
    assert!(client.chunk().unwrap().starts_with(b"chunk 1\n"));
    client
}

fn in_flight_stream_ends_whole_after(signal: Signal) {
    let mut server = start();
    let mut client = begin(&server, "/?chunks=10&ms=100");
    server.signal(signal);
    server.wait_for_line("stopping");
    // The listener is closed soon after that was said.
    while TcpStream::connect(server.address).is_ok() {}
    let rest: Vec<u8> = std::iter::from_fn(|| client.chunk()).flatten().collect();
    assert!(rest.ends_with(b"chunk 10\n"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn sigterm_stops_accepting_and_lets_calls_finish() {
    in_flight_stream_ends_whole_after(Signal::TERM);
}

#[test]
fn sigint_stops_accepting_and_lets_calls_finish() {
    in_flight_stream_ends_whole_after(Signal::INT);
}

#[test]
fn second_signal_ends_at_once() {
    let mut server = start();
    // Longer than any test waits.
    let client = begin(&server, "/?chunks=2&ms=600000");
    server.signal(Signal::INT);
    server.wait_for_line("stopping");
    assert_eq!(server.stop_at_once(), Some(0));
    let rest = server.rest();
    assert!(rest.contains("stopped at once; 1 connection was cut"), "{rest}");
    drop(client);
}

#[test]
fn signals_that_come_together_cut_nothing() {
    let mut server = start();
    let mut client = begin(&server, "/?chunks=3&ms=10");
    // As GNU `timeout` does, which signals its child and then its group.
    server.signal(Signal::TERM);
    server.signal(Signal::TERM);
    let rest: Vec<u8> = std::iter::from_fn(|| client.chunk()).flatten().collect();
    assert!(rest.ends_with(b"chunk 3\n"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(server.wait(), Some(0));
    let rest = server.rest();
    assert!(rest.contains("nothing was cut"), "{rest}");
}

#[test]
fn closed_pipe_is_no_error_and_serving_goes_on() {
    let guest = guests::guest("trap").unwrap();
    let mut command = wrt(["serve", "--json", "--listen", ":0", "--admin", "off"]);
    command.arg(guest).stdout(Stdio::piped());
    let mut server = Signalled::start(command);
    let mut stdout = BufReader::new(server.stdout());
    let mut line = String::new();
    while !line.contains("\"swapped\"") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
    }
    drop(stdout);
    let mut client = Client::connect(server.address);
    // A call that fails is an event, which nobody reads any more.
    for (path, status) in [("/trap", 500), ("/trap", 500), ("/", 200)] {
        assert_eq!(client.get(path).status, status);
    }
    server.wait_for_line("a call failed");
    server.signal(Signal::TERM);
    assert_eq!(server.end().code(), Some(0));
}

/// A project with two handlers that stream, `short` and `long`, which give calls a second and five
/// minutes to end.
fn project() -> Project {
    let project = Project::empty();
    fs::copy(guests::guest("slow_stream").unwrap(), project.path("a.wasm")).unwrap();
    project.write(
        "wrt.toml",
        "[handler.short]\nsource = 'a.wasm'\nroute = '/short'\ndrain = '1s'\n\
         [handler.long]\nsource = 'a.wasm'\nroute = '/long'\ndrain = '5m'\n",
    );
    project
}

/// Starts `wrt serve` of a project with a control plane, whose address is returned.
fn start_controlled(project: &Project, flags: &[&str]) -> (Signalled, SocketAddr) {
    let mut command = wrt(["serve", "--listen", ":0", "--admin", ":0"]);
    command.args(flags).arg(project.root());
    let mut server = Signalled::start(command);
    let line = server.wait_for_line("control plane on ");
    let admin = line.trim_end().strip_prefix("control plane on http://").unwrap();
    (server, admin.parse().unwrap())
}

#[test]
fn drain_of_each_handler_counts_from_the_signal_and_what_it_cuts_is_told() {
    let project = project();
    let (mut server, admin) = start_controlled(&project, &[]);
    // Longer than any test waits, and longer than the other handler's drain.
    let mut short = begin(&server, "/short?chunks=2&ms=600000");
    let mut long = begin(&server, "/long?chunks=30&ms=100");
    assert_eq!(readyz(admin), 200);
    server.signal(Signal::TERM);
    server.wait_for_line("stopping");
    while readyz(admin) != 503 {}
    server.wait_for_line("1 call was cut on generation 1");
    assert!(short.is_broken_off());
    let rest: Vec<u8> = std::iter::from_fn(|| long.chunk()).flatten().collect();
    assert!(rest.ends_with(b"chunk 30\n"), "{}", String::from_utf8_lossy(&rest));
    let rest = server.rest();
    assert!(rest.contains("1 call and 0 connections were cut"), "{rest}");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn load_balancer_is_told_before_the_listener_closes() {
    let project = project();
    let (mut server, admin) = start_controlled(&project, &["--pre-stop", "10m"]);
    let mut early = begin(&server, "/short?chunks=10&ms=10");
    while readyz(admin) != 200 {}
    server.signal(Signal::TERM);
    server.wait_for_line("stopping accepting connections in 600s");
    while readyz(admin) != 503 {}
    while early.chunk().is_some() {}
    // A new connection, and one that stays open for a further request.
    let mut late = begin(&server, "/short?chunks=10&ms=10");
    while late.chunk().is_some() {}
    assert_eq!(server.stop_at_once(), Some(0));
}

#[test]
fn closed_terminal_ends_the_host_in_order_and_takes_its_token_along() {
    // Nothing that could be read again: SIGHUP can only mean that the terminal has closed.
    let state = tempfile::tempdir().unwrap();
    let mut command = wrt(["serve", "--listen", ":0", "--admin", ":0"]);
    command.arg(guests::guest("slow_stream").unwrap()).env("XDG_STATE_HOME", state.path());
    let mut server = Signalled::start(command);
    server.wait_for_line("control plane on ");
    let hosts = state.path().join("wrt/hosts");
    assert_eq!(fs::read_dir(&hosts).unwrap().count(), 1);
    let mut client = begin(&server, "/?chunks=10&ms=100");
    server.signal(Signal::HUP);
    server.wait_for_line("stopping");
    while client.chunk().is_some() {}
    assert_eq!(server.wait(), Some(0));
    assert_eq!(fs::read_dir(&hosts).unwrap().count(), 0);
}

#[test]
fn hang_up_asks_a_host_with_a_manifest_to_read_it_again() {
    let project = project();
    let (mut server, _) = start_controlled(&project, &[]);
    server.signal(Signal::HUP);
    server.wait_for_line("the plan changes nothing (SIGHUP)");
    // Comes with a write beyond the size that files may have, and ends whoever does not expect it.
    server.signal(Signal::XFSZ);
    let mut client = begin(&server, "/short?chunks=2&ms=10");
    while client.chunk().is_some() {}
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
}

/// Expects that `wrt COMMAND` takes along what builds when `signal` ends it.
fn takes_its_build_along(command: &str, signal: Signal) {
    let project = Project::empty();
    let pid = project.path("pid");
    // Whole when it has its name.
    let build = "echo $$ > new && mv new pid && exec sleep 1000000";
    let source = format!("source = {{ command = '{build}', output = 'x.wasm' }}");
    project.write("wrt.toml", &format!("[handler.h]\n{source}\n"));
    let mut wrt = wrt([command]);
    if command == "dev" {
        wrt.args(["--listen", ":0", "--admin", "off"]);
    }
    let mut child = wrt.arg(project.root()).stderr(Stdio::null()).spawn().unwrap();
    let number = loop {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it built");
        if let Ok(text) = fs::read_to_string(&pid) {
            break Pid::from_raw(text.trim().parse().unwrap()).unwrap();
        }
    };
    kill_process(Pid::from_child(&child), signal).unwrap();
    child.wait().unwrap();
    while test_kill_process(number).is_ok() {}
}

#[test]
fn build_whose_output_nobody_reads_is_ended_all_the_same() {
    let project = Project::empty();
    let handler = |name: &str, command: &str| {
        let source = format!("{{ command = '{command}', output = '{name}.wasm' }}");
        format!("[handler.{name}]\nsource = {source}\nroute = '/{name}'\n")
    };
    let sleeps = handler("sleeps", "echo $$ > new && mv new pid && exec sleep 1000000");
    // More than a pipe takes, as soon as the other one is there.
    let says = handler("says", "until [ -e pid ]; do sleep 0.01; done; seq 50000; exit 1");
    project.write("wrt.toml", &(sleeps + &says));
    let mut child = wrt(["build"]).arg(project.root()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = child.stderr.take().unwrap();
    // From the first word on, wrt waits for somebody to read the rest.
    stderr.read_exact(&mut [0]).unwrap();
    let pid = fs::read_to_string(project.path("pid")).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // One that comes soon after the first counts as the same.
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(2));
    while test_kill_process(pid).is_ok() {}
}

#[test]
fn build_is_ended_with_the_host_that_wanted_it() {
    takes_its_build_along("dev", Signal::TERM);
}

#[test]
fn build_is_ended_with_its_command() {
    takes_its_build_along("build", Signal::INT);
    takes_its_build_along("build", Signal::HUP);
}
