//! Calls of event handlers, through their handles.

use super::handle::{AnyHandler, HandlerHandle};
use crate::cloudevent::CloudEvent;
use crate::error::CallError;
use crate::handler::{Begun, EnterError};
use crate::instance::handle_event;

impl HandlerHandle {
    /// Hands `event` to an event handler and returns its answer, if it gives one.
    ///
    /// # Errors
    ///
    /// [`CallError`] when the call was not let in, the handler takes HTTP requests or the calls of a
    /// [`Plugin`](crate::Plugin) instead, the guest rejected the event, or the call failed; the guest's
    /// store is then gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the call and its store; the call of a singleton goes on.
    pub async fn call(&self, event: CloudEvent) -> Result<Option<CloudEvent>, CallError> {
        event.validate().map_err(|source| CallError::InvalidEvent { source })?;
        let AnyHandler::Served(handler) = &self.inner.handler else {
            let problem = "has a world of the embedder's own, and takes calls through its `Plugin`";
            return Err(CallError::WrongKind { handler: self.name().clone(), problem });
        };
        let entered = handler.enter().await.inspect_err(|error| error.report(&self.inner.bus))?;
        let Some(instances) = entered.pass.kind.events().cloned() else {
            let problem = "takes HTTP requests, not events";
            return Err(CallError::WrongKind { handler: self.name().clone(), problem });
        };
        let serving = entered.pass.serving();
        let begun = Begun::of(&entered);
        let source = match handle_event(entered, instances, event).await {
            Ok(Ok(answer)) => {
                begun.answered(None);
                return Ok(answer.map(|event| *event));
            }
            Ok(Err(reason)) => {
                begun.answered(None);
                return Err(CallError::Declined { handler: self.name().clone(), reason });
            }
            Err(failure) => failure,
        };
        let report = begun.report(&self.inner.bus, self.name(), None);
        // In a box, as it is rare, and would be moved with every call otherwise.
        Box::pin(report.failed_before_answer(&source)).await;
        Err(CallError::Failed { handler: self.name().clone(), serving, source })
    }
}

impl From<EnterError> for CallError {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Saturated { ref handler, .. } => {
                Self::Saturated { handler: handler.clone(), reason: error.to_string() }
            }
            EnterError::NothingActive { handler, .. } => Self::NothingActive { handler },
            EnterError::NotLoaded { handler, source, .. } => Self::NotLoaded { handler, source },
        }
    }
}
