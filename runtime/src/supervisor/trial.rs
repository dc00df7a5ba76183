//! Probation: whether a published generation does worse than the one before it.
//!
//! # What is judged
//!
//! 1. **Failures**: calls that end by a trap, a deadline, a limit. `max_failures` of them are too many where
//!    the version before had none. Where it had some, the new one has to fail more than twice as often, and
//!    beyond what chance explains.
//! 2. **Statuses**: answers with a status of `probation_status`. More than twice as often as before, and
//!    beyond what chance explains. Without answers of the version before, at least two in five of 20.
//! 3. **Durations**: calls that take longer than `max_slowdown` times what the version before took. Half of
//!    the calls beyond that times its median, or one in a hundred beyond that times its 99th percentile, and
//!    beyond what chance explains. Only calls are compared beside which as many others ran: under more load
//!    all versions are slower. A call that computes takes its time, too, so this sees processor time as far
//!    as a client would.
//!
//! What chance explains is told by [`evidence`](super::evidence). Statuses and durations err in at most
//! [`ALPHA`] of all probations of a version that is no worse: together one in 1,000. So do failures where
//! the version before had some. Where it had none, `max_failures` is what it says, however many calls
//! went well: whoever sets it wants to know of so many, and few probations see enough calls to tell one
//! failure in a hundred from none.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::evidence::Part;
use crate::generation::{Counted, Counts, Judge, LOADS, Sample, fewest};
use crate::id::GenerationNumber;

/// Probability with which one criterion condemns a version that is no worse than the one before.
const ALPHA: f64 = 0.0005;

/// Answers, of either version, from which a part of them says something.
const ENOUGH_ANSWERS: u64 = 20;

/// Answers from which a version without one to compare with is condemned at the end of its probation, if
/// nearly all of them are bad.
const FEW_ANSWERS: u64 = 5;

/// Durations from which a 99th percentile says something of the new version.
const ENOUGH_FOR_TAIL: u64 = 50;

/// Slow calls that are too few to be more than an accident of the machine, whatever their part.
const FEW_SLOW: u64 = 5;

/// What is added to a duration before it counts as slower: less than this is how exactly a machine with
/// other work keeps time, and no client notices it.
const NOTICED: Duration = Duration::from_millis(1);

/// Calls of the version before from which it is compared with alone, without those before it.
const ENOUGH_BEFORE: u64 = 200;

/// A generation under observation, whose failed calls wait for the verdict until the last clone of
/// this is gone.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// The generation that is observed.
    pub(super) generation: GenerationNumber,
    /// When the observation is over.
    pub(super) until: Instant,
    rules: Arc<Rules>,
    /// Whether there is a generation to go back to.
    can_go_back: bool,
    judge: Arc<Judge>,
}

/// What a generation on probation is held against.
#[derive(Debug)]
pub(super) struct Rules {
    /// Failed calls that are too many, if the version before failed less often.
    pub(super) max_failures: u64,
    /// How many times slower is too slow.
    pub(super) max_slowdown: f64,
    /// How the calls of the version before went.
    pub(super) before: Sample,
}

impl Trial {
    pub(super) fn new(
        generation: GenerationNumber,
        length: Duration,
        rules: Rules,
        can_go_back: bool,
        judge: Judge,
    ) -> Self {
        let until = Instant::now() + length;
        Self { generation, until, rules: Arc::new(rules), can_go_back, judge: Arc::new(judge) }
    }

    /// Why the generation is to be taken back by now, if it is.
    pub(super) fn condemned(&self, now: &Sample) -> Option<String> {
        self.can_go_back.then(|| self.rules.condemn(now, self.generation)).flatten()
    }

    /// Why the generation is to be taken back at the end of its probation, if it is.
    pub(super) fn condemned_at_end(&self, now: &Sample) -> Option<String> {
        let at_end = || self.rules.condemn_at_end(now, self.generation);
        self.can_go_back.then(at_end).flatten()
    }

    /// The observation goes on with these counts: calls that failed wait no longer.
    pub(super) fn goes_on(&self, counts: Counts) {
        self.judge.has_seen(counts.failures);
    }

    /// Whether the generation has proved itself when its time is over.
    pub(super) fn is_passed(&self, now: &Sample) -> bool {
        self.rules.condemn_at_end(now, self.generation).is_none()
    }
}

/// What the version after `before` is compared with: `before` alone, or where it has answered few calls,
/// with what it was compared with itself.
pub(super) fn baseline(before: Sample, earlier: &Sample) -> Sample {
    let mut baseline = before;
    if baseline.counts.calls < ENOUGH_BEFORE {
        baseline.add(earlier);
    }
    baseline
}

impl Rules {
    /// Why `generation` with the calls of `now` is condemned, if it is.
    fn condemn(&self, now: &Sample, generation: GenerationNumber) -> Option<String> {
        let failed = self.fails(now.counts).then(|| {
            let Counts { calls, failures } = now.counts;
            format!("{failures} of {calls} calls of generation {generation} failed")
        });
        let failed = failed.or_else(|| {
            let is_bad = self.answers_badly(now, ENOUGH_ANSWERS, (2, 5));
            is_bad.then(|| self.bad_answers(now, generation))
        });
        failed.or_else(|| self.slow(now, generation))
    }

