//! Counts the requests that this instance has seen: more than 1 shows that it is reused.

use std::sync::atomic::{AtomicU64, Ordering};

static SEEN: AtomicU64 = AtomicU64::new(0);

#[wrt_guest::http]
fn handle() -> String {
    // Ordering: relaxed, because a component has one thread.
    (SEEN.fetch_add(1, Ordering::Relaxed) + 1).to_string()
}
