//! Sleeps without end on `/never`, and answers "ok" otherwise.

use std::time::Duration;
use wrt_guest::{Uri, time};

#[wrt_guest::http]
async fn handle(uri: Uri) -> &'static str {
    if uri.path() == "/never" {
        loop {
            time::sleep(Duration::from_hours(1)).await;
        }
    }
    "ok"
}
