//! Admission: how many calls of a handler run at once, and how many may wait for their turn.
//!
//! The limits belong to the handler and not to a generation, so a swap neither doubles nor halves
//! them; waiting is fair (first come, first served) and bounded in number and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Admission {
    running: Arc<Semaphore>,
    /// Shared by all handlers of a runtime: what the instance pool was sized for.
    everywhere: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
}

/// The right to run one call; held until its store is no longer needed.
#[derive(Debug)]
pub(crate) struct Admitted {
    _running: OwnedSemaphorePermit,
    _everywhere: OwnedSemaphorePermit,
}

/// Why a call was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{queue} calls are waiting already")]
    QueueFull { queue: usize },
    #[error("no place became free within {patience:?}")]
    TimedOut { patience: Duration },
}

impl Admission {
    pub(crate) fn new(
        concurrency: usize,
        queue: usize,
        patience: Duration,
        everywhere: Arc<Semaphore>,
    ) -> Self {
        let running = Arc::new(Semaphore::new(concurrency));
        Self { running, everywhere, waiting: AtomicUsize::new(0), queue, patience }
    }

    /// Admits a call now, if there is a place.
    pub(crate) fn try_admit(&self) -> Option<Admitted> {
        let running = Arc::clone(&self.running).try_acquire_owned().ok()?;
        let everywhere = Arc::clone(&self.everywhere).try_acquire_owned().ok()?;
        Some(Admitted { _running: running, _everywhere: everywhere })
    }

    /// Admits a call now or in its turn.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the queue is full or the turn does not come in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the place in the queue back.
    pub(crate) async fn admit(&self) -> Result<Admitted, Refused> {
        if let Some(admitted) = self.try_admit() {
            return Ok(admitted);
        }
        let _place = self.queue_up()?;
        let turn = async {
            let running = Arc::clone(&self.running).acquire_owned().await;
            let everywhere = Arc::clone(&self.everywhere).acquire_owned().await;
            // The semaphores are never closed, so both are here.
            running.ok().zip(everywhere.ok())
        };
        match tokio::time::timeout(self.patience, turn).await {
            Ok(Some((running, everywhere))) => {
                Ok(Admitted { _running: running, _everywhere: everywhere })
            }
            _ => Err(Refused::TimedOut { patience: self.patience }),
        }
    }

    fn queue_up(&self) -> Result<Place<'_>, Refused> {
        // Ordering: the count guards no other data.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::QueueFull { queue: self.queue });
        }
        Ok(Place(&self.waiting))
    }
}

/// A place in the queue, given back on every way out.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(concurrency: usize, queue: usize) -> Arc<Admission> {
        let everywhere = Arc::new(Semaphore::new(100));
        Arc::new(Admission::new(concurrency, queue, Duration::from_secs(5), everywhere))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_beyond_the_limit_waits_for_its_turn() {
        let admission = admission(1, 1);
        let first = admission.admit().await.expect("the first place is free");
        let second = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await }
        });
        // The second call is in the queue once a third one finds it full.
        while admission.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.admit().await.unwrap_err(), Refused::QueueFull { queue: 1 });
        drop(first);
        assert!(second.await.expect("the call does not panic").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_callers_patience_and_frees_the_queue() {
        let admission = admission(1, 1);
        let _first = admission.admit().await.expect("the first place is free");
        for _ in 0..2 {
            let refused = admission.admit().await.unwrap_err();
            assert_eq!(refused, Refused::TimedOut { patience: Duration::from_secs(5) });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_gives_its_place_back() {
        let admission = admission(1, 1);
        let _first = admission.admit().await.expect("the first place is free");
        {
            let mut waiting = Box::pin(admission.admit());
            assert!(futures::future::poll_immediate(waiting.as_mut()).await.is_none());
        }
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
