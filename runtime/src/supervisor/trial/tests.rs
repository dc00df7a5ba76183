//! What is condemned and what is not, and how often: simulations with planted faults and with twins.

use super::*;
use crate::generation::{Histogram, Tally};

/// Calls of the version before.
const BEFORE: u64 = 400;

/// Calls between two looks at durations.
const LOOK_EVERY: u64 = 16;

/// Twins that are tried at each traffic. Five in a thousand of them may be condemned.
const TWINS: u64 = 1000;

fn counts(calls: u64, failures: u64) -> Sample {
    Sample { counts: Counts { calls, failures }, ..Sample::default() }
}

fn answers(answers: u64, bad: u64) -> Sample {
    Sample { counts: Counts { calls: answers, failures: 0 }, answers, bad, ..Sample::default() }
}

fn rules(before: Sample) -> Rules {
    Rules { max_failures: 3, max_slowdown: 3.0, before }
}

fn condemn(before: Sample, now: Sample) -> Option<String> {
    rules(before).condemn(&now, GenerationNumber::new(2))
}

#[test]
fn few_failures_are_accidents() {
    assert_eq!(condemn(counts(100, 0), counts(2, 2)), None);
    let reason = condemn(counts(100, 0), counts(3, 3)).unwrap();
    assert_eq!(reason, "3 of 3 calls of generation 2 failed");
}

#[test]
fn failures_that_the_version_before_had_too_are_no_reason_to_go_back() {
    assert_eq!(condemn(counts(100, 50), counts(10, 6)), None);
    assert_eq!(condemn(counts(100, 100), counts(10, 10)), None);
    assert_eq!(condemn(counts(100, 10), counts(10, 3)), None, "a twin does so in one of ten cases");
    assert!(condemn(counts(100, 10), counts(10, 9)).is_some());
}

#[test]
fn a_version_before_without_calls_is_no_excuse() {
    let rules = Rules { max_failures: 1, max_slowdown: 3.0, before: Sample::default() };
    assert!(rules.condemn(&counts(1, 1), GenerationNumber::new(2)).is_some());
}

#[test]
fn bad_answers_are_condemned_within_some_calls_unless_the_version_before_gave_them_too() {
    let reason = condemn(answers(200, 0), answers(4, 4)).unwrap();
    let told = "4 of 4 answers of generation 2 have a bad status; before, 0 of 200 did";
    assert_eq!(reason, told);
    assert!(condemn(answers(100, 0), answers(12, 6)).is_some());
    assert_eq!(condemn(answers(100, 100), answers(200, 200)), None);
    assert_eq!(condemn(answers(200, 100), answers(200, 110)), None);
    assert!(condemn(answers(200, 20), answers(200, 100)).is_some());
}

#[test]
fn without_answers_to_compare_with_only_what_is_plain_is_condemned() {
    assert_eq!(condemn(Sample::default(), answers(19, 19)), None);
    assert!(condemn(Sample::default(), answers(20, 20)).is_some());
    assert!(condemn(Sample::default(), answers(40, 20)).is_some());
    assert_eq!(condemn(Sample::default(), answers(100, 10)), None);
    let at_end = |now: Sample| {
        rules(Sample::default()).condemn_at_end(&now, GenerationNumber::new(2)).is_some()
    };
    assert!(at_end(answers(5, 5)) && !at_end(answers(4, 4)) && !at_end(answers(6, 4)));
}

#[tokio::test]
async fn a_first_generation_is_neither_taken_back_nor_confirmed_for_its_failures() {
    let number = GenerationNumber::FIRST;
    let tally = Arc::<Tally>::default();
    let trial = |can_go_back| {
        let rules = Rules { max_failures: 1, max_slowdown: 3.0, before: Sample::default() };
        Trial::new(number, Duration::ZERO, rules, can_go_back, tally.judge())
    };
    let bad = counts(1, 1);
    assert!(trial(false).condemned(&bad).is_none() && !trial(false).is_passed(&bad));
    assert!(trial(true).condemned(&bad).is_some());
    assert!(trial(false).is_passed(&counts(9, 0)));
}

#[test]
fn a_version_that_answered_little_is_compared_with_what_it_was_compared_with_itself() {
    let earlier = answers(500, 5);
    assert_eq!(baseline(answers(300, 1), &earlier), answers(300, 1));
    assert_eq!(baseline(answers(10, 1), &earlier), answers(510, 6));
}

/// A splitmix64 generator: the same numbers on every machine, from a seed and without a crate.
struct Random(u64);

impl Random {
    /// A number from 0 to below 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 53 bits are as many as a float tells apart.
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How long calls take, in milliseconds, by a number from 0 to below 1.
type Durations = fn(f64) -> f64;

/// Nearly the same each time.
fn even(unit: f64) -> f64 {
    4.0 + unit
}

/// A few calls take very long: Pareto, with a mean that hardly exists.
fn heavy_tail(unit: f64) -> f64 {
    2.0 / (1.0 - unit).powf(0.9)
}

/// Two kinds of calls, one in ten of which takes fifty times as long.
fn two_kinds(unit: f64) -> f64 {
    if unit < 0.9 { 1.0 + unit } else { 50.0 + 100.0 * (unit - 0.9) }
}

/// How a version behaves.
#[derive(Clone, Copy)]
struct Version {
    durations: Durations,
    /// How many times longer each call takes.
    factor: f64,
    /// What is added to each call, in milliseconds.
    more: f64,
    /// Part of the calls that fail.
    failing: f64,
    /// Part of the answers that are bad.
    bad: f64,
}

const GOOD: Version = Version { durations: even, factor: 1.0, more: 0.0, failing: 0.0, bad: 0.0 };

impl Version {
    /// Makes one more call beside which up to `calls` run.
    fn call(&self, sample: &mut Sample, random: &mut Random, calls: usize) {
        sample.counts.calls += 1;
        if random.unit() < self.failing {
            sample.counts.failures += 1;
            return;
        }
        sample.answers += 1;
        if random.unit() < self.bad {
            sample.bad += 1;
        }
        // A call beside others waits for a processor.
        let beside = 1 + (random.unit() * calls as f64) as usize;
        let ms = ((self.durations)(random.unit()) * self.factor + self.more) * beside as f64;
        sample.latencies.count(Duration::from_secs_f64(ms / 1e3), beside);
    }

