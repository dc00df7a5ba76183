//! What the guests of one generation cost at a stretch, and whether others would wait for too long.
//!
//! Work between two yields holds up its thread, however short it is: a hundred calls of 15 ms each are
//! a queue of more than a second for a neighbour that needs a thirtieth of a millisecond.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use cpu_time::ThreadTime;

/// What a stretch may cost wherever it runs. A small handler's call costs half of it with an instance of
/// its own, and to go aside costs a fifth.
const CHEAP: Duration = Duration::from_micros(50);

/// What the host does for a call around the guest's stretch, on the same threads: it reads the request,
/// writes the answer, and tells of a failure.
const AROUND: Duration = Duration::from_micros(100);

/// How long a queue of all calls of one generation may be, as long as a [tick](crate::engine::TICK)
/// of the engine's clock, which a guest may compute for anyway.
const QUEUE: Duration = Duration::from_millis(10);

/// Of so many stretches about one is measured, as two looks at the clock take a microsecond.
const SAMPLED: u32 = 8;

/// A measurement moves the mean by this part of the difference. So the mean is that of the last dozens
/// of stretches, and one of 15 ms among the first is noticed at once.
const SMOOTHED: u64 = 16;

/// The calls of one generation and what they cost. All clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Computing(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    /// Calls that have begun and are not over.
    n_begun: AtomicUsize,
    /// Processor time of a stretch in nanoseconds: a smoothed mean.
    cost: AtomicU64,
}

impl Computing {
    /// Counts a call that begins.
    pub(super) fn begin(self) -> Begun {
        // Ordering, here and below: figures that guard no other data.
        self.0.n_begun.fetch_add(1, Ordering::Relaxed);
        Begun(self)
    }
}

/// Counts a call as begun for as long as it exists.
pub(super) struct Begun(Computing);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.0.n_begun.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Begun {
    /// Whether a stretch of this generation costs so much that it is worth to ask
    /// [how many calls there are](Self::hold_others_up).
    pub(super) fn may_hold_others_up(&self) -> bool {
        self.cost() > CHEAP
    }

    /// Whether the calls that have begun, each with one stretch, would make others wait for too long.
    pub(super) fn hold_others_up(&self) -> bool {
        is_long(self.0.0.n_begun.load(Ordering::Relaxed), self.cost())
    }

    /// Does `stretch`, and may measure it.
    pub(super) fn measured<T>(&self, stretch: impl FnOnce() -> T) -> T {
        if !is_sampled() {
            return stretch();
        }
        // The time for which this thread had a processor. Not the time of day, as threads aside wait for
        // processors, and the others of a busy machine do, too.
        let begun_at = ThreadTime::try_now();
        let done = stretch();
        if let Ok(Ok(took)) = begun_at.map(|begun_at| begun_at.try_elapsed()) {
            self.took(took);
        }
        done
    }

    fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let cost = self.0.0.cost.load(Ordering::Relaxed);
        // What two threads add at once may be lost; there are more.
        let cost = cost - cost / SMOOTHED + time / SMOOTHED;
        self.0.0.cost.store(cost, Ordering::Relaxed);
    }

    fn cost(&self) -> Duration {
        Duration::from_nanos(self.0.0.cost.load(Ordering::Relaxed))
    }

    /// Tells one generation's work from another's, for fairness between them.
    pub(super) fn owner(&self) -> usize {
        Arc::as_ptr(&self.0.0).addr()
    }
}

/// Whether `n` calls at `cost` for each stretch make others wait for too long.
fn is_long(n: usize, cost: Duration) -> bool {
    let n = u32::try_from(n).unwrap_or(u32::MAX);
    cost > CHEAP && cost.saturating_add(AROUND).saturating_mul(n) > QUEUE
}

/// Whether a stretch is to be measured. At random, as a guest's stretches may differ in turn.
fn is_sampled() -> bool {
    thread_local! {
        static STATE: Cell<u32> = const { Cell::new(1) };
    }
    // The generator of Numerical Recipes; its upper bits are good enough.
    let state = STATE.get().wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    STATE.set(state);
    state < u32::MAX / SAMPLED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_calls_are_long_together_and_cheap_ones_never() {
        let ms = Duration::from_millis;
        for (n, cost, expected) in [
            (100, Duration::from_micros(30), false),
            (100, CHEAP, false),
            (1_000_000, CHEAP, false),
            (100, Duration::from_micros(101), true),
            (20, Duration::from_micros(101), false),
            (20, Duration::from_micros(501), true),
            (60, Duration::from_micros(60), false),
            (100, Duration::from_micros(60), true),
            (40, Duration::from_micros(120), false),
            (60, Duration::from_micros(120), true),
            (1, ms(9), false),
            (1, ms(11), true),
            (usize::MAX, Duration::MAX, true),
        ] {
            assert_eq!(is_long(n, cost), expected, "{n} calls of {cost:?}");
        }
    }

    #[test]
    fn one_long_stretch_is_noticed_at_once_and_cheap_ones_make_up_for_it() {
        let computing = Computing::default();
        let crowd: Vec<_> = (0..100).map(|_| computing.clone().begin()).collect();
        let call = &crowd[0];
        assert!(!call.may_hold_others_up());
        call.took(Duration::from_millis(15));
        assert!(call.hold_others_up());
        let back = (1..).find(|_| {
            call.took(Duration::from_micros(30));
            !call.may_hold_others_up()
        });
        assert!(back.is_some_and(|n| (10..100).contains(&n)), "after {back:?}");
    }

    #[test]
    fn calls_that_are_over_hold_nobody_up() {
        let computing = Computing::default();
        let call = computing.clone().begin();
        call.took(Duration::from_millis(15));
        assert!(call.may_hold_others_up() && !call.hold_others_up());
        let more: Vec<_> = (0..100).map(|_| computing.clone().begin()).collect();
        assert!(call.hold_others_up());
        drop(more);
        assert!(!call.hold_others_up());
    }

    #[test]
    fn a_part_of_all_stretches_is_measured() {
        let n_sampled = (0..SAMPLED * 1000).filter(|_| is_sampled()).count();
        assert!((500..2000).contains(&n_sampled), "{n_sampled}");
        let call = Computing::default().begin();
        while call.cost() == Duration::ZERO {
            call.measured(|| ());
        }
    }
}
