//! Decides when a burst of file events is over; pure, with all time passed in.

use std::time::{Duration, Instant};

use super::git::GitState;
use super::hints::Touch;

/// Quiet that ends an ordinary save. Editors write, rename and delete within 1 to 3 ms, one step
/// after another; being wrong costs little, because newer content cancels the build. Below bacon's
/// 15 ms, far below the usual 50 to 300.
const QUIET: Duration = Duration::from_millis(2);
/// Quiet that ends the writing of a file that nobody closes (memory-mapped, or kept open): twice
/// the pause of a writer that sends a block every 50 ms.
const OPEN_QUIET: Duration = Duration::from_millis(100);
/// Quiet that ends a git operation, which writes many files and goes on after a commit of a rebase.
const GIT_QUIET: Duration = Duration::from_millis(150);
/// How often a git lock is looked at.
const GIT_POLL: Duration = Duration::from_millis(10);
/// Longest wait from the first event: then it goes ahead, and a later event starts over.
const LIMIT: Duration = Duration::from_secs(2);

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Look at the files.
    Go,
    /// Ask again then, or after the next event.
    Wait(Instant),
}

/// One burst of events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settle {
    /// When its first event arrived.
    pub(super) first: Instant,
    /// When its last event arrived.
    pub(super) last: Instant,
    /// The least complete state of its files.
    pub(super) touch: Touch,
    /// Whether it concerns more than one file: a single one is as git wants it, once git is done.
    pub(super) many: bool,
}

impl Settle {
    /// What to do at `now`, with git in the given state.
    pub(super) fn step(&self, now: Instant, git: GitState) -> Step {
        let quiet = match (git, self.touch) {
            (GitState::Locked | GitState::Recent, _) if self.many => GIT_QUIET,
            (_, Touch::Open) => OPEN_QUIET,
            (_, Touch::Complete | Touch::Created) => QUIET,
        };
        let limit = self.first + LIMIT;
        let due = (self.last + quiet).min(limit);
        if now < due {
            Step::Wait(due)
        } else if git == GitState::Locked && now < limit {
            Step::Wait((now + GIT_POLL).min(limit))
        } else {
            Step::Go
        }
    }

    /// When to ask first.
    pub(super) fn due(&self) -> Instant {
        match self.step(self.last, GitState::Idle) {
            Step::Go => self.last,
            Step::Wait(until) => until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks at `now` ms about a burst whose events span `first` to `last` ms.
    fn ask(
        (first, last): (u64, u64),
        touch: Touch,
        many: bool,
        git: GitState,
        now: u64,
    ) -> Option<u64> {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let burst = Settle { first: at(first), last: at(last), touch, many };
        match burst.step(at(now), git) {
            Step::Go => None,
            Step::Wait(until) => Some(until.duration_since(zero).as_millis() as u64),
        }
    }

    #[test]
    fn a_closed_save_waits_for_a_short_quiet() {
        assert_eq!(ask((0, 3), Touch::Complete, false, GitState::Idle, 3), Some(5));
        assert_eq!(ask((0, 3), Touch::Complete, false, GitState::Idle, 5), None);
    }

    #[test]
    fn an_open_file_waits_longer() {
        assert_eq!(ask((0, 0), Touch::Open, false, GitState::Idle, 50), Some(100));
        assert_eq!(ask((0, 0), Touch::Open, false, GitState::Idle, 100), None);
    }

    #[test]
    fn git_is_waited_for_while_it_holds_the_lock() {
        assert_eq!(ask((0, 5), Touch::Complete, true, GitState::Locked, 100), Some(155));
        assert_eq!(ask((0, 5), Touch::Complete, true, GitState::Locked, 155), Some(165));
        assert_eq!(ask((0, 5), Touch::Complete, true, GitState::Recent, 155), None);
    }

    #[test]
    fn one_file_waits_for_the_lock_since_more_may_follow_but_for_no_longer() {
        assert_eq!(ask((0, 0), Touch::Complete, false, GitState::Locked, 1), Some(2));
        assert_eq!(ask((0, 0), Touch::Complete, false, GitState::Locked, 10), Some(20));
        assert_eq!(ask((0, 0), Touch::Complete, false, GitState::Recent, 10), None);
    }

    #[test]
    fn the_wait_is_bounded() {
        assert_eq!(ask((0, 1_999), Touch::Open, true, GitState::Locked, 1_999), Some(2_000));
        assert_eq!(ask((0, 1_999), Touch::Open, true, GitState::Locked, 2_000), None);
    }
}