    fn sample(&self, n: u64, random: &mut Random, calls: usize) -> Sample {
        let mut sample = Sample { latencies: Box::<Histogram>::default(), ..Sample::default() };
        (0..n).for_each(|_| self.call(&mut sample, random, calls));
        sample
    }

    /// The number of the call by which this version is condemned after `before`, of `n` calls. The judge
    /// looks when the real one does: after each failure and bad answer, and every some calls.
    fn condemned_after(
        &self,
        before: Sample,
        n: u64,
        random: &mut Random,
        calls: usize,
    ) -> Option<u64> {
        let (rules, mut now) = (rules(before), Sample::default());
        let number = GenerationNumber::new(2);
        let by = (1..=n).find(|i| {
            let seen = now.counts.failures + now.bad;
            self.call(&mut now, random, calls);
            let is_worse = now.counts.failures + now.bad > seen;
            (is_worse || i.is_multiple_of(LOOK_EVERY)) && rules.condemn(&now, number).is_some()
        });
        by.or_else(|| rules.condemn_at_end(&now, number).map(|_| n))
    }
}

#[test]
fn planted_faults_are_found_within_200_calls() {
    let planted = [
        ("bad status each time", Version { bad: 1.0, ..GOOD }),
        ("bad status half the time", Version { bad: 0.5, ..GOOD }),
        ("10 times slower", Version { factor: 10.0, ..GOOD }),
        ("40 times slower", Version { factor: 40.0, ..GOOD }),
        ("10 times slower, heavy tail", Version { factor: 10.0, durations: heavy_tail, ..GOOD }),
        ("10 times slower, two kinds", Version { factor: 10.0, durations: two_kinds, ..GOOD }),
        ("spins for 145 ms", Version { more: 145.0, ..GOOD }),
        ("fails one call in ten", Version { failing: 0.1, ..GOOD }),
    ];
    for (what, version) in planted {
        let before = Version { durations: version.durations, ..GOOD };
        for (calls, seed) in [1, 4, 20].into_iter().flat_map(|it| (0..20).map(move |s| (it, s))) {
            let random = &mut Random(seed);
            let before = before.sample(BEFORE, random, calls);
            let by = version.condemned_after(before, 200, random, calls);
            assert!(by.is_some(), "{what}: not found, {calls} at once, seed {seed}");
        }
    }
}

#[test]
fn one_failure_in_a_hundred_is_found_within_a_probation() {
    let version = Version { failing: 0.01, ..GOOD };
    let found = (0..100).filter(|seed| {
        let random = &mut Random(*seed);
        let before = GOOD.sample(BEFORE, random, 4);
        version.condemned_after(before, 1000, random, 4).is_some()
    });
    // Of 1,000 calls, three fail in all but three of a thousand cases.
    assert!(found.count() >= 98);
}

#[test]
fn a_slower_version_is_found_also_by_clients_who_call_otherwise_than_before() {
    let random = &mut Random(1);
    let alone = GOOD.sample(BEFORE, random, 1);
    let slow = Version { factor: 40.0, ..GOOD };
    assert!(slow.condemned_after(alone.clone(), 200, random, 16).is_some());
    assert_eq!(GOOD.condemned_after(alone, 1000, random, 16), None, "it is the load");
    let crowd = GOOD.sample(BEFORE, random, 16);
    assert!(slow.condemned_after(crowd.clone(), 400, random, 1).is_some());
    assert_eq!(GOOD.condemned_after(crowd, 1000, random, 1), None);
}

#[test]
fn of_a_thousand_twins_at_most_five_are_condemned() {
    let twins = [
        ("even", GOOD),
        ("heavy tail", Version { durations: heavy_tail, ..GOOD }),
        ("two kinds", Version { durations: two_kinds, ..GOOD }),
        ("one bad answer in ten", Version { bad: 0.1, durations: heavy_tail, ..GOOD }),
        ("half bad, one failure in five", Version { bad: 0.5, failing: 0.2, ..GOOD }),
    ];
    // Calls of the version before, of the one on probation, and how many at once.
    for (before, n, calls) in [(30, 60, 1), (200, 200, 4), (2000, 200, 20)] {
        for (what, twin) in twins {
            let condemned = (0..TWINS).filter(|seed| {
                let random = &mut Random(seed * 7919 + before);
                let before = twin.sample(before, random, calls);
                twin.condemned_after(before, n, random, calls).is_some()
            });
            let condemned = condemned.count();
            assert!(condemned <= 5, "{what}, {before} calls before: {condemned} of {TWINS}");
        }
    }
}
