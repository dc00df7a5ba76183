//! The supervisor under thousands of schedules: a virtual clock, faults and orders drawn from a seed.
//!
//! Each seed is a small world: callers, an operator who swaps, rolls back, confirms and cancels, and
//! candidates whose phases take their time, fail, or take the old instance along. The history checker
//! and a model of the counter judge what happened. A failure names its seed; `WRT_SEED=N` runs that
//! one alone, and `WRT_SCHEDULES=N` more than usual.

mod guest;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::supervisor::Bug;
use world::World;

/// Schedules that each run of the tests tries.
const SCHEDULES: u64 = 10_000;

/// Enough to catch a planted mistake, which shows in one of some dozens.
const SCHEDULES_FOR_A_BUG: u64 = 2_000;

/// A splitmix64 generator: the same numbers on every machine, from a seed and without a crate.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Whether one of `n` chances came true.
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Runs the world of `seed`; a broken promise is a panic.
fn run(seed: u64, bug: Option<Bug>) -> world::Summary {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without IO needs nothing of the system");
    runtime.block_on(World::new(seed, bug).run())
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_schedule_breaks_a_promise() {
    let mut total = world::Summary::default();
    let seeds = match variable("WRT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("WRT_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let is_all = seeds.end - seeds.start >= SCHEDULES;
    for seed in seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed, None))) {
            Ok(summary) => total += summary,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
                panic!("seed {seed}: {text} (run it alone with WRT_SEED={seed})");
            }
        }
    }
    // What never happened was not tested.
    assert!(!is_all || total.is_everything_seen(), "{total:?}");
}

#[test]
fn planted_mistakes_are_caught() {
    // Each of them panics in a world of its own, many times; nobody wants to read that.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let caught =
        [Bug::PublishBeforeInit, Bug::RestoreAfterPublish, Bug::DrainWithoutDeadline].map(|bug| {
            let is_caught = (0..SCHEDULES_FOR_A_BUG)
                .any(|seed| catch_unwind(AssertUnwindSafe(|| run(seed, Some(bug)))).is_err());
            (bug, is_caught)
        });
    std::panic::set_hook(hook);
    for (bug, is_caught) in caught {
        assert!(is_caught, "{bug:?} was not caught");
    }
}
