//! The report of a failed call: one event and one log line, whoever made the call.

use std::sync::Arc;

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
        CallReport { bus: bus.clone(), handler: handler.clone(), begun: self, request }
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
}

impl CallReport {
    /// See [`Begun::answered`].
    pub(crate) fn answered(&self, status: u16) {
        self.begun.answered(Some(status));
    }

    /// [`failed`](Self::failed), for a caller who hears of it when this is ready: then it has been
    /// judged whether the generation is taken back. The call has left it.
    ///
    /// # Cancel safety
    ///
    /// The call is told of at once.
    pub(crate) async fn failed_before_answer(&self, failure: &CallFailure) {
        self.failed(failure);
        self.begun.tally.judged().await;
    }

    /// The call failed.
    pub(crate) fn failed(&self, failure: &CallFailure) {
        // What the drain deadline cut, or the host had no memory for, is no fault of the guest's.
        if !matches!(failure, CallFailure::Cut | CallFailure::HostMemory { .. }) {
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
            error: chain(&**source),
            elapsed_ms: waited.as_secs_f64() * 1e3,
            request_id: None,
        };
        bus.emit(Some(handler), None, kind);
    }
}
