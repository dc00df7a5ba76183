//! Reads what cargo says to people: its own warnings, and that it waits for another cargo.
//!
//! With messages for programs on its standard output, cargo still writes on its standard error what
//! no compiler said: an unused key of a manifest, a build script's warning, a lock that it waits for.

use super::capped::Capped;
use super::text::clean;
use crate::events::Diagnostic;

/// Longest line that is read: far more than any of cargo's.
const MAX_LINE: usize = 16 * 1024;
/// Warnings kept; what is beyond is counted.
const MAX_WARNINGS: usize = 50;
/// Longest warning, in bytes.
const MAX_WARNING: usize = 16 * 1024;

/// How cargo begins the line of a warning.
const WARNING: &str = "warning: ";
/// The end of the column that cargo aligns its status words to: `   Compiling x v0.1.0`.
const STATUS_COLUMN: usize = 12;
/// What the line of a lock goes on with after its status word.
const LOCK: &str = "waiting for file lock on ";

/// What one run of cargo has said on its standard error so far.
#[derive(Default)]
pub(super) struct Said<'a> {
    line: Vec<u8>,
    is_line_too_long: bool,
    /// Whether the line before belongs to a warning, which this one may go on with.
    is_in_warning: bool,
    warnings: Vec<String>,
    n_left_out: usize,
    all: Capped,
    tell: Option<&'a (dyn Fn(String) + Send + Sync)>,
}

impl<'a> Said<'a> {
    /// Nothing said yet; `tell` hears of the first lock that cargo waits for, when it begins to.
    pub(super) fn new(tell: &'a (dyn Fn(String) + Send + Sync)) -> Self {
        Self { tell: Some(tell), ..Self::default() }
    }

    /// Takes a piece of cargo's standard error.
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.all.push(piece);
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MAX_LINE {
                self.is_line_too_long = true;
                self.line.clear();
            } else if !self.is_line_too_long {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.is_line_too_long) {
                    self.take(clean(&String::from_utf8_lossy(&line), false).trim_end());
                }
            }
        }
    }

    fn take(&mut self, line: &str) {
        if let Some(text) = line.strip_prefix(WARNING) {
            self.is_in_warning = self.warnings.len() < MAX_WARNINGS;
            if self.is_in_warning {
                self.warnings.push(text.to_owned());
            } else {
                self.n_left_out += 1;
            }
        } else if let Some(what) = status(line) {
            self.is_in_warning = false;
            // One line of a run is enough: cargo waits for one lock after the other.
            if let Some(lock) = what.strip_prefix(LOCK)
                && let Some(tell) = self.tell.take()
            {
                tell(format!("waiting for another cargo (file lock) that uses the same {lock}"));
            }
        } else if line.starts_with("error") {
            self.is_in_warning = false;
        } else if self.is_in_warning
            && let Some(warning) = self.warnings.last_mut()
            && warning.len() + line.len() < MAX_WARNING
        {
            warning.push('\n');
            warning.push_str(line);
        }
    }

    /// Cargo's own warnings, each once, as diagnostics that name no file.
    pub(super) fn warnings(&self) -> Vec<Diagnostic> {
        let mut kept: Vec<&String> = Vec::new();
        for warning in &self.warnings {
            if !kept.contains(&warning) {
                kept.push(warning);
            }
        }
        let diagnostic = |text: &&String| Diagnostic {
            level: "warning".to_owned(),
            file: None,
            line: None,
            column: None,
            text: format!("{WARNING}{}", text.trim_end()),
        };
        kept.iter().map(diagnostic).collect()
    }

    /// Warnings that were not kept.
    pub(super) fn n_left_out(&self) -> usize {
        self.n_left_out
    }

    /// Everything that was said, without control characters.
    pub(super) fn into_text(self) -> String {
        clean(&self.all.into_text(), false)
    }
}

/// What follows the status word of a line such as `   Compiling x v0.1.0`; `None` for other lines.
fn status(line: &str) -> Option<&str> {
    let (word, rest) = (line.get(..STATUS_COLUMN)?, line.get(STATUS_COLUMN..)?.strip_prefix(' ')?);
    let word = word.trim_start_matches(' ');
    (!word.is_empty() && word.chars().all(char::is_alphabetic)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const TEXT: &str = "warning: unused manifest key: package.fnord
warning: virtual workspace defaulting to `resolver = \"1\"`
note: to keep the current resolver, specify it
    Blocking waiting for file lock on artifact directory
    Blocking waiting for file lock on package cache
   Compiling w1 v0.1.0 (/tmp/w1)
warning: w1@0.1.0: from \u{1b}[31mthe build script
warning: unused manifest key: package.fnord
    Finished `dev` profile [unoptimized + debuginfo] target(s) in 0.15s
  warning: not cargo's
";

    #[test]
    fn warnings_and_locks_are_found_however_the_text_is_cut() {
        for size in [1, 7, TEXT.len()] {
            let told = Mutex::new(Vec::new());
            let tell = |text| told.lock().unwrap().push(text);
            let mut said = Said::new(&tell);
            TEXT.as_bytes().chunks(size).for_each(|piece| said.push(piece));
            let texts: Vec<_> = said.warnings().into_iter().map(|warning| warning.text).collect();
            assert_eq!(
                texts,
                [
                    "warning: unused manifest key: package.fnord",
                    "warning: virtual workspace defaulting to `resolver = \"1\"`\n\
                     note: to keep the current resolver, specify it",
                    "warning: w1@0.1.0: from the build script",
                ]
            );
            assert_eq!(
                told.lock().unwrap()[..],
                ["waiting for another cargo (file lock) that uses the same artifact directory"]
            );
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut said = Said::default();
        for n in 0..MAX_WARNINGS + 3 {
            said.push(format!("warning: {n}\n").as_bytes());
            for _ in 0..100 {
                said.push(&[b'x'; 1000]);
                said.push(b"\n");
            }
        }
        said.push(&vec![b'y'; 10 * MAX_LINE]);
        assert_eq!((said.warnings().len(), said.n_left_out()), (MAX_WARNINGS, 3));
        assert!(said.warnings().iter().all(|warning| warning.text.len() < MAX_WARNING + 100));
        assert!(said.line.len() <= MAX_LINE);
    }
}
