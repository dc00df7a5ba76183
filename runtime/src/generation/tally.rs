//! How the calls of a generation went, and an alarm for who judges it.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Tally {
    calls: AtomicU64,
    failures: AtomicU64,
    /// Told at each failure.
    alarm: Notify,
}

/// A [`Tally`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Calls that have ended.
    pub(crate) calls: u64,
    /// Those of them that failed through the guest's doing.
    pub(crate) failures: u64,
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
}
