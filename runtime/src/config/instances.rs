//! How a handler's instances are used, and how long warm ones last.

use std::time::Duration;

/// How a handler's instances are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstanceMode {
    /// A new instance for each call, dropped after it.
    Fresh,
    /// Warm instances, each used for one call after another. Which one a call gets is open, so what
    /// a guest keeps in memory is a cache at most. One lasts an hour at most, and goes earlier when
    /// its memory has grown beyond half of its limit; instances that began together end apart.
    Pooled {
        /// Calls after which an instance is dropped. Default 1,000: the cost of a new one is then
        /// below a thousandth of the work, while what a guest leaks stays bounded.
        max_calls: usize,
        /// Idle time after which an instance is dropped. Default 30 s, which outlasts the pauses
        /// of a person at work and gives the memory of a burst back soon.
        max_idle: Duration,
    },
    /// One long-lived instance, whose memory is the state. It answers one call at a time, and a
    /// swap hands its state over to the next generation.
    Singleton,
}

/// What a warm instance gets before it is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) calls: usize,
    pub(crate) age: Duration,
}

/// Longest life of a warm instance: what goes wrong slowly is gone by then, and an hour of calls
/// pays for the making of one many times over.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Instances that began together end in as many turns, each a 64th of the span before the next.
const TURNS: u32 = 8;

impl InstanceMode {
    /// [`InstanceMode::Pooled`] with the defaults.
    #[must_use]
    pub fn pooled() -> Self {
        Self::Pooled { max_calls: 1000, max_idle: Duration::from_secs(30) }
    }

    /// What instance `number` of a pool gets; a singleton lives as long as its generation, and a
    /// fresh instance as long as its call.
    pub(crate) fn span(self, number: u64) -> Option<Span> {
        let Self::Pooled { max_calls, .. } = self else { return None };
        // Below `TURNS`, so it fits.
        let turn = (number % u64::from(TURNS)) as u32;
        let calls = max_calls - max_calls / (TURNS * TURNS) as usize * turn as usize;
        Some(Span { calls, age: MAX_AGE - MAX_AGE / (TURNS * TURNS) * turn })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_that_began_together_end_apart_and_none_exceeds_its_span() {
        let spans: Vec<_> =
            (0..8).map(|number| InstanceMode::pooled().span(number).unwrap()).collect();
        assert_eq!(spans[0], Span { calls: 1000, age: MAX_AGE });
        assert!(spans.windows(2).all(|two| two[1].calls < two[0].calls && two[1].age < two[0].age));
        assert!(spans[7].calls > 850);
        let few = InstanceMode::Pooled { max_calls: 3, max_idle: Duration::ZERO };
        assert!((0..8).all(|number| few.span(number).unwrap().calls == 3));
        assert_eq!(InstanceMode::Singleton.span(0), None);
    }
}
