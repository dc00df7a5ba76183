//! Who is at fault when a command fails, as the process says it to a script.

use std::fmt;
use std::io;
use std::process::ExitCode;

use wrt::manifest::ProjectError;
use wrt::{Hint, Rejected, StageError};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// All went well; 0.
    Success,
    /// The user's input is at fault: what was asked for cannot be done with it; 1.
    Input,
    /// The arguments are at fault, or something that nobody expected; 2.
    Unexpected,
}

impl ExitStatus {
    /// The status for a command that ended with `error`.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(is_broken_pipe) {
            // Whoever read the output has seen enough.
            return Self::Success;
        }
        let input = error.chain().any(|cause| {
            let project = cause.downcast_ref::<ProjectError>().is_some_and(|error| {
                // These three say that PATH, an argument, leads to no project.
                !matches!(
                    error,
                    ProjectError::Open { .. }
                        | ProjectError::Nothing { .. }
                        | ProjectError::NotAComponent { .. }
                )
            });
            project || cause.is::<StageError>() || cause.is::<Rejected>() || cause.is::<AtFault>()
        });
        if input { Self::Input } else { Self::Unexpected }
    }

    /// The number that the system is told.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Input => 1,
            Self::Unexpected => 2,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A command's own refusal of the user's input, with what to do about it.
#[derive(Debug)]
pub(crate) struct AtFault {
    message: String,
    notes: Vec<String>,
    hints: Vec<String>,
}

impl AtFault {
    /// A refusal that says `message`.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), notes: Vec::new(), hints: Vec::new() }
    }

    /// The same with a fact, such as what keeps serving.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Facts beside the message.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same with a hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for AtFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for AtFault {}

impl Hint for AtFault {
    fn hints(&self) -> Vec<String> {
        self.hints.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anyhow::Context as _;

    use super::*;

    #[test]
    fn fault_decides_the_status_however_deep_it_lies() {
        let check = |error: anyhow::Error, expect| {
            let error = Err::<(), _>(error).context("failed to start").unwrap_err();
            assert_eq!(ExitStatus::of(&error), expect, "{error:?}");
        };
        let path = PathBuf::from("x");
        check(anyhow::anyhow!("what nobody expected"), ExitStatus::Unexpected);
        check(io::Error::from(io::ErrorKind::AddrInUse).into(), ExitStatus::Unexpected);
        check(io::Error::from(io::ErrorKind::BrokenPipe).into(), ExitStatus::Success);
        check(ProjectError::NoPackage { path: path.clone() }.into(), ExitStatus::Input);
        check(ProjectError::Nothing { path }.into(), ExitStatus::Unexpected);
        check(AtFault::new("2 of 3 handlers failed to build").into(), ExitStatus::Input);
    }
}
