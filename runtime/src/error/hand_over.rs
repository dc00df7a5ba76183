//! Why the state of a handler was not handed over to another version of it.

use std::time::Duration;

use super::{CallFailure, Hint};

/// Why state was not handed over. After each but [`Lost`](Self::Lost) and [`Panicked`](Self::Panicked),
/// the old instance goes on with its state.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// Calls in flight did not end in time.
    #[error("calls in flight did not end within {waited:?}")]
    Busy {
        /// How long they had.
        waited: Duration,
    },
    /// `save` returned an error.
    #[error("the guest's `save` refused: {reason}")]
    Refused {
        /// In the guest's words.
        reason: String,
    },
    /// There is more state than may be handed over.
    #[error("the state has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The largest that is handed over.
        limit: u64,
    },
    /// `save` ended the old instance, and what it had gathered since its own beginning.
    #[error("the guest's `save` ended its instance, and what that gathered is lost")]
    Lost {
        /// How.
        source: CallFailure,
    },
    /// Code of the host panicked in `save` or `restore`: the instance it was called for is gone, and
    /// so is its state.
    #[error("the host panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The snapshot has a shape that the candidate does not know.
    #[error("the new component cannot read the state: {reason}")]
    Incompatible {
        /// In the guest's words.
        reason: String,
    },
    /// `restore` returned an error.
    #[error("the guest's `restore` failed: {reason}")]
    Unrestored {
        /// In the guest's words.
        reason: String,
    },
    /// `restore` ended the new instance.
    #[error("the guest's `restore` did not end well")]
    Broken {
        /// How.
        source: CallFailure,
    },
}

impl Hint for HandOverError {
    fn hints(&self) -> Vec<String> {
        let fresh = "or swap without the state: `wrt swap --fresh`".to_owned();
        match self {
            Self::Busy { .. } => {
                vec![
                    "raise `hand_over` of the handler if its calls take that long".to_owned(),
                    fresh,
                ]
            }
            Self::TooLarge { .. } => {
                vec!["raise `max_state` of the handler".to_owned(), fresh]
            }
            Self::Incompatible { .. } => {
                vec!["give new fields a default, or declare a migration".to_owned(), fresh]
            }
            Self::Refused { .. } | Self::Unrestored { .. } | Self::Broken { .. } => {
                vec!["swap without the state: `wrt swap --fresh`".to_owned()]
            }
            Self::Lost { .. } => vec![
                "the version that serves cannot save its state; `memory` and `hand_over` of the \
                 handler bound what `save` may take"
                    .to_owned(),
                fresh,
            ],
            Self::Panicked { .. } => vec![PANIC_HINT.to_owned()],
        }
    }
}

/// What can be done about a panic of the host's code.
pub(super) const PANIC_HINT: &str = "mend the code of the host that panicked: its place and backtrace are on \
                          the standard error of the program";
