//! The handlers of a runtime, found by their names.

use super::Runtime;
use super::control::ControlError;
use super::handle::HandlerHandle;
use super::status::HandlerStatus;
use crate::id::HandlerName;

impl Runtime {
    /// The handler called `name`, for whoever controls it: it may take requests, events or the calls of
    /// a [`Plugin`](crate::Plugin).
    ///
    /// ```no_run
    /// # async fn example(runtime: wrt::Runtime, name: wrt::HandlerName) -> Result<(), Box<dyn std::error::Error>> {
    /// let handler = runtime.handler(&name)?;
    /// let _ = handler.rollback(None).await?;
    /// println!("{:?} serves again", handler.serving());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ControlError::Unknown`] when there is none; it names those that there are.
    pub fn handler(&self, name: &HandlerName) -> Result<HandlerHandle, ControlError> {
        let handlers = self.known();
        handlers.get(name).cloned().ok_or_else(|| {
            let known = handlers.keys().cloned().collect();
            ControlError::Unknown { handler: name.clone(), known }
        })
    }

    /// Every handler, in the order of their names.
    #[must_use]
    pub fn handlers(&self) -> Vec<HandlerHandle> {
        self.known().values().cloned().collect()
    }

    /// How every handler stands, in the order of their names.
    #[must_use]
    pub fn statuses(&self) -> Vec<HandlerStatus> {
        // Looked at outside of the lock.
        self.handlers().iter().map(HandlerHandle::status).collect()
    }
}
