//! What can be wrong with a manifest, with its place in the text.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// A place in a text, both parts counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The place of byte `offset` in `text`.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        // A parser may point behind the end, or into a character that it refused.
        let before: &[u8] = &text.as_bytes()[..offset.min(text.len())];
        let before = String::from_utf8_lossy(before);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One thing that is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where.
    pub position: Position,
    /// What, in one sentence that names the object.
    pub message: String,
    /// What the reader can do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub(super) fn new(
        text: &str,
        span: &Range<usize>,
        message: String,
        hint: Option<String>,
    ) -> Self {
        Self { position: Position::of(text, span.start), message, hint }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.position, self.message)
    }
}

/// A manifest that cannot be used; the message has one line per problem.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ManifestError {
    /// The file.
    pub path: PathBuf,
    /// Everything that is wrong with it, in its order; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        let path = self.path.display();
        write!(f, "found {count} {noun} in manifest `{path}`")?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n{path}:{problem}"))
    }
}

impl std::error::Error for ManifestError {}
