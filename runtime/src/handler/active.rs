//! The one cell that says which generation of a handler is active: the only swap point.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use crate::events::Serving;
use crate::generation::{Generation, Pass};

/// See the [module](self).
///
/// # Invariants
///
/// 1. Only the handler's supervisor publishes.
/// 2. A generation is closed only after its successor is in the cell, so a call that is refused by
///    a closed gate finds another generation when it loads again.
#[derive(Debug)]
pub(crate) struct ActiveCell<R> {
    current: ArcSwapOption<Generation<R>>,
    /// Wakes the calls that came before the first generation, and those that end without one.
    changed: Notify,
}

impl<R> ActiveCell<R> {
    pub(crate) fn new() -> Self {
        Self { current: ArcSwapOption::const_empty(), changed: Notify::new() }
    }

    /// Makes `next` the active generation and returns the one it replaces.
    #[must_use = "the replaced generation has to be drained"]
    pub(crate) fn publish(&self, next: Arc<Generation<R>>) -> Option<Arc<Generation<R>>> {
        let previous = self.current.swap(Some(next));
        self.changed.notify_waiters();
        previous
    }

    /// Leaves the handler without a generation, for shutdown.
    pub(crate) fn clear(&self) -> Option<Arc<Generation<R>>> {
        self.current.swap(None)
    }

    /// What is active now, for messages.
    pub(crate) fn serving(&self) -> Option<Serving> {
        self.current.load().as_ref().map(|generation| generation.serving())
    }

    /// Calls inside the active generation.
    pub(crate) fn in_flight(&self) -> usize {
        self.current.load().as_ref().map_or(0, |generation| generation.in_flight())
    }

    /// Enters the active generation, or nothing when there is none yet.
    pub(crate) fn try_enter(&self) -> Option<Pass<R>> {
        loop {
            let current = self.current.load();
            let generation = current.as_ref()?;
            if let Some(pass) = generation.try_enter() {
                return Some(pass);
            }
            // Closed between the load and the attempt: by invariant 2 the next load sees another
            // generation, or none at shutdown.
            std::hint::spin_loop();
        }
    }

    /// Enters the active generation, waiting for the first one if need be; the caller bounds it.
    ///
    /// # Cancel safety
    ///
    /// Nothing is entered when this is dropped before it is ready.
    pub(crate) async fn enter(&self) -> Pass<R> {
        loop {
            // Registered before the look, so that a publication in between is not missed.
            let changed = self.changed.notified();
            if let Some(pass) = self.try_enter() {
                return pass;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::generation::Retirement;
    use crate::id::{Digest, GenerationNumber};

    fn generation(number: u64) -> Arc<Generation<u64>> {
        Arc::new(Generation::new(
            GenerationNumber::new(number),
            Digest::of(&number.to_le_bytes()),
            number,
            Retirement::default(),
        ))
    }

    #[tokio::test]
    async fn a_call_waits_for_the_first_generation() {
        let cell = Arc::new(ActiveCell::new());
        assert!(cell.try_enter().is_none());
        let waiting = tokio::spawn({
            let cell = Arc::clone(&cell);
            async move { *cell.enter().await }
        });
        assert!(cell.publish(generation(7)).is_none());
        assert_eq!(waiting.await.expect("the call does not panic"), 7);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn calls_enter_only_generations_that_are_not_drained_while_they_are_replaced() {
        let cell = Arc::new(ActiveCell::new());
        let _ = cell.publish(generation(1));
        let calls = tokio::spawn({
            let cell = Arc::clone(&cell);
            async move {
                let mut last = 0;
                while last < 500 {
                    let pass = cell.enter().await;
                    assert!(*pass >= last, "generations do not go back");
                    assert!(!pass.cut().is_cancelled(), "entered after the drain had ended");
                    last = *pass;
                    tokio::task::yield_now().await;
                }
            }
        });
        for number in 2..=500 {
            let previous = cell.publish(generation(number)).expect("there was one before");
            let drained = previous.drain(Duration::from_secs(60)).await;
            assert_eq!(drained.cut, 0);
        }
        calls.await.expect("no assertion of the calls failed");
    }
}
