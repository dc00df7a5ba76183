//! How long the calls of a generation took: counts by duration, apart by how many calls ran at once.
//!
//! Durations are counted in buckets whose bounds grow by a fifth, so that a quantile is known to a
//! fifth, and a call costs one addition. They are kept apart by the calls that ran beside: under more
//! load each call takes longer, which says nothing about the version.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Buckets of one octave.
const PER_OCTAVE: usize = 4;

/// Durations below this many microseconds are one bucket: 2 to the power of this.
const FIRST_OCTAVE: u32 = 4;

/// Octaves that are told apart: up to 67 s, twice the longest call by default.
const OCTAVES: usize = 22;

/// Buckets of one load.
const BUCKETS: usize = 1 + OCTAVES * PER_OCTAVE;

/// Loads that are told apart: 1, 2 to 3, 4 to 7, 8 to 15, 16 to 31 calls at once, and more.
pub(crate) const LOADS: usize = 6;

/// Counts that calls add to. See the [module](self).
#[derive(Debug)]
pub(super) struct Latencies([[AtomicU32; BUCKETS]; LOADS]);

/// [`Latencies`] at one moment, or of several generations together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histogram([[u32; BUCKETS]; LOADS]);

/// The counts of one load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted<'a>(&'a [u32; BUCKETS]);

impl Latencies {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| std::array::from_fn(|_| AtomicU32::new(0))))
    }

    /// Counts a call that took `elapsed` while `calls` ran, itself among them.
    pub(super) fn add(&self, elapsed: Duration, calls: usize) {
        // Ordering: figures. Four thousand million calls of one bucket wrap around, which makes a
        // judgement on a probation of that length wrong at worst.
        self.0[load(calls)][bucket(elapsed)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn histogram(&self) -> Histogram {
        let mut found = Histogram::default();
        for (row, atomics) in found.0.iter_mut().zip(&self.0) {
            for (count, atomic) in row.iter_mut().zip(atomics) {
                *count = atomic.load(Ordering::Relaxed);
            }
        }
        found
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self([[0; BUCKETS]; LOADS])
    }
}

impl Histogram {
    /// The counts of load number `load`.
    pub(crate) fn at(&self, load: usize) -> Counted<'_> {
        Counted(&self.0[load])
    }

    /// Adds the counts of `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        for (row, others) in self.0.iter_mut().zip(&other.0) {
            for (count, other) in row.iter_mut().zip(others) {
                *count = count.saturating_add(*other);
            }
        }
    }

    /// Counts a call, as [`Latencies::add`].
    #[cfg(test)]
    pub(crate) fn count(&mut self, elapsed: Duration, calls: usize) {
        self.0[load(calls)][bucket(elapsed)] += 1;
    }
}

impl Counted<'_> {
    /// How many calls were counted.
    pub(crate) fn calls(self) -> u64 {
        self.0.iter().map(|count| u64::from(*count)).sum()
    }

    /// The duration that the part `quantile` of the calls did not exceed, rounded up; `None` without
    /// calls.
    pub(crate) fn quantile(self, quantile: f64) -> Option<Duration> {
        let calls = self.calls();
        // Rounded up: the median of one call is that call. A count of calls fits a float as far as a
        // fifth matters.
        let rank = ((calls as f64 * quantile).ceil() as u64).clamp(1, calls.max(1));
        let mut seen = 0;
        let found = self.0.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        });
        Some(upper(found?))
    }

    /// How many calls took longer than `limit`, without those of which that is not certain.
    pub(crate) fn longer_than(self, limit: Duration) -> u64 {
        let above = self.0.iter().enumerate().filter(|(bucket, _)| lower(*bucket) >= limit);
        above.map(|(_, count)| u64::from(*count)).sum()
    }
}

/// The number of the load of `calls` at once.
fn load(calls: usize) -> usize {
    (calls.max(1).ilog2() as usize).min(LOADS - 1)
}

/// The fewest calls at once of load number `load`.
pub(crate) fn fewest(load: usize) -> u32 {
    1 << load
}

fn bucket(elapsed: Duration) -> usize {
    // What does not fit is beyond the last bucket anyway.
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let Some(octave) = micros.checked_ilog2().and_then(|log| log.checked_sub(FIRST_OCTAVE)) else {
        return 0;
    };
    // The two bits below the highest one say which quarter of the octave it is.
    let quarter = (micros >> (octave + FIRST_OCTAVE - 2)) as usize & (PER_OCTAVE - 1);
    (1 + octave as usize * PER_OCTAVE + quarter).min(BUCKETS - 1)
}

/// The shortest duration in `bucket`.
fn lower(bucket: usize) -> Duration {
    let Some(above_first) = bucket.checked_sub(1) else { return Duration::ZERO };
    let (octave, quarter) = (above_first / PER_OCTAVE, (above_first % PER_OCTAVE) as u64);
    // The first octave begins with 16 µs, of which a quarter is 4 µs.
    Duration::from_micros((4 + quarter) << (octave as u32 + FIRST_OCTAVE - 2))
}

/// The duration that all in `bucket` are shorter than.
fn upper(bucket: usize) -> Duration {
    lower(bucket + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_bucket_whose_bounds_it_is_within() {
        let micros = (0..200).chain((0..26).flat_map(|log| [(1 << log) - 1, 1 << log, 3 << log]));
        for micros in micros {
            let elapsed = Duration::from_micros(micros);
            let bucket = bucket(elapsed);
            assert!(lower(bucket) <= elapsed, "{micros}");
            assert!(elapsed < upper(bucket) || bucket == BUCKETS - 1, "{micros}");
            let is_narrow = bucket == 0 || upper(bucket) <= lower(bucket) * 5 / 4;
            assert!(is_narrow, "{micros}");
        }
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_and_counts_beyond_a_limit_are_those_of_their_load() {
        let mut histogram = Histogram::default();
        for i in 1..=100 {
            histogram.count(Duration::from_millis(i), 1);
            histogram.count(Duration::from_secs(9), 5);
        }
        let alone = histogram.at(0);
        assert_eq!(
            (alone.calls(), histogram.at(1).calls(), histogram.at(2).calls()),
            (100, 0, 100)
        );
        let within = |quantile, expected: u64| {
            let found = alone.quantile(quantile).unwrap();
            assert!(
                (Duration::from_millis(expected)..=Duration::from_millis(expected * 5 / 4))
                    .contains(&found),
                "{quantile}: {found:?}"
            );
        };
        within(0.5, 50);
        within(0.99, 99);
        assert!((40..=50).contains(&alone.longer_than(Duration::from_millis(50))));
        assert_eq!(alone.longer_than(Duration::ZERO), 100);
        assert_eq!(histogram.at(1).quantile(0.5), None);
        assert_eq!((load(0), load(1), load(3), load(4), load(1000)), (0, 0, 1, 2, LOADS - 1));
    }
}
