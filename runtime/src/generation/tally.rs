//! How the calls of a generation went, and an alarm for who judges it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::latency::{Histogram, Latencies};

/// Longest that who hears of a failed call waits for the judge, who takes some microseconds unless
/// it is busy: a swap that nothing may interrupt writes to the disk, or waits for this very call.
const JUDGED_WITHIN: Duration = Duration::from_millis(50);

/// What a tally without a judge has for [`Tally::judged`]: more failures than there will be.
const NOBODY_JUDGES: u64 = u64::MAX;

/// Answers of a generation whose durations are not counted: its first calls find cold caches, and
/// memory that no page was touched of.
const WARM_UP: u64 = 10;

/// Answers between two looks of a judge who hears of nothing bad: durations are judged by many calls,
/// and a look costs as much as a small call.
const LOOK_EVERY: u64 = 16;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Tally {
    calls: AtomicU64,
    failures: AtomicU64,
    /// What is observed of answers, where somebody will judge by that.
    observed: OnceLock<Box<Observed>>,
    /// Told at each failure.
    alarm: Notify,
    /// How many failures the judge has seen.
    judged: watch::Sender<u64>,
    /// Whether there is a judge.
    is_judged: AtomicBool,
}

/// What is observed of answers.
#[derive(Debug)]
struct Observed {
    /// Statuses that count against the generation: each pair is the first and the last of a range.
    bad_statuses: Vec<(u16, u16)>,
    answers: AtomicU64,
    bad: AtomicU64,
    latencies: Latencies,
}

/// A [`Tally`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Calls that have ended.
    pub(crate) calls: u64,
    /// Those of them that failed through the guest's doing.
    pub(crate) failures: u64,
}

/// Everything in a [`Tally`] at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) counts: Counts,
    /// Calls that were answered, where that is observed.
    pub(crate) answers: u64,
    /// Those of them whose answer has a bad status.
    pub(crate) bad: u64,
    /// How long they took until the answer began, without the first few.
    pub(crate) latencies: Box<Histogram>,
}

impl Sample {
    /// Adds what `other` has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.calls += other.counts.calls;
        self.counts.failures += other.counts.failures;
        self.answers += other.answers;
        self.bad += other.bad;
        self.latencies.add(&other.latencies);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            calls: AtomicU64::default(),
            failures: AtomicU64::default(),
            observed: OnceLock::new(),
            alarm: Notify::default(),
            judged: watch::Sender::new(NOBODY_JUDGES),
            is_judged: AtomicBool::new(false),
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

    /// Observes answers from now on, for somebody who will judge this generation, or the one after it;
    /// those with a status in `bad_statuses`, ranges with both ends, are bad ones.
    pub(crate) fn observe(&self, bad_statuses: &[(u16, u16)]) {
        let observed = Observed {
            bad_statuses: bad_statuses.to_vec(),
            answers: AtomicU64::new(0),
            bad: AtomicU64::new(0),
            latencies: Latencies::new(),
        };
        // A generation is published once.
        let _ = self.observed.set(Box::new(observed));
    }

    /// Whether anything is made of [`Tally::answered`].
    pub(crate) fn is_observed(&self) -> bool {
        self.observed.get().is_some()
    }

    /// A call was answered after `elapsed`, with this status if it has one, while `calls` ran.
    pub(crate) fn answered(&self, status: Option<u16>, elapsed: Duration, calls: usize) {
        let Some(observed) = self.observed.get() else { return };
        let is_bad = status.is_some_and(|status| {
            observed.bad_statuses.iter().any(|(first, last)| (*first..=*last).contains(&status))
        });
        if is_bad {
            observed.bad.fetch_add(1, Ordering::Relaxed);
        }
        let n_before = observed.answers.fetch_add(1, Ordering::Relaxed);
        if n_before >= WARM_UP {
            observed.latencies.add(elapsed, calls);
        }
        // Ordering: a judge who comes at this moment looks first, and then waits for the alarm.
        let is_judged = self.is_judged.load(Ordering::Relaxed);
        if is_judged && (is_bad || n_before.is_multiple_of(LOOK_EVERY)) {
            self.alarm.notify_one();
        }
    }

    /// Everything that was counted so far.
    pub(crate) fn sample(&self) -> Sample {
        let counts = self.counts();
        let Some(observed) = self.observed.get() else {
            return Sample { counts, ..Sample::default() };
        };
        let bad = observed.bad.load(Ordering::Relaxed);
        // A bad answer is counted as bad first.
        let answers = observed.answers.load(Ordering::Relaxed).max(bad);
        Sample { counts, answers, bad, latencies: Box::new(observed.latencies.histogram()) }
    }

    /// The figures now.
    pub(crate) fn counts(&self) -> Counts {
        let failures = self.failures.load(Ordering::Relaxed);
        // A call that failed may not have left yet.
        let calls = self.calls.load(Ordering::Relaxed).max(failures);
        Counts { calls, failures }
    }

    /// Waits for the next failure, or reason to look, that nobody was told of.
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
        // Ordering: see `answered`.
        self.is_judged.store(true, Ordering::Relaxed);
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
        self.0.is_judged.store(false, Ordering::Relaxed);
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
