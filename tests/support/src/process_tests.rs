//! Shell scripts stand for servers: what they print and how they end is read right.

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Prints the first line of a good server.
const READY: &str = "echo 'listening on http://127.0.0.1:4321' >&2";

#[test]
fn address_is_read_from_the_first_line() {
    let server = ServerProcess::start(shell(&format!("{READY}; read x")), Ready::WRT).unwrap();
    assert_eq!(server.address(), "127.0.0.1:4321".parse().unwrap());
}

#[test]
fn address_on_a_later_line_is_refused_where_the_first_is_promised() {
    let script = format!("echo hello >&2; {READY}; exec sleep 60");
    let error = ServerProcess::start(shell(&script), Ready::WRT).unwrap_err().to_string();
    assert!(error.contains("as the first line"), "{error}");
    let words = Ready::AnyLine("listening on ");
    assert!(ServerProcess::start(shell(&script), words).is_ok());
}

#[test]
fn server_that_ends_instead_of_listening_is_an_error_with_its_words() {
    let script = "echo no such file >&2; exit 1";
    let error = ServerProcess::start(shell(script), Ready::WASMTIME).unwrap_err().to_string();
    assert!(error.contains("stderr: no such file"), "{error}");
}

#[test]
fn event_is_waited_for_from_a_place_in_the_stream() {
    let script = format!(
        "{READY}; echo '{{\"event\":\"swapped\",\"generation\":1}}'; echo not json;
         echo '{{\"event\":\"swapped\",\"generation\":2}}'; exec sleep 60"
    );
    let server = ServerProcess::start(shell(&script), Ready::WRT).unwrap();
    let swapped = |event: &Event| event.is("swapped");
    assert_eq!(server.wait_for("a swap", 0, swapped).unwrap().json["generation"], 1);
    assert_eq!(server.wait_for("a swap", 1, swapped).unwrap().json["generation"], 2);
    assert_eq!((server.n_events(), server.events(1).len()), (2, 1));
}

#[test]
fn waiting_ends_with_the_server_and_says_for_what() {
    let script = format!("{READY}; echo '{{\"event\":\"staged\"}}'");
    let server = ServerProcess::start(shell(&script), Ready::WRT).unwrap();
    let error = server.wait_for("a swap", 0, |event| event.is("swapped")).unwrap_err().to_string();
    assert!(error.contains("expected a swap, in vain"), "{error}");
    assert!(error.contains(r#"event: {"event":"staged"}"#), "{error}");
}

#[test]
fn termination_gives_the_exit_status() {
    // The trap is set before the line that says so, and `wait` is interrupted by it.
    let script = format!("trap 'kill $!; exit 7' TERM; sleep 60 & {READY}; wait");
    let server = ServerProcess::start(shell(&script), Ready::WRT).unwrap();
    assert_eq!(server.terminate().unwrap().code(), Some(7));
}

#[test]
fn dropped_server_takes_along_what_it_started() {
    // The child writes its number; it ignores the polite signal.
    let script = format!(
        "sh -c 'trap \"\" TERM; echo \"{{\\\"event\\\":\\\"child\\\",\\\"pid\\\":$$}}\"; while :; do sleep 1; done' &
         {READY}; wait"
    );
    let server = ServerProcess::start(shell(&script), Ready::WRT).unwrap();
    let child = server.wait_for("the child", 0, |event| event.is("child")).unwrap();
    let heard = Arc::clone(&server.heard);
    drop(server);
    // The pipes close only when the last process that holds them is gone.
    let mut state = heard.lock();
    while state.n_open_streams > 0 {
        let (next, timeout) = heard.changed.wait_timeout(state, WAIT_LIMIT).unwrap();
        assert!(!timeout.timed_out(), "process {} lives on", child.json["pid"]);
        state = next;
    }
}
