//! Counts events in memory, and answers with the count; begins, ends and hands over as `chosen.rs`
//! says. An event of type "trap" or "loop" does that; data is the size of later snapshots in bytes.

mod chosen;

use wrt_guest::{Error, Event, Result};

#[wrt_guest::event]
fn handle(event: Event) -> Result<Event> {
    let size = match event.data.as_deref() {
        None | Some([]) => None,
        Some(data) => Some(std::str::from_utf8(data)?.parse().map_err(Error::rejected)?),
    };
    let answer = Event::new(event.id, "/stateful", "counted");
    Ok(answer.with_data("application/json", chosen::call(&event.ty, size)))
}
