//! Traps on an event of type "trap", and answers others with themselves.

use wrt_guest::Event;

#[wrt_guest::event]
fn handle(event: Event) -> Event {
    assert!(event.ty != "trap", "asked to trap");
    event
}
