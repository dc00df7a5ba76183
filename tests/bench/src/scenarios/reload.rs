//! How long until a change answers, and what does it cost the callers? One file for each question.

mod artifact;
mod failures;
mod noticed;
mod served;
mod side;
mod source;

use anyhow::Result;
use clap::ValueEnum;

use crate::report::Figure;
use crate::tools::Tools;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Only these questions [default: all].
    parts: Vec<Part>,
    /// Edits of the source on each side.
    #[arg(long, default_value_t = 20)]
    edits: usize,
    /// Artifacts of each kind, and edits of what needs none.
    #[arg(long, default_value_t = 25)]
    artifacts: usize,
    /// Reloads of wrt under load.
    #[arg(long, default_value_t = 1000)]
    reloads: usize,
    /// Reloads under load of what is restarted; where it is built first, a tenth of them.
    #[arg(long, default_value_t = 100)]
    restarts: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { parts: vec![], edits: 20, artifacts: 25, reloads: 1000, restarts: 100 }
    }
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// How long from a saved source to its first answer?
    Source,
    /// How long from an artifact, or a script, to its first answer?
    Artifact,
    /// How many requests does a reload fail or delay?
    Failures,
}

impl Args {
    /// The questions that are asked.
    pub(crate) fn parts(&self) -> Vec<Part> {
        match self.parts.as_slice() {
            [] => Part::value_variants().to_vec(),
            some => some.to_vec(),
        }
    }

    /// Answers `part`.
    pub(crate) fn run(&self, part: Part, tools: &Tools) -> Result<Figure> {
        match part {
            Part::Source => {
                let plan = source::Plan { edits: self.edits, rate: 50.0 };
                Ok(source::run(plan, tools)?.with_settings(&plan))
            }
            Part::Artifact => {
                let plan = artifact::Plan { artifacts: self.artifacts };
                Ok(artifact::run(plan)?.with_settings(&plan))
            }
            Part::Failures => {
                let plan = failures::Plan {
                    reloads: self.reloads,
                    restarts: self.restarts,
                    connections: 8,
                    rate: 200.0,
                };
                Ok(failures::run(plan, tools)?.with_settings(&plan))
            }
        }
    }
}
