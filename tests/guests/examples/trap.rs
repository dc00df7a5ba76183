//! Traps on `/trap`, and answers "ok" otherwise.

use wrt_guest::Uri;

#[wrt_guest::http]
fn handle(uri: Uri) -> &'static str {
    assert!(uri.path() != "/trap", "asked to trap");
    "ok"
}
