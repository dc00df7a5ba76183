//! What callers notice of reloads: failed and late requests, and the longest silence.

use std::time::{Duration, Instant};

use wrt_test_support::history::{Call, ConnectionLog, Outcome};

/// A request that is answered later after its time than this was delayed.
const LATE: Duration = Duration::from_millis(50);

/// What all callers together noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Noticed {
    pub(super) n_calls: usize,
    /// Without an answer, or with a status that says that the server failed.
    pub(super) n_failed: usize,
    /// Answered, but later than [`LATE`] after they were due.
    pub(super) n_delayed: usize,
    /// Between two good answers, one after the other over all connections.
    pub(super) longest_gap: Duration,
}

impl Noticed {
    /// From the calls of a load that makes each of them, late if need be.
    pub(super) fn of(connections: &[ConnectionLog]) -> Self {
        let mut noticed = Self::default();
        let mut answers = vec![];
        for call in connections.iter().flat_map(|log| &log.calls) {
            noticed.n_calls += 1;
            match answered_at(call) {
                Some(at) => {
                    let is_late = at.saturating_duration_since(call.due_at) > LATE;
                    noticed.n_delayed += usize::from(is_late);
                    answers.push(at);
                }
                None => noticed.n_failed += 1,
            }
        }
        answers.sort();
        let gaps = answers.windows(2).map(|pair| pair[1] - pair[0]);
        noticed.longest_gap = gaps.max().unwrap_or_default();
        noticed
    }
}

/// When `call` got a good answer, if it did.
fn answered_at(call: &Call) -> Option<Instant> {
    let end = call.end.as_ref()?;
    match end.outcome {
        Outcome::Answered(status) if status < 400 => Some(end.at),
        Outcome::Answered(_) | Outcome::Failed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrt_test_support::history::End;

    /// Calls of one connection: when each was due, began and ended in milliseconds, and its status;
    /// 0 is no answer.
    fn log(origin: Instant, calls: &[(u64, u64, u64, u16)]) -> ConnectionLog {
        let mut log = ConnectionLog::default();
        let after = |ms| origin + Duration::from_millis(ms);
        for (due, began, ended, status) in calls {
            let id = log.begin_due("GET", after(*due), after(*began));
            let outcome = match status {
                0 => Outcome::Failed("the connection was closed".into()),
                status => Outcome::Answered(*status),
            };
            let at = after(*ended);
            log.end(id, End { at, outcome, served_by: None, also_served_by: None });
        }
        log
    }

    #[test]
    fn lateness_counts_from_the_time_a_call_was_due() {
        let calls = [(0, 0, 50, 200), (40, 50, 91, 200), (80, 91, 92, 200)];
        let noticed = Noticed::of(&[log(Instant::now(), &calls)]);
        assert_eq!((noticed.n_calls, noticed.n_failed, noticed.n_delayed), (3, 0, 1));
    }

    #[test]
    fn failed_calls_are_neither_late_nor_the_end_of_a_silence() {
        let origin = Instant::now();
        let one = log(origin, &[(0, 0, 1, 200), (40, 40, 200, 0), (80, 200, 300, 503)]);
        let other = log(origin, &[(20, 20, 21, 200), (400, 400, 401, 204)]);
        let noticed = Noticed::of(&[one, other]);
        let expected = Noticed {
            n_calls: 5,
            n_failed: 2,
            n_delayed: 0,
            longest_gap: Duration::from_millis(380),
        };
        assert_eq!(noticed, expected);
    }

    #[test]
    fn one_answer_has_no_silence() {
        let noticed = Noticed::of(&[log(Instant::now(), &[(0, 0, 1, 200)])]);
        assert_eq!(noticed.longest_gap, Duration::ZERO);
    }
}
