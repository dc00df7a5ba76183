//! Logs at every level, and prints, with text that would control a terminal if it got there raw.

use wrt_guest::log;

/// Turns a terminal red, sets its title, clears it, and overwrites a line.
const ESCAPES: &str = "\x1b[31mred\x1b]0;title\x07\x1b[2Jcleared\rover";

#[wrt_guest::http]
#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what the host does with it is tested"
)]
fn handle() -> &'static str {
    log::trace!("traced");
    log::debug!("debugged");
    log::info!("first line\nsecond line");
    log::warn!("{ESCAPES}");
    log::error!("failed");
    log::critical!("lost");
    println!("stdout {ESCAPES}");
    eprintln!("stderr {ESCAPES}");
    "ok"
}
