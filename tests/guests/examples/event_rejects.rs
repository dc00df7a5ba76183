//! Rejects an event of type "reject", fails on "fail", has no answer to "ignore", echoes others.

use wrt_guest::{Error, Event, Result};

#[wrt_guest::event]
async fn handle(event: Event) -> Result<Option<Event>> {
    match event.ty.as_str() {
        "reject" => Err(Error::rejected("asked to reject")),
        "fail" => Err("asked to fail".into()),
        "ignore" => Ok(None),
        _ => Ok(Some(event)),
    }
}
