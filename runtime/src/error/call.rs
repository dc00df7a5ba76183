//! How calls go wrong: what ended one, and why one has no result.

use std::sync::Arc;
use std::time::Duration;

use super::{Hint, StageError};
use crate::cloudevent::InvalidEvent;
use crate::events::Serving;
use crate::id::HandlerName;

/// How one call went wrong. Its store is gone; other calls go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallFailure {
    /// The guest trapped; a Rust panic is a trap too.
    #[error("the guest trapped")]
    Trap {
        /// The trap and its backtrace.
        source: wasmtime::Error,
    },
    /// The call took longer than the handler's timeout.
    #[error("the guest did not answer within {timeout:?}")]
    Deadline {
        /// The handler's timeout.
        timeout: Duration,
    },
    /// The guest asked for more memory than its limit.
    #[error("the guest wanted {wanted} bytes of memory, more than its limit of {limit}")]
    Memory {
        /// What it wanted.
        wanted: u64,
        /// What it may have.
        limit: u64,
    },
    /// The guest asked for memory that the host has no more of.
    #[error("all guests together use the {limit} bytes of memory that they may have")]
    HostMemory {
        /// What all guests may have together.
        limit: u64,
    },
    /// The guest ended the call without an answer that can be sent.
    #[error("the guest did not answer: {reason}")]
    Guest {
        /// What it did instead.
        reason: String,
    },
    /// The handler's own code answered with an error, as `Err(…)` of a Rust handler is.
    #[error("{call} ended with the handler's own error: {reason}")]
    Handler {
        /// The call in a few words: "`GET /path`", or "event `order.placed`".
        call: Box<str>,
        /// The error in the handler's words.
        reason: String,
    },
    /// The client did not send its request to the end, and the handler did nothing good without it.
    #[error("the client did not send its request to the end: {reason}")]
    Client {
        /// Whether it was too slow. Otherwise it left, or broke the rules of HTTP.
        late: bool,
        /// What was seen of it, and what the handler said.
        reason: String,
    },
    /// No instance could be made.
    #[error("failed to make an instance")]
    Instantiate {
        /// Why.
        source: wasmtime::Error,
    },
    /// A new instance refused to start.
    #[error("the guest's `init` refused to start: {reason}")]
    Init {
        /// In the guest's words.
        reason: String,
    },
    /// The drain deadline of a replaced generation ended the call.
    #[error("the call outlived its generation's drain deadline")]
    Cut,
}

impl CallFailure {
    /// The same once more, for another who has to hear of it; a source becomes its text.
    pub(crate) fn again(&self) -> Self {
        let text = |source: &wasmtime::Error| wasmtime::Error::msg(format!("{source:#}"));
        match self {
            Self::Trap { source } => Self::Trap { source: text(source) },
            Self::Deadline { timeout } => Self::Deadline { timeout: *timeout },
            Self::Memory { wanted, limit } => Self::Memory { wanted: *wanted, limit: *limit },
            Self::HostMemory { limit } => Self::HostMemory { limit: *limit },
            Self::Guest { reason } => Self::Guest { reason: reason.clone() },
            Self::Handler { call, reason } => {
                Self::Handler { call: call.clone(), reason: reason.clone() }
            }
            Self::Client { late, reason } => Self::Client { late: *late, reason: reason.clone() },
            Self::Instantiate { source } => Self::Instantiate { source: text(source) },
            Self::Init { reason } => Self::Init { reason: reason.clone() },
            Self::Cut => Self::Cut,
        }
    }

    /// Whether the handler's code is at fault, so that the failure speaks against its version.
    #[must_use]
    pub fn is_the_guests(&self) -> bool {
        !matches!(self, Self::Cut | Self::Client { .. } | Self::HostMemory { .. })
    }

    /// The word for it in events.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Trap { .. } => "trap",
            Self::Deadline { .. } => "deadline",
            Self::Memory { .. } => "memory",
            Self::HostMemory { .. } => "host-memory",
            Self::Guest { .. } | Self::Handler { .. } => "guest",
            Self::Client { .. } => "client",
            Self::Instantiate { .. } => "instantiate",
            Self::Init { .. } => "init",
            Self::Cut => "cut",
        }
    }
}

impl Hint for CallFailure {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Deadline { .. } => {
                vec![
                    "if it needs longer, raise `timeout` of the handler in the manifest".to_owned(),
                ]
            }
            Self::Memory { .. } => {
                vec!["if it needs more, raise `memory` of the handler in the manifest".to_owned()]
            }
            Self::HostMemory { .. } => {
                vec![
                    "lower `concurrency` or `memory` of the handlers that need most".to_owned(),
                    "or raise `guest_memory` of `[host]` in the manifest".to_owned(),
                ]
            }
            Self::Cut => {
                vec!["raise `drain` of the handler if such calls should finish".to_owned()]
            }
            Self::Trap { .. }
            | Self::Guest { .. }
            | Self::Handler { .. }
            | Self::Client { .. }
            | Self::Instantiate { .. }
            | Self::Init { .. } => Vec::new(),
        }
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The call found no place: the handler or the host is at a limit.
    #[error("{reason}")]
    Saturated {
        /// The handler.
        handler: HandlerName,
        /// What is at which limit, as clients are told.
        reason: String,
    },
    /// The code had left memory and could not be loaded again.
    #[error("failed to load the code of handler `{handler}` again")]
    NotLoaded {
        /// The handler.
        handler: HandlerName,
        /// Why not.
        source: Arc<StageError>,
    },
    /// It was not let in: nothing is active.
    #[error("handler `{handler}` has no active generation")]
    NothingActive {
        /// The handler.
        handler: HandlerName,
    },
    /// The event is not a CloudEvent; no guest saw it.
    #[error("the event is not valid")]
    InvalidEvent {
        /// What is wrong with it.
        source: InvalidEvent,
    },
    /// The handler does not answer this kind of call.
    #[error("handler `{handler}` {problem}")]
    WrongKind {
        /// The handler.
        handler: HandlerName,
        /// What it is instead.
        problem: &'static str,
    },
    /// The guest says that the event itself is at fault; sending it again cannot help.
    #[error("handler `{handler}` rejected the event: {reason}")]
    Declined {
        /// The handler.
        handler: HandlerName,
        /// In the guest's words.
        reason: String,
    },
    /// The caller's own closure returned an error that no guest caused. The instance is kept, and
    /// the call does not count as a failure of the plugin.
    #[error("the caller's own code failed in a call of `{handler}`")]
    Caller {
        /// The handler.
        handler: HandlerName,
        /// The closure's error as it was returned: `source.downcast::<E>()` gives it back.
        source: wasmtime::Error,
    },
    /// It ran and failed.
    #[error("a call of `{handler}` failed on generation {generation}", generation = serving.generation)]
    Failed {
        /// The handler.
        handler: HandlerName,
        /// The generation it ran on.
        serving: Serving,
        /// How.
        source: CallFailure,
    },
}
