//! How the calls of a generation went, and an alarm for who judges it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

/// Longest that who hears of a failed call waits for the judge, who takes some microseconds unless
/// it is busy: a swap that nothing may interrupt writes to the disk, or waits for this very call.
const JUDGED_WITHIN: Duration = Duration::from_millis(50);

/// What a tally without a judge has for [`Tally::judged`]: more failures than there will be.
const NOBODY_JUDGES: u64 = u64::MAX;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Tally {
    calls: AtomicU64,
    failures: AtomicU64,
    /// Told at each failure.
    alarm: Notify,
    /// How many failures the judge has seen.
    judged: watch::Sender<u64>,
}

/// A [`Tally`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Calls that have ended.
    pub(crate) calls: u64,
    /// Those of them that failed through the guest's doing.
    pub(crate) failures: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            calls: AtomicU64::default(),
            failures: AtomicU64::default(),
            alarm: Notify::default(),
            judged: watch::Sender::new(NOBODY_JUDGES),
        }
    }
}

impl Tally {
    /// One call has ended, whatever its outcome.
    pub(super) fn called(&self) {
        // Ordering, here and below: figures; the alarm publishes what it is told for.
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A call failed through the guest's doing.
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        // One judge at most waits; a permit is stored while it is busy.
        self.alarm.notify_one();
    }

    /// The figures now.
    pub(crate) fn counts(&self) -> Counts {
        let failures = self.failures.load(Ordering::Relaxed);
        // A call that failed may not have left yet.
        let calls = self.calls.load(Ordering::Relaxed).max(failures);
        Counts { calls, failures }
    }

    /// Waits for the next failure that nobody was told of.
    ///
    /// # Cancel safety
    ///
    /// No failure is missed when this is dropped before it is ready.
    pub(crate) async fn alarmed(&self) {
        self.alarm.notified().await;
    }

    /// Announces the one who judges this generation.
    pub(crate) fn judge(self: &Arc<Self>) -> Judge {
        self.judged.send_replace(0);
        Judge(Arc::clone(self))
    }

    /// Waits until the failures so far have been judged, and for a short while at most: whoever
    /// hears of a failure may call again at once, and what was condemned should not answer then.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, dropped or not.
    pub(crate) async fn judged(&self) {
        let failures = self.failures.load(Ordering::Relaxed);
        let mut judged = self.judged.subscribe();
        // The sender is here, so this ends with a judgement, or for want of one.
        let _ =
            tokio::time::timeout(JUDGED_WITHIN, judged.wait_for(|seen| *seen >= failures)).await;
    }
}

/// A judge of a generation, for whom failed calls wait as long as this exists.
#[derive(Debug)]
pub(crate) struct Judge(Arc<Tally>);

impl Judge {
    /// So many failures are no reason to do anything.
    pub(crate) fn has_seen(&self, failures: u64) {
        self.0.judged.send_replace(failures);
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.0.judged.send_replace(NOBODY_JUDGES);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_wait_for_their_judge_alone_and_not_for_long() {
        let tally = Arc::new(Tally::default());
        let waited = async || {
            let began = Instant::now();
            tally.judged().await;
            began.elapsed()
        };
        tally.failed();
        assert_eq!(waited().await, Duration::ZERO, "without a judge");
        let judge = tally.judge();
        assert_eq!(waited().await, JUDGED_WITHIN, "with one who does not look");
        judge.has_seen(1);
        assert_eq!(waited().await, Duration::ZERO, "with one who has looked");
        tally.failed();
        let dismissed = async {
            tokio::time::sleep(Duration::from_millis(7)).await;
            drop(judge);
        };
        let (waited, ()) = tokio::join!(waited(), dismissed);
        assert_eq!(waited, Duration::from_millis(7), "with one who goes");
    }
}
