//! Takes memory until there is none on an event of type "grow", and answers others with themselves.

use wrt_guest::Event;

#[wrt_guest::event]
fn handle(event: Event) -> Event {
    if event.ty == "grow" {
        let mut kept = Vec::new();
        loop {
            // Not zero, so that every page is really written.
            kept.push(vec![1_u8; 1 << 20]);
            std::hint::black_box(&kept);
        }
    }
    event
}
