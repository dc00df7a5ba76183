//! The one cell that says which generation of a handler is active: the only swap point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::obstacle::Obstacle;
use crate::events::Serving;
use crate::generation::{Entry, Generation, Place};

/// See the [module](self).
///
/// # Invariants
///
/// 1. Only the handler's supervisor publishes.
/// 2. A generation is closed only after its successor is in the cell, so a call that is refused by
///    a closed gate finds another generation when it loads again.
/// 3. Whoever waits is told of each publication, and of each end of a hold.
#[derive(Debug)]
pub(crate) struct ActiveCell<R> {
    current: ArcSwapOption<Generation<R>>,
    /// Wakes the calls that came before the first generation, those that end without one, and those
    /// that found the active generation held.
    changed: Notify,
    /// Whether no generation will be published any more.
    is_closed: AtomicBool,
    /// How often a first generation was wanted in vain.
    refusals: AtomicUsize,
    /// What refused the first generation last.
    obstacle: ArcSwapOption<Obstacle>,
    /// Whether another attempt at a first generation is under way, or will be made for the next call.
    is_mending: AtomicBool,
    /// Told when a call comes and there is nothing active.
    wanted: Notify,
}

impl<R> ActiveCell<R> {
    pub(crate) fn new() -> Self {
        Self {
            current: ArcSwapOption::const_empty(),
            changed: Notify::new(),
            is_closed: AtomicBool::new(false),
            refusals: AtomicUsize::new(0),
            obstacle: ArcSwapOption::const_empty(),
            is_mending: AtomicBool::new(false),
            wanted: Notify::new(),
        }
    }

    /// Makes `next` the active generation and returns the one it replaces.
    #[must_use = "the replaced generation has to be drained"]
    pub(crate) fn publish(&self, next: Arc<Generation<R>>) -> Option<Arc<Generation<R>>> {
        let previous = self.current.swap(Some(next));
        self.changed.notify_waiters();
        previous
    }

    /// Holds the active generation, if there is one: calls wait until the result is dropped, or
    /// another generation is published.
    pub(crate) fn hold(&self) -> Option<Hold<'_, R>> {
        let held = self.current()?;
        held.hold();
        Some(Hold { cell: self, held, since: Instant::now() })
    }

    /// Leaves the handler without a generation, for good: whoever waits for one goes away.
    pub(crate) fn close(&self) -> Option<Arc<Generation<R>>> {
        // Ordering: the wake-up below publishes it to those who wait, and who comes later finds no
        // generation after this was stored.
        self.is_closed.store(true, Ordering::Release);
        let last = self.current.swap(None);
        self.changed.notify_waiters();
        last
    }

    /// Whether no generation will be published any more.
    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: see `close`.
        self.is_closed.load(Ordering::Acquire)
    }

    /// Waits until a call comes while there is nothing active.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes when this is dropped before it is ready.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// The first generation was refused by `obstacle`: calls that wait for it go away now, and the
    /// next one makes another attempt. Without effect on a handler that serves.
    pub(crate) fn refuse_waiting(&self, obstacle: Obstacle) {
        self.obstacle.store(Some(Arc::new(obstacle)));
        self.mend();
        // Ordering: the wake-up below publishes it.
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// The first generation was refused by `obstacle`: calls that wait for one go away, and so do
    /// those that come before another attempt begins. Without effect on a handler that serves.
    pub(crate) fn obstruct(&self, obstacle: Obstacle) {
        self.obstacle.store(Some(Arc::new(obstacle)));
        self.give_up_mending();
        // Ordering: the wake-up below publishes it.
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// An attempt at a first generation begins: calls wait for it.
    pub(crate) fn mend(&self) {
        // Ordering: a call that reads the older value goes away as one would that came before.
        self.is_mending.store(true, Ordering::Relaxed);
    }

    /// The attempt was given up: what refused the first generation before does so still.
    pub(crate) fn give_up_mending(&self) {
        // Ordering: the wake-up below publishes it.
        self.is_mending.store(false, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// What keeps the handler from its first generation, or did when that was last tried.
    pub(crate) fn obstacle(&self) -> Option<Arc<Obstacle>> {
        self.obstacle.load_full().filter(|_| self.current.load().is_none())
    }

    /// What is active now, for messages.
    pub(crate) fn serving(&self) -> Option<Serving> {
        self.current.load().as_ref().map(|generation| generation.serving())
    }

    /// The active generation itself, for the supervisor.
    pub(crate) fn current(&self) -> Option<Arc<Generation<R>>> {
        self.current.load_full()
    }

    /// Calls inside the active generation.
    pub(crate) fn in_flight(&self) -> usize {
        self.current.load().as_ref().map_or(0, |generation| generation.in_flight())
    }

    /// Enters the active generation; `None` when there is none yet, or it is held.
    pub(crate) fn try_enter(&self) -> Option<Place<R>> {
        loop {
            let current = self.current.load();
            match current.as_ref()?.try_enter() {
                Ok(place) => return Some(place),
                Err(Entry::Held) => return None,
                // Closed between the load and the attempt: by invariant 2 the next load sees
                // another generation, or none at shutdown.
                Err(_) => std::hint::spin_loop(),
            }
        }
    }

    /// Enters the active generation, waiting for the first one, or for the end of a hold; the caller
    /// bounds it.
    /// `None` when the first one was refused and nobody is trying again, or the handler is gone.
    ///
    /// # Cancel safety
    ///
    /// Nothing is entered when this is dropped before it is ready.
    pub(crate) async fn enter(&self) -> Option<Place<R>> {
        // Ordering: see `refuse_waiting`.
        let before = self.refusals.load(Ordering::Relaxed);
        loop {
            // Registered before the look, so that a publication in between is not missed.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(place) = self.try_enter() {
                return Some(place);
            }
            // What was refused elsewhere says nothing of a generation that is only held.
            let is_refused =
                self.refusals.load(Ordering::Relaxed) != before && self.current.load().is_none();
            let is_obstructed =
                !self.is_mending.load(Ordering::Relaxed) && self.obstacle().is_some();
            if is_refused || is_obstructed || self.is_closed.load(Ordering::Acquire) {
                return None;
            }
            // The supervisor may be busy; then it finds the permit when it looks.
            self.wanted.notify_one();
            changed.await;
        }
    }
}

/// A held generation, which admits calls again when this is dropped, unless it was closed before.
#[derive(Debug)]
pub(crate) struct Hold<'a, R> {
    cell: &'a ActiveCell<R>,
    held: Arc<Generation<R>>,
    since: Instant,
}

impl<R> Hold<'_, R> {
    /// What is held.
    pub(crate) fn generation(&self) -> &Arc<Generation<R>> {
        &self.held
    }

    /// How long its callers have been waiting.
    pub(crate) fn lasted(&self) -> Duration {
        self.since.elapsed()
    }
}

