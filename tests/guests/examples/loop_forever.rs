//! Spins without end on `/loop`, and answers "ok" otherwise.

use wrt_guest::Uri;

#[wrt_guest::http]
fn handle(uri: Uri) -> &'static str {
    if uri.path() == "/loop" {
        loop {
            std::hint::spin_loop();
        }
    }
    "ok"
}
