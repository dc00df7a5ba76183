//! Probation: whether a published generation fails more often than the one before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::generation::{Counts, Judge};
use crate::id::GenerationNumber;

/// A generation under observation, whose failed calls wait for the verdict until the last clone of
/// this is gone.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// Which one.
    pub(super) generation: GenerationNumber,
    /// When it is over.
    pub(super) until: Instant,
    budget: Budget,
    /// Whether there is a generation to go back to.
    can_go_back: bool,
    judge: Arc<Judge>,
}

/// How many failures a generation may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    /// Failed calls that are too many, if the one before it failed less often.
    pub(super) max_failures: u64,
    /// How the calls of the one before went.
    pub(super) before: Counts,
}

impl Trial {
    pub(super) fn new(
        generation: GenerationNumber,
        length: Duration,
        budget: Budget,
        can_go_back: bool,
        judge: Judge,
    ) -> Self {
        let until = Instant::now() + length;
        Self { generation, until, budget, can_go_back, judge: Arc::new(judge) }
    }

    /// Whether with these calls it is to be taken back.
    pub(super) fn is_failed(&self, counts: Counts) -> bool {
        self.can_go_back && self.budget.is_exceeded(counts)
    }

    /// It goes on with these calls: those that failed wait no longer.
    pub(super) fn goes_on(&self, counts: Counts) {
        self.judge.has_seen(counts.failures);
    }

    /// Whether with these calls it has proved itself when its time is over.
    pub(super) fn is_passed(&self, counts: Counts) -> bool {
        !self.budget.is_exceeded(counts)
    }
}

impl Budget {
    /// Whether `counts` are too many failures: as many as allowed, and more than twice as often as
    /// the generation before, which would do no better otherwise.
    pub(super) fn is_exceeded(&self, counts: Counts) -> bool {
        let Counts { calls, failures } = counts;
        if failures < self.max_failures {
            return false;
        }
        // failures / calls > 2 * before.failures / before.calls, without a division.
        let (now, before) = (u128::from(failures), u128::from(self.before.failures));
        now * u128::from(self.before.calls.max(1)) > 2 * before * u128::from(calls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generation::Tally;

    fn budget(max_failures: u64, calls: u64, failures: u64) -> Budget {
        Budget { max_failures, before: Counts { calls, failures } }
    }

    #[test]
    fn few_failures_are_accidents() {
        assert!(!budget(3, 100, 0).is_exceeded(Counts { calls: 2, failures: 2 }));
        assert!(budget(3, 100, 0).is_exceeded(Counts { calls: 3, failures: 3 }));
    }

    #[test]
    fn failures_that_the_generation_before_had_too_are_no_reason_to_go_back() {
        assert!(!budget(3, 100, 50).is_exceeded(Counts { calls: 10, failures: 6 }));
        assert!(!budget(3, 100, 100).is_exceeded(Counts { calls: 10, failures: 10 }));
        assert!(budget(3, 100, 10).is_exceeded(Counts { calls: 10, failures: 3 }));
    }

    #[tokio::test]
    async fn a_first_generation_is_neither_taken_back_nor_confirmed_for_its_failures() {
        let number = GenerationNumber::FIRST;
        let tally = Arc::<Tally>::default();
        let trial = |can_go_back| {
            Trial::new(number, Duration::ZERO, budget(1, 0, 0), can_go_back, tally.judge())
        };
        let bad = Counts { calls: 1, failures: 1 };
        assert!(!trial(false).is_failed(bad) && !trial(false).is_passed(bad));
        assert!(trial(true).is_failed(bad));
        assert!(trial(false).is_passed(Counts { calls: 9, failures: 0 }));
    }

    #[test]
    fn a_generation_before_without_calls_is_no_excuse() {
        assert!(budget(1, 0, 0).is_exceeded(Counts { calls: 1, failures: 1 }));
    }
}
