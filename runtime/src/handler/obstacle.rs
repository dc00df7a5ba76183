//! Why a handler has nothing active: what ended its first build, or refused its first component.

use crate::error::{Hint as _, StageError, chain};
use crate::events::{Diagnostic, Stage};

/// What keeps a handler from its first generation. Requests are answered with it while nobody is
/// mending it, in place of waiting for a generation that does not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The step that failed.
    pub stage: Stage,
    /// How it failed, on one line or several.
    pub error: String,
    /// What the compiler said, in its order; empty for what is not about source text.
    pub diagnostics: Vec<Diagnostic>,
    /// What the reader can do about it.
    pub hints: Vec<String>,
}

impl Obstacle {
    /// What refused a component.
    pub(crate) fn of(error: &StageError) -> Self {
        let (stage, hints) = (error.stage(), error.hints());
        Self { stage, error: chain(error), diagnostics: Vec::new(), hints }
    }
}
