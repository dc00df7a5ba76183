//! Rejects an event of type "reject" (on "reject-long" in 30 MB), fails on "fail", has no answer to "ignore", echoes others.

use wrt_guest::{Error, Event, Result};

/// Far more than anybody reads.
const LONG: usize = 30_000_000;

#[wrt_guest::event]
async fn handle(event: Event) -> Result<Option<Event>> {
    match event.ty.as_str() {
        "reject" => Err(Error::rejected("asked to reject")),
        "reject-long" => Err(Error::rejected("e".repeat(LONG))),
        "fail" => Err("asked to fail".into()),
        "ignore" => Ok(None),
        _ => Ok(Some(event)),
    }
}
