//! The removal of a handler, which can be waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// A handler that is on its way out: it takes no calls any more, and its calls in flight drain.
///
/// Awaiting this waits for the end of that, which is bounded by the handler's `drain`. Dropping it
/// changes nothing: the removal goes on.
pub struct Removal {
    ended: Pin<Box<dyn Future<Output = usize> + Send>>,
    since: Instant,
}

/// What the removal of a handler did. Nothing of the handler runs any more: its calls and instances
/// have ended, and its files can be deleted. Only where its supervisor had ended before
/// ([`StageError::NoSupervisor`](crate::StageError::NoSupervisor)) nobody drains it: no request reaches
/// it, and calls that are inside go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Removed {
    /// Calls that had not ended by the deadline of the handler's `drain`, and were cut.
    pub cut: usize,
    /// From the removal to the end of the last call.
    pub waited: Duration,
}

impl Removal {
    pub(super) fn new(ended: impl Future<Output = usize> + Send + 'static) -> Self {
        Self { ended: Box::pin(ended), since: Instant::now() }
    }
}

impl Future for Removal {
    type Output = Removed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Removed> {
        let since = self.since;
        self.ended.as_mut().poll(context).map(|cut| Removed { cut, waited: since.elapsed() })
    }
}

impl std::fmt::Debug for Removal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Removal").field("since", &self.since).finish_non_exhaustive()
    }
}
