//! Signals end the server in order, a second one at once; a closed pipe does not end it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::Stdio;

use rustix::process::Signal;
use wrt_test_support::guests;

use crate::binary::{Signalled, wrt};
use crate::client::Client;

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
    server.signal(Signal::TERM);
    assert_eq!(server.end().code(), Some(0));
    drop(client);
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
