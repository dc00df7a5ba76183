//! Answers every event with itself, its type followed by ".seen".

use wrt_guest::Event;

#[wrt_guest::event]
fn handle(mut event: Event) -> Event {
    event.ty.push_str(".seen");
    event
}
