//! Spins without end on an event of type "loop", and answers others with themselves.

use wrt_guest::Event;

#[wrt_guest::event]
fn handle(event: Event) -> Event {
    if event.ty == "loop" {
        loop {
            std::hint::spin_loop();
        }
    }
    event
}
