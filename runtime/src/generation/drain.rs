//! Drain: close a replaced generation, let its calls end, cut those that outstay the deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::Generation;

/// After the cut, calls get this long to notice; they are cancelled, so it is one turn of their
/// tasks, plus up to one epoch tick for a guest that computes.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drained {
    /// Calls that were still inside at the deadline.
    pub(crate) cut: usize,
    /// From the close to the last call's end.
    pub(crate) waited: Duration,
}

impl<R> Generation<R> {
    /// Closes the gate and waits until the last call has left, at most `deadline`, after which the
    /// calls still inside are cut.
    ///
    /// # Cancel safety
    ///
    /// The gate stays closed; a second call waits again.
    pub(crate) async fn drain(&self, deadline: Duration) -> Drained {
        let closed_at = Instant::now();
        self.close();
        self.retirement.retiring.cancel();
        let in_time = tokio::time::timeout(deadline, self.emptied()).await.is_ok();
        let cut = if in_time { 0 } else { self.in_flight() };
        self.retirement.cut.cancel();
        // Also bounded: a call that ignores the cut must not keep the supervisor from finishing.
        let _ = tokio::time::timeout(CUT_GRACE, self.emptied()).await;
        Drained { cut, waited: closed_at.elapsed() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::generation::{Loaded, Retirement};
    use crate::id::{Digest, GenerationNumber};

    const LIMIT: Duration = Duration::from_secs(10);

    fn generation() -> Arc<Generation<()>> {
        let (number, digest) = (GenerationNumber::FIRST, Digest::of(b""));
        let (retirement, loaded) =
            (Retirement::default(), Loaded::new((), None, Retirement::default()));
        Generation::new(number, digest, loaded, retirement, None)
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_generation_drains_at_once() {
        let drained = generation().drain(LIMIT).await;
        assert_eq!(drained, Drained { cut: 0, waited: Duration::ZERO });
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_in_flight_is_waited_for_and_nobody_enters_meanwhile() {
        let generation = generation();
        let pass = generation.try_enter().expect("the gate is open");
        let drain = tokio::spawn({
            let generation = Arc::clone(&generation);
            async move { generation.drain(LIMIT).await }
        });
        generation.retirement.retiring.cancelled().await;
        assert!(generation.try_enter().is_err());
        assert!(!pass.0.retirement.cut.is_cancelled());
        drop(pass);
        assert_eq!(drain.await.expect("the drain does not panic").cut, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_outstay_the_deadline_are_cut_and_counted() {
        let generation = generation();
        let passes = [generation.try_enter(), generation.try_enter()].map(Result::unwrap);
        let drain = tokio::spawn({
            let generation = Arc::clone(&generation);
            async move { generation.drain(LIMIT).await }
        });
        passes[0].0.retirement.cut.cancelled().await;
        drop(passes);
        let drained = drain.await.expect("the drain does not panic");
        assert_eq!(drained.cut, 2);
        assert_eq!(drained.waited, LIMIT);
    }
}
