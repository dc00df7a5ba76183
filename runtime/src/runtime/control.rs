//! `ControlError`: why a handler was not controlled as it was asked.

use crate::error::{Hint, Rejected, StageError};
use crate::events::Serving;
use crate::id::{GenerationNumber, HandlerName};

/// Names that a hint lists at most: more is no hint.
const MAX_NAMES: usize = 10;

/// A handler was not controlled as it was asked; what was serving still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such handler.
    #[error("unknown handler `{handler}`")]
    Unknown {
        /// The name.
        handler: HandlerName,
        /// The names that there are.
        known: Vec<HandlerName>,
    },
    /// Nothing is written down about such a generation.
    #[error("unknown generation {generation} of handler `{handler}`")]
    UnknownGeneration {
        /// The handler.
        handler: HandlerName,
        /// The number that was asked for.
        generation: GenerationNumber,
        /// The newest number that there is.
        newest: Option<GenerationNumber>,
    },
    /// The candidate was refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The handler's supervisor has ended, so that nothing can be confirmed any more.
    #[error("failed to confirm the active generation of `{handler}`")]
    NotConfirmed {
        /// The handler.
        handler: HandlerName,
        /// What answers its calls.
        serving: Option<Serving>,
        /// How the supervisor ended.
        source: StageError,
    },
    /// Nothing is active that could be confirmed.
    #[error("`{handler}` has no active generation to confirm")]
    NothingToConfirm {
        /// The handler.
        handler: HandlerName,
    },
}

impl ControlError {
    /// What answers the handler's calls, in spite of the error.
    #[must_use]
    pub fn serving(&self) -> Option<Serving> {
        match self {
            Self::Rejected(rejected) => rejected.serving,
            Self::NotConfirmed { serving, .. } => *serving,
            Self::Unknown { .. }
            | Self::UnknownGeneration { .. }
            | Self::NothingToConfirm { .. } => None,
        }
    }
}

impl Hint for ControlError {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unknown { known, .. } if known.is_empty() => {
                "this runtime has no handlers".to_owned()
            }
            Self::Unknown { known, .. } => {
                let names: Vec<_> =
                    known.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
                let others = known.len() - names.len();
                let others =
                    if others > 0 { format!(" and {others} others") } else { String::new() };
                format!("there are {}{others}", names.join(", "))
            }
            Self::UnknownGeneration { newest: Some(newest), .. } => {
                format!("the newest is {newest}; `wrt history` lists those that are known")
            }
            Self::UnknownGeneration { newest: None, .. } => {
                "the handler has none yet: load a component first".to_owned()
            }
            Self::Rejected(rejected) => return rejected.source.hints(),
            Self::NotConfirmed { source, .. } => return source.hints(),
            Self::NothingToConfirm { .. } => {
                "load a component first, or wait until its first one is ready".to_owned()
            }
        };
        vec![hint]
    }
}
