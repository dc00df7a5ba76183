//! A handler's policy: limits on calls, and how versions are swapped and judged.

use std::time::Duration;

use super::{ConfigError, Slowdown, StatusSet};
use super::{check_count, check_places, check_timeout, keys};

/// The rules of a handler that stay the same when its version changes: how many calls the handler takes,
/// how versions are swapped, and how a new version is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Calls that run at once. Default 100, so that one handler cannot take all of
    /// [`RuntimeConfig::max_concurrent_calls`](super::RuntimeConfig::max_concurrent_calls).
    pub concurrency: usize,
    /// Outgoing requests that the handler has open at once; further ones wait for a place, as long as
    /// they may take to connect. One call has 64 of them at most. Default 128, so that one handler
    /// cannot take all of [`RuntimeConfig::max_outgoing`](super::RuntimeConfig::max_outgoing).
    pub outgoing: usize,
    /// Calls that wait for a place; further ones are refused at once with 503. Default 1,024: some
    /// ten rounds of the default concurrency, and a waiting call holds little but its connection.
    pub queue: usize,
    /// Longest time a call waits for a place, then 503. Default 10 s, so that the refusal arrives
    /// while its client still listens.
    pub queue_timeout: Duration,
    /// Longest time of each step of a hand-over of state, while callers wait: calls in flight end,
    /// the old instance saves, the new one restores. Default 5 s, which callers wait out; `save` and
    /// `restore` of a few MiB take some milliseconds. `shutdown` has as long.
    pub hand_over: Duration,
    /// Time that calls in flight get to finish on a replaced generation. Default 30 s, as
    /// [`Settings::timeout`](super::Settings::timeout), so that a swap cuts no call that its own timeout
    /// allows.
    pub drain: Duration,
    /// How long a published generation is watched, and rolled back when its calls fail more often
    /// than those of the one before it. Default none: it is confirmed at once.
    pub probation: Duration,
    /// Failed calls that end a probation. Default 3: one may be an accident, and few see them.
    pub max_failures: u64,
    /// Statuses of answers that count against a generation on probation. Default `5xx`. A handler that
    /// answers with them as often before is not rolled back for them.
    pub probation_status: StatusSet,
    /// How many times slower than the one before it, by its median or its 99th percentile, a generation on
    /// probation may be. Default 3.
    pub max_slowdown: Slowdown,
    /// Whether the handler is ready before its first call, however many handlers there are. Default no.
    pub preload: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 100,
            outgoing: 128,
            queue: 1024,
            queue_timeout: Duration::from_secs(10),
            hand_over: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            probation: Duration::ZERO,
            max_failures: 3,
            probation_status: StatusSet::default(),
            max_slowdown: Slowdown::default(),
            preload: false,
        }
    }
}

impl Policy {
    /// What differs from `before`, by its keys in the manifest.
    pub(crate) fn changed_from(&self, before: &Self) -> Vec<&'static str> {
        let Self { concurrency, outgoing, queue, queue_timeout, hand_over, drain, .. } = self;
        let Self { probation, max_failures, probation_status, max_slowdown, preload, .. } = self;
        keys([
            ("concurrency", *concurrency != before.concurrency),
            ("outgoing", *outgoing != before.outgoing),
            ("queue", *queue != before.queue),
            ("queue_timeout", *queue_timeout != before.queue_timeout),
            ("hand_over", *hand_over != before.hand_over),
            ("drain", *drain != before.drain),
            ("probation", *probation != before.probation),
            ("max_failures", *max_failures != before.max_failures),
            ("probation_status", *probation_status != before.probation_status),
            ("max_slowdown", *max_slowdown != before.max_slowdown),
            ("preload", *preload != before.preload),
        ])
    }

    /// Refuses values with which no call could ever succeed.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_timeout("hand_over", self.hand_over)?;
        check_places("concurrency", self.concurrency)?;
        check_places("outgoing", self.outgoing)?;
        // A count of calls fits a pointer on every machine that has run that many.
        check_count("max_failures", usize::try_from(self.max_failures).unwrap_or(usize::MAX))
    }
}
