//! The time that a client has for a request's head, without a timer of the runtime for each.
//!
//! hyper asks for a new deadline before each request, and drops it when the head is there. As a timer
//! of its own that is an allocation, and two visits to the timers that all workers share. Deadlines
//! of one connection become later and later, so its first timer stays: when it goes off too early for
//! the deadline that counts by then, it is set anew.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// hyper's timer for one connection, which waits for one deadline at a time.
#[derive(Debug, Default)]
pub(super) struct ConnectionTimer(SharedTimer);

/// Set for a deadline that was asked for, or for an earlier one; `None` before the first one.
type SharedTimer = Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>;

#[derive(Debug)]
struct Deadline {
    at: tokio::time::Instant,
    timer: SharedTimer,
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { at: deadline.into(), timer: Arc::clone(&self.0) })
    }

    fn now(&self) -> Instant {
        // The runtime's, which tests can move.
        tokio::time::Instant::now().into_std()
    }
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A timer is sound after a panic elsewhere.
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.at)));
        if timer.deadline() > self.at {
            timer.as_mut().reset(self.at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= self.at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_kept_whatever_the_timer_was_set_for() {
        let timer = ConnectionTimer::default();
        let start = timer.now();
        for (seconds, waited) in [(3, 3), (5, 5), (4, 5), (9, 9)] {
            timer.sleep_until(start + seconds * SECOND).await;
            assert_eq!(timer.now() - start, waited * SECOND);
        }
        timer.sleep(2 * SECOND).await;
        assert_eq!(timer.now() - start, 11 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_deadline_leaves_the_next_one_whole() {
        let timer = ConnectionTimer::default();
        let start = timer.now();
        for seconds in [3, 6, 5] {
            // Asked once, as for a head that comes in time.
            assert_eq!(timer.sleep_until(start + seconds * SECOND).now_or_never(), None);
        }
        timer.sleep_until(start + 7 * SECOND).await;
        assert_eq!(timer.now() - start, 7 * SECOND);
        let earlier = start + 8 * SECOND;
        assert_eq!(timer.sleep_until(start + 20 * SECOND).now_or_never(), None);
        timer.sleep_until(earlier).await;
        assert_eq!(timer.now(), earlier);
    }
}
