//! A limit on how many of something there are at once, which may change while some are held.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// See the [module](self). Waiting is fair: first come, first served.
#[derive(Debug)]
pub(crate) struct Limit {
    free: Semaphore,
    /// The number of permits to forget when they are given back, because the limit was lowered meanwhile.
    surplus: AtomicUsize,
    /// Locked by whoever changes the limit.
    n: Mutex<usize>,
}

/// A permit of a [`Limit`]. Dropping the permit gives it back.
#[derive(Debug)]
pub(crate) struct Held(Arc<Limit>);

impl Limit {
    pub(crate) fn new(n: usize) -> Self {
        Self { free: Semaphore::new(n), surplus: AtomicUsize::new(0), n: Mutex::new(n) }
    }

    /// The limit: the greatest number of permits that may be held.
    pub(crate) fn get(&self) -> usize {
        *self.lock()
    }

    /// The number of permits that are free now.
    pub(crate) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Allows `n` from now on. Where more are held, none is given out until enough of them came back.
    pub(crate) fn set(&self, n: usize) {
        let mut now = self.lock();
        if n < *now {
            let less = *now - n;
            let taken = self.free.forget_permits(less);
            // Ordering, here and below: a count that guards no other data. One that comes back before this
            // is seen is free for a moment, and the next one goes in its place.
            self.surplus.fetch_add(less - taken, Ordering::Relaxed);
        } else {
            let more = n - *now;
            let kept = self.take_surplus(more);
            self.free.add_permits(more - kept);
        }
        *now = n;
    }

    /// Takes a permit, if a permit is free and no task waits for it.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Held> {
        self.free.try_acquire().ok()?.forget();
        Some(Held(Arc::clone(self)))
    }

    /// Takes a permit, as soon as a permit is free.
    ///
    /// # Cancel safety
    ///
    /// Nothing is held when this is dropped before it is ready.
    pub(crate) async fn take(self: &Arc<Self>) -> Held {
        if let Ok(free) = self.free.acquire().await {
            free.forget();
        }
        // The semaphore is never closed, so one was acquired.
        Held(Arc::clone(self))
    }

    /// Takes up to `n` of the surplus away; returns how many.
    fn take_surplus(&self, n: usize) -> usize {
        let mut taken = 0;
        let update = |surplus: usize| {
            taken = surplus.min(n);
            (taken > 0).then(|| surplus - taken)
        };
        let _ = self.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        taken
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, usize> {
        // It is stored whole, so a panic elsewhere leaves it sound.
        self.n.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let limit = &self.0;
        // There rarely is any, and a look is cheaper than an update.
        let goes = limit.surplus.load(Ordering::Relaxed) > 0 && limit.take_surplus(1) > 0;
        if !goes {
            limit.free.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_immediate;
    use proptest::prelude::*;

    use super::*;

    fn all(limit: &Arc<Limit>) -> Vec<Held> {
        std::iter::from_fn(|| limit.try_take()).collect()
    }

    proptest! {
        #[test]
        fn as_many_are_held_as_the_limit_allows_whatever_it_was(
            sizes in proptest::collection::vec((0usize..6, 0usize..6), 1..20),
        ) {
            let limit = Arc::new(Limit::new(3));
            let mut held = Vec::new();
            for (n, n_back) in sizes {
                limit.set(n);
                held.truncate(held.len().saturating_sub(n_back));
                let n_before = held.len();
                held.extend(all(&limit));
                prop_assert_eq!(held.len(), n_before.max(n));
                prop_assert_eq!(limit.get(), n);
            }
            drop(held);
            prop_assert_eq!(limit.free(), limit.get());
        }
    }

    #[tokio::test]
    async fn whoever_waits_gets_what_a_higher_limit_allows() {
        let limit = Arc::new(Limit::new(1));
        let first = limit.take().await;
        let mut waiting = std::pin::pin!(limit.take());
        assert!(poll_immediate(waiting.as_mut()).await.is_none());
        limit.set(2);
        let second = waiting.await;
        limit.set(1);
        drop(first);
        assert!(limit.try_take().is_none(), "the other is held still");
        drop(second);
        assert!(limit.try_take().is_some());
    }
}
