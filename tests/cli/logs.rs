//! What guests log reaches the terminal as text behind their name, and cannot steer it.

use wrt_test_support::guests;

use crate::binary::{start, wait};
use crate::client::Client;

#[test]
fn guest_text_has_its_handler_in_front_and_no_escape_sequences() {
    let server = start("serve", &guests::guest("log_noise").unwrap(), &[]);
    assert_eq!(Client::connect(server.address()).get("/").body, "ok");
    server
        .wait_for("the last line", 0, |event| event.text("message").starts_with("stderr "))
        .unwrap();
    let last = server.wait_for_stderr("| stderr ").unwrap();
    assert!(last.starts_with("log_noise  | stderr \\u{1b}[31mred\\u{1b}]0;title"), "{last}");
    let said = server.stderr();
    let is_control = |c: char| c.is_control() && c != '\n';
    assert!(!said.contains(is_control), "{said:?}");
    for expected in [
        "log_noise  | info: log_noise: first line",
        "log_noise  | second line",
        "log_noise  | warn: log_noise: \\u{1b}[31mred",
        "log_noise  | error: log_noise: failed",
        "log_noise  | critical: log_noise: lost",
        "log_noise  | stdout \\u{1b}[31mred",
    ] {
        assert!(said.contains(expected), "no `{expected}` in {said}");
    }

    let log = wait(&server, "log_noise", "log", 0);
    assert_eq!(log.json["generation"], 1);
    assert!(["trace", "debug", "info"].contains(&log.text("level")), "{}", log.json);
}