impl<R> Drop for Hold<'_, R> {
    fn drop(&mut self) {
        // A generation that was replaced meanwhile is closed already, which this does not change.
        self.held.release();
        self.cell.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::generation::{Loaded, Pass, Retirement};
    use crate::id::{Digest, GenerationNumber};

    fn generation(number: u64) -> Arc<Generation<u64>> {
        let digest = Digest::of(&number.to_le_bytes());
        let loaded = Loaded::new(number, None, Retirement::default());
        let number = GenerationNumber::new(number);
        Generation::new(number, digest, loaded, Retirement::default(), None)
    }

    async fn enter(cell: &ActiveCell<u64>) -> Pass<u64> {
        let place = cell.enter().await.expect("nothing was refused");
        place.with_code().expect("the code is loaded")
    }

    #[tokio::test]
    async fn a_call_waits_for_the_first_generation() {
        let cell = Arc::new(ActiveCell::new());
        assert!(cell.try_enter().is_none());
        let waiting = tokio::spawn({
            let cell = Arc::clone(&cell);
            async move { *enter(&cell).await }
        });
        assert!(cell.publish(generation(7)).is_none());
        assert_eq!(waiting.await.expect("the call does not panic"), 7);
    }

    #[tokio::test]
    async fn a_call_that_waits_for_the_end_of_a_hold_heeds_no_refusal() {
        let cell = ActiveCell::new();
        let _ = cell.publish(generation(7));
        let hold = cell.hold().expect("there is one to hold");
        let mut waiting = std::pin::pin!(cell.enter());
        assert!(futures::future::poll_immediate(waiting.as_mut()).await.is_none());
        let (stage, error) = (crate::events::Stage::Build, "it was not built".to_owned());
        let (diagnostics, hints) = (Vec::new(), Vec::new());
        cell.obstruct(Obstacle { stage, error, diagnostics, hints });
        assert!(futures::future::poll_immediate(waiting.as_mut()).await.is_none());
        drop(hold);
        let place = waiting.await.expect("what serves was not refused");
        assert_eq!(place.serving().generation, GenerationNumber::new(7));
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
                    let pass = enter(&cell).await;
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
