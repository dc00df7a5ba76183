//! Keeps the runtime's threads awake for a while after each answer, so that the next request finds one
//! that looks for it.
//!
//! A thread that sleeps is woken by an interrupt, and in a virtual machine its processor by the host:
//! that can take longer than a small handler does.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Looks for work as long as it is told of answers; ends when dropped.
#[derive(Debug)]
pub(super) struct Awake {
    answered: Arc<Notify>,
    /// One task.
    _polling: JoinSet<()>,
}

impl Awake {
    /// Of the current runtime, whose threads look for `pause` after each answer.
    pub(super) fn new(pause: Duration) -> Self {
        let answered = Arc::new(Notify::new());
        let mut polling = JoinSet::new();
        // A thread looks for whatever is ready before it comes back to a task that has yielded.
        polling.spawn(poll(Arc::clone(&answered), pause, tokio::task::yield_now));
        Self { answered, _polling: polling }
    }

    /// What is told of answers.
    pub(super) fn answered(&self) -> Arc<Notify> {
        Arc::clone(&self.answered)
    }
}

/// Calls `look` again and again until the last answer is `pause` ago, then waits for the next one.
async fn poll<F: Future<Output = ()>>(
    answered: Arc<Notify>,
    pause: Duration,
    mut look: impl FnMut() -> F,
) {
    loop {
        answered.notified().await;
        let mut until = Instant::now() + pause;
        while Instant::now() < until {
            look().await;
            if pin!(answered.notified()).enable() {
                until = Instant::now() + pause;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// How long one look takes.
    const LOOK: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn it_looks_for_as_long_as_the_last_answer_is_fresh() {
        let answered = Arc::new(Notify::new());
        let n_looks = AtomicU64::new(0);
        let look = || {
            // Ordering: one thread.
            if n_looks.fetch_add(1, Ordering::Relaxed) == 4 {
                answered.notify_one();
            }
            tokio::time::advance(LOOK)
        };
        let mut polling = pin!(poll(Arc::clone(&answered), 10 * LOOK, look));
        // The clock goes on by itself where nobody looks.
        let mut looks_within = async |time| {
            let ended = tokio::time::timeout(time, polling.as_mut()).await;
            assert!(ended.is_err(), "it ended by itself");
            n_looks.swap(0, Ordering::Relaxed)
        };
        assert_eq!(looks_within(100 * LOOK).await, 0, "before any answer");
        answered.notify_one();
        // Five, then ten more for the answer in between.
        assert_eq!(looks_within(100 * LOOK).await, 15);
        assert_eq!(looks_within(100 * LOOK).await, 0, "long after the last answer");
    }
}
