//! Calls itself until the stack is full on `/deep`, and answers "ok" otherwise.

use wrt_guest::Uri;

#[wrt_guest::http]
fn handle(uri: Uri) -> String {
    if uri.path() == "/deep" { descend(1).to_string() } else { "ok".into() }
}

/// Never reaches its end; the value from below is used, so that this is not made a loop.
fn descend(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    if here[0] == u64::MAX { 0 } else { descend(depth + 1) + here[63] }
}