    /// As [`Rules::condemn`], when there will be no further calls to judge by.
    fn condemn_at_end(&self, now: &Sample, generation: GenerationNumber) -> Option<String> {
        self.condemn(now, generation).or_else(|| {
            let is_bad = self.answers_badly(now, FEW_ANSWERS, (9, 10));
            is_bad.then(|| self.bad_answers(now, generation))
        })
    }

    fn fails(&self, now: Counts) -> bool {
        let part = |counts: Counts| Part { bad: counts.failures, all: counts.calls };
        let (now, before) = (part(now), part(self.before.counts));
        now.bad >= self.max_failures
            && now.is_more_than_twice(before)
            && (before.bad == 0 || now.is_evidence(before, ALPHA))
    }

    /// Whether bad answers condemn; where the version before has too few, at least the `share` of `enough`.
    fn answers_badly(&self, now: &Sample, enough: u64, share: (u64, u64)) -> bool {
        let part = |sample: &Sample| Part { bad: sample.bad, all: sample.answers };
        let (now, before) = (part(now), part(&self.before));
        if before.all < ENOUGH_ANSWERS {
            let is_share = now.bad * share.1 >= now.all * share.0;
            return now.all >= enough && is_share && now.is_more_than_twice(before);
        }
        now.is_more_than_twice(before) && now.is_evidence(before, ALPHA)
    }

    fn bad_answers(&self, now: &Sample, generation: GenerationNumber) -> String {
        let Sample { answers, bad, .. } = *now;
        let before = match self.before.answers {
            0 => String::new(),
            answers => format!("; before, {} of {answers} did", self.before.bad),
        };
        format!("{bad} of {answers} answers of generation {generation} have a bad status{before}")
    }

    fn slow(&self, now: &Sample, generation: GenerationNumber) -> Option<String> {
        // Each load is tested twice, and may err in its part.
        let alpha = ALPHA / (2 * LOADS) as f64;
        (0..LOADS).find_map(|load| {
            let counted = now.latencies.at(load);
            let calls = counted.calls();
            if calls < ENOUGH_ANSWERS {
                return None;
            }
            let reference = self.reference(load)?;
            let is_slower = |quantile: f64, least: u64| {
                let (then, limit) = self.limit(reference, quantile)?;
                let slow = Part { bad: counted.longer_than(limit), all: calls };
                let is_part = slow.bad as f64 > calls as f64 * (1.0 - quantile);
                let is_slower = slow.bad >= least && is_part && slow.is_evidence(then, alpha);
                is_slower.then(|| self.slower(counted, reference, quantile, generation)).flatten()
            };
            let median = is_slower(0.5, FEW_SLOW);
            let tail = || (calls >= ENOUGH_FOR_TAIL).then(|| is_slower(0.99, FEW_SLOW)).flatten();
            median.or_else(tail)
        })
    }

    /// What calls under the load of number `load` are compared with.
    fn reference(&self, load: usize) -> Option<Reference<'_>> {
        let at = |load: usize| {
            Some(self.before.latencies.at(load)).filter(|it| it.calls() >= ENOUGH_ANSWERS)
        };
        let same = at(load).map(|counted| Reference { counted, factor: 1 });
        // Under a higher load, the version before would not have been faster.
        let higher = || {
            let counted = (load + 1..LOADS).find_map(at)?;
            Some(Reference { counted, factor: 1 })
        };
        // Under a lower load, it may have been faster by as much as the load has grown.
        let lower = || {
            let (lower, counted) = (0..load).rev().find_map(|it| Some((it, at(it)?)))?;
            Some(Reference { counted, factor: 2 * fewest(load) / fewest(lower) })
        };
        same.or_else(higher).or_else(lower)
    }

    /// The duration beyond which a call is slow by `quantile`, and how many calls of the version before were
    /// slow by that.
    fn limit(&self, reference: Reference<'_>, quantile: f64) -> Option<(Part, Duration)> {
        let Reference { counted, factor } = reference;
        let then = counted.quantile(quantile)?;
        let limit = then.mul_f64(self.max_slowdown).max(then + NOTICED);
        // One more than were counted: the limit was chosen by these very calls, of which the one at the
        // quantile is as good as beyond it.
        let bad = (counted.longer_than(limit) + 1).min(counted.calls());
        Some((Part { bad, all: counted.calls() }, limit * factor))
    }

    fn slower(
        &self,
        counted: Counted<'_>,
        reference: Reference<'_>,
        quantile: f64,
        generation: GenerationNumber,
    ) -> Option<String> {
        let (now, then) = (counted.quantile(quantile)?, reference.counted.quantile(quantile)?);
        let what = if quantile == 0.5 { "half" } else { "99 of 100" };
        Some(format!(
            "{what} of the calls of generation {generation} are answered within {}; before, within {}",
            words(now),
            words(then)
        ))
    }
}

/// Calls to compare with, and how many times longer the compared ones may take for their load.
#[derive(Clone, Copy)]
struct Reference<'a> {
    counted: Counted<'a>,
    factor: u32,
}

/// A duration as people say it.
fn words(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

#[cfg(test)]
mod tests;
