//! The drain of a replaced generation, in a task aside from the supervisor's loop.

use std::sync::Arc;
use std::time::Duration;

use super::Guest;
use super::task::milliseconds;
use crate::error::shielded;
use crate::events::{EventBus, EventKind};
use crate::generation::Generation;
use crate::handler::Handler;

/// Drains `generation` within `deadline`, tells of it, and ends its instances. Returns how many calls
/// were cut.
pub(super) async fn drain<G: Guest>(
    guest: Arc<G>,
    handler: Arc<Handler<G::Ready>>,
    generation: Arc<Generation<G::Ready>>,
    deadline: Duration,
    bus: EventBus,
) -> usize {
    if let Some(loaded) = generation.peek() {
        // Stores are dropped, and with them the embedder's data.
        shielded("the end of idle instances", || guest.retire(loaded.ready()));
    }
    let drained = generation.drain(deadline).await;
    bus.emit(
        Some(handler.name()),
        None,
        EventKind::Drained {
            generation: generation.serving().generation,
            cut: drained.cut,
            // At the end of the runtime the drain begins before the generation is closed.
            waited_ms: milliseconds(drained.waited.max(handler.ending_for())),
        },
    );
    if let Some(loaded) = generation.peek() {
        // Bounded also where many instances each take their time; one of them always has its own.
        let bound = deadline.max(handler.policy().hand_over);
        let _ = tokio::time::timeout(bound, guest.close(loaded.ready())).await;
    }
    drained.cut
}

/// How many calls a drain cut. If it ended by a panic, that is logged.
pub(super) fn cut(drained: Result<usize, tokio::task::JoinError>) -> usize {
    drained.unwrap_or_else(|error| {
        // The handler goes on, since the generation is closed already.
        tracing::error!(%error, "a drain ended abnormally");
        0
    })
}
