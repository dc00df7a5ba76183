//! The calls that `wrt-bench calls` measures in its own process, through wrt and by hand.
//!
//! A crate of its own because it has to be compiled with optimisation: the generic code of wrt and
//! wasmtime that a host instantiates is part of what is measured, and takes minutes to compile.

mod by_hand;
mod sides;
mod work;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

pub use sides::{ByHand, Ours};
pub use work::{Mode, Work, document};

/// Calls between two looks at the clock.
const BATCH: u64 = 16;

/// What is measured at once.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// How instances are used.
    pub mode: Mode,
    /// What the guest does.
    pub work: Work,
    /// Threads that call at the same time.
    pub n_threads: usize,
    /// How long each of them calls.
    pub time: Duration,
}

/// Calls that a thread made, and the seconds they took.
type Made = (u64, f64);

/// Microseconds of one call on each of `n_threads`, each of which runs `calls`.
fn call_us(
    executor: &tokio::runtime::Runtime,
    n_threads: usize,
    calls: impl AsyncFn() -> Result<Made> + Sync,
) -> Result<f64> {
    std::thread::scope(|scope| {
        // Threads of their own, within the runtime: a task might move, or share a worker.
        let on_thread = || executor.handle().block_on(calls());
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(on_thread)).collect();
        let (mut n_calls, mut seconds) = (0, 0.0);
        for thread in threads {
            let joined = thread.join().ok().context("a calling thread panicked")?;
            let (n_more, more) = joined?;
            n_calls += n_more;
            seconds += more;
        }
        Ok(seconds / n_calls as f64 * 1e6)
    })
}

/// Makes calls for `time`.
async fn repeat(time: Duration, mut call: impl AsyncFnMut() -> Result<()>) -> Result<Made> {
    let (mut n_calls, started_at) = (0, Instant::now());
    loop {
        for _ in 0..BATCH {
            call().await?;
        }
        n_calls += BATCH;
        let elapsed = started_at.elapsed();
        if elapsed >= time {
            return Ok((n_calls, elapsed.as_secs_f64()));
        }
    }
}
