//! Does by the event's type nothing, a change of JSON, or gives the data back: work to be measured.

use serde_json::Value;
use wrt_guest::{Error, Event, Result};

#[wrt_guest::event]
fn handle(event: Event) -> Result<Option<Event>> {
    match event.ty.as_str() {
        "noop" => Ok(None),
        "json" => {
            let mut document: Value = event.json()?;
            document["total"] = 30.into();
            event.with_json(&document).map(Some)
        }
        "bytes" => Ok(Some(event)),
        other => Err(Error::rejected(format!("unknown work `{other}`"))),
    }
}
