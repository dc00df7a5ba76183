//! The time that a client has for a request's head, without touching the runtime's timers at each.
//!
//! hyper asks for a new deadline before each request, and drops it when the head is there. Set in the
//! runtime, that is an allocation and two visits to the timers that all workers share, for each
//! request. Deadlines of one connection only become later, so its first timer stays: when it rings
//! too early for the deadline that counts by then, it is set anew.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// hyper's timer for one connection.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    /// Set for a deadline that was asked for, or for an earlier one.
    shared: Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>,
}

/// One deadline.
#[derive(Debug)]
struct Until {
    deadline: tokio::time::Instant,
    alarm: Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>,
}

impl Timer for Alarm {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline: deadline.into(), alarm: Arc::clone(&self.shared) })
    }

    fn now(&self) -> Instant {
        // The runtime's, which tests can move.
        tokio::time::Instant::now().into_std()
    }
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // A timer is sound after a panic elsewhere.
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let sleep = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline)));
        if sleep.deadline() > self.deadline {
            sleep.as_mut().reset(self.deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= self.deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_kept_whatever_the_alarm_was_set_for() {
        let alarm = Alarm::default();
        let start = alarm.now();
        for (seconds, waited) in [(3, 3), (5, 5), (4, 5), (9, 9)] {
            alarm.sleep_until(start + seconds * SECOND).await;
            assert_eq!(alarm.now() - start, waited * SECOND);
        }
        alarm.sleep(2 * SECOND).await;
        assert_eq!(alarm.now() - start, 11 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_deadline_leaves_the_next_one_whole() {
        let alarm = Alarm::default();
        let start = alarm.now();
        for seconds in [3, 6, 5] {
            // Asked once, as for a head that comes in time.
            assert_eq!(alarm.sleep_until(start + seconds * SECOND).now_or_never(), None);
        }
        alarm.sleep_until(start + 7 * SECOND).await;
        assert_eq!(alarm.now() - start, 7 * SECOND);
        let earlier = start + 8 * SECOND;
        assert_eq!(alarm.sleep_until(start + 20 * SECOND).now_or_never(), None);
        alarm.sleep_until(earlier).await;
        assert_eq!(alarm.now(), earlier);
    }
}
