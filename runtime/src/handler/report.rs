//! The report of a failed call: one event and one log line, whoever made the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::{EnterError, Entered};
use crate::error::{CallFailure, chain};
use crate::events::{EventBus, EventKind, Serving};
use crate::generation::Tally;
use crate::id::{HandlerName, RequestId};

/// When and where a call began: all that is taken down of most calls, which do not fail.
#[derive(Debug)]
pub(crate) struct Begun {
    serving: Serving,
    tally: Arc<Tally>,
    at: Instant,
    /// Calls of the generation that ran when this one began, where that is observed.
    calls: usize,
}

impl Begun {
    /// The call of `entered`.
    pub(crate) fn of<R>(entered: &Entered<R>) -> Self {
        let tally = Arc::clone(entered.pass.tally());
        let calls = if tally.is_observed() { entered.pass.in_flight() } else { 0 };
        Self { serving: entered.pass.serving(), tally, at: entered.pass.since(), calls }
    }

    /// The call was answered, with this status if it has one. To be called when the answer begins: how
    /// fast its client takes it says nothing about the guest.
    pub(crate) fn answered(&self, status: Option<u16>) {
        if self.tally.is_observed() {
            self.tally.answered(status, self.at.elapsed(), self.calls);
        }
    }

    /// The report of this call, which `handler` runs.
    pub(crate) fn report(
        self,
        bus: &EventBus,
        handler: &HandlerName,
        request: Option<RequestId>,
    ) -> CallReport {
        let (bus, handler, is_told) = (bus.clone(), handler.clone(), AtomicBool::new(false));
        CallReport { bus, handler, begun: self, request, is_told }
    }
}

/// Identity of one running call.
#[derive(Debug)]
pub(crate) struct CallReport {
    bus: EventBus,
    handler: HandlerName,
    begun: Begun,
    /// `None` for a call that no request caused.
    request: Option<RequestId>,
    /// Whether the failure was told. Several may see it: whoever runs the guest, and whoever sends its
    /// answer; the first tells.
    is_told: AtomicBool,
}

impl CallReport {
    /// See [`Begun::answered`].
    pub(crate) fn answered(&self, status: u16) {
        self.begun.answered(Some(status));
    }

    /// Tells that the call failed before its client got anything of an answer. Ready when it has been
    /// judged whether the generation is taken back: the client that hears of the failure may call
    /// again at once. The call has left the generation.
    ///
    /// # Cancel safety
    ///
    /// The call is told of at once.
    pub(crate) async fn failed_before_answer(&self, failure: &CallFailure) {
        self.failed(failure, false);
        self.begun.tally.judged().await;
    }

    /// Tells that the call failed, and counts it if the guest is at fault; only the first time.
    /// `answered` says whether the head of an answer was out.
    pub(crate) fn failed(&self, failure: &CallFailure, answered: bool) {
        // Ordering: who comes second has nothing to read of who came first.
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        if failure.is_the_guests() {
            self.begun.tally.failed();
        }
        let error = chain(failure);
        tracing::debug!(request = ?self.request, handler = %self.handler, %error, "call failed");
        self.bus.emit(
            Some(&self.handler),
            None,
            EventKind::CallFailed {
                generation: self.begun.serving.generation,
                outcome: failure.outcome(),
                answered,
                error,
                elapsed_ms: self.begun.at.elapsed().as_secs_f64() * 1e3,
                request_id: self.request,
            },
        );
    }
}

impl EnterError {
    /// Tells of a call that failed before it ran, if its handler is at fault: a full queue is the
    /// callers' doing, and what keeps a handler from its first generation is told when it happens.
    pub(crate) fn report(&self, bus: &EventBus) {
        let Self::NotLoaded { handler, serving, waited, source } = self else { return };
        let kind = EventKind::CallFailed {
            generation: serving.generation,
            outcome: "load",
            answered: false,
            error: chain(&**source),
            elapsed_ms: waited.as_secs_f64() * 1e3,
            request_id: None,
        };
        bus.emit(Some(handler), None, kind);
    }
}
