//! How a runtime gets ready to end: probes are told first, then the drain of each handler counts.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::{HandlerHandle, Runtime};

/// How far the end of a runtime has come.
#[derive(Debug, Default)]
pub(super) struct Ending(AtomicU8);

/// Probes are told that the runtime is about to end.
const ANNOUNCED: u8 = 1;
/// The drains of the handlers count.
const BEGUN: u8 = 2;

impl Ending {
    fn reach(&self, stage: u8) -> bool {
        // Ordering, here and below: each reader wants the stage alone.
        self.0.fetch_max(stage, Ordering::Relaxed) < stage
    }

    fn is_announced(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= ANNOUNCED
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= BEGUN
    }
}

impl Runtime {
    /// Tells probes that the runtime is about to end: `/readyz` of the control plane answers 503
    /// from now on, so that a load balancer sends its requests elsewhere. Everything else goes on.
    pub fn announce_shutdown(&self) {
        self.inner.ending.reach(ANNOUNCED);
    }

    /// Whether [`Runtime::announce_shutdown`], [`Runtime::begin_shutdown`] or [`Runtime::shutdown`]
    /// was called.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.inner.ending.is_announced() || self.inner.stop.is_cancelled()
    }

    /// Starts the drain of each handler, all at once: calls are let in as before, and when the
    /// `drain` of a handler is over, the handler lets no more calls in, and those inside are cut and
    /// counted in [`EventKind::Drained`](crate::EventKind::Drained). [`Runtime::shutdown`] then
    /// waits only for what is left of each drain.
    ///
    /// For a server that stops: call this when the listener is to be closed, [`Runtime::shutdown`]
    /// when the connections have ended. Handlers can no longer be added. A second call changes
    /// nothing.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, whose clock the drains need. Nothing has begun then.
    pub fn begin_shutdown(&self) {
        let tokio = tokio::runtime::Handle::current();
        if !self.inner.ending.reach(BEGUN) {
            return;
        }
        for handler in self.known().values() {
            let (stop, drain) = (handler.begin_ending(), handler.drain());
            tokio.spawn(async move {
                // Cancel-safe: both only wait.
                tokio::select! {
                    () = tokio::time::sleep(drain) => stop.handler.cancel(),
                    () = stop.handler.cancelled() => {}
                }
            });
        }
    }

    /// The longest `drain` of the handlers.
    pub(super) fn longest_drain(&self) -> Duration {
        let handlers = self.known();
        handlers.values().map(HandlerHandle::drain).max().unwrap_or_default()
    }
}
