//! Takes memory until there is none on `/grow`, and answers "ok" otherwise.

use wrt_guest::Uri;

#[wrt_guest::http]
fn handle(uri: Uri) -> &'static str {
    if uri.path() == "/grow" {
        let mut kept = Vec::new();
        loop {
            // Not zero, so that every page is really written.
            kept.push(vec![1_u8; 1 << 20]);
            std::hint::black_box(&kept);
        }
    }
    "ok"
}
