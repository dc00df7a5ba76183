//! Turns an error with its causes, notes and hints into the text that a person reads.
//!
//! ```text
//! error: failed to listen on `127.0.0.1:3000`
//!   caused by: address already in use (os error 98)
//! note: nothing was started
//! hint: pass `--listen 127.0.0.1:0` to let the system choose a free port
//! ```

use std::error::Error;
use std::fmt::Write as _;

use wrt::manifest::{ManifestError, ProjectError};
use wrt::{AddError, Hint, Rejected, StageError};

use crate::command::bind::BindError;
use crate::command::client::NoHost;
use crate::exit::AtFault;
use crate::output::style::{Style, escape};

/// Hints shown at most; more is a manual, not a hint.
const MAX_HINTS: usize = 2;

/// A failure, taken apart for showing.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What failed.
    pub(crate) message: String,
    /// Why, outermost first.
    pub(crate) causes: Vec<String>,
    /// Facts, such as what keeps serving.
    pub(crate) notes: Vec<String>,
    /// What the reader can do.
    pub(crate) hints: Vec<String>,
}

impl Report {
    /// Takes `error` apart.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let mut messages: Vec<String> = Vec::new();
        for cause in error.chain() {
            let message = cause.to_string();
            // A `transparent` error repeats its source.
            if messages.last() != Some(&message) {
                messages.push(message);
            }
        }
        let message = if messages.is_empty() { String::new() } else { messages.remove(0) };
        let faults = error.chain().filter_map(|cause| cause.downcast_ref::<AtFault>());
        let notes = faults.flat_map(AtFault::notes).cloned().collect();
        let hints = error.chain().flat_map(hints_of).collect();
        Self { message, causes: messages, notes, hints }
    }

    /// The text, each line ended.
    pub(crate) fn render(&self, style: Style) -> String {
        let mut out = String::new();
        // Writing to a `String` cannot fail.
        let _ = writeln!(out, "{} {}", style.error("error:"), block(&self.message, "  "));
        for cause in &self.causes {
            let _ = writeln!(out, "  caused by: {}", block(cause, "    "));
        }
        for note in &self.notes {
            let _ = writeln!(out, "{} {}", style.note("note:"), block(note, "  "));
        }
        for hint in self.hints.iter().take(MAX_HINTS) {
            let _ = writeln!(out, "{} {}", style.hint("hint:"), block(hint, "  "));
        }
        out
    }
}

/// The text for `error`. A manifest's problems keep their hints beside them.
pub(crate) fn render(error: &anyhow::Error, style: Style) -> String {
    let manifest = error.chain().find_map(|cause| match cause.downcast_ref::<ProjectError>() {
        Some(ProjectError::Manifest(manifest)) => Some(manifest),
        _ => None,
    });
    match manifest {
        Some(manifest) => render_manifest(manifest, style),
        None => Report::of(error).render(style),
    }
}

fn render_manifest(error: &ManifestError, style: Style) -> String {
    let mut out = String::new();
    let path = error.path.display().to_string();
    for problem in &error.problems {
        let text = block(&format!("{path}:{problem}"), "  ");
        // Writing to a `String` cannot fail.
        let _ = writeln!(out, "{} {text}", style.error("error:"));
        if let Some(hint) = &problem.hint {
            let _ = writeln!(out, "  {} {}", style.hint("hint:"), block(hint, "    "));
        }
    }
    out
}

fn hints_of(cause: &(dyn Error + 'static)) -> Vec<String> {
    fn of<E: Error + Hint + 'static>(cause: &(dyn Error + 'static)) -> Option<Vec<String>> {
        cause.downcast_ref::<E>().map(Hint::hints)
    }
    of::<AtFault>(cause)
        .or_else(|| of::<BindError>(cause))
        .or_else(|| of::<NoHost>(cause))
        .or_else(|| of::<ProjectError>(cause))
        .or_else(|| of::<StageError>(cause))
        .or_else(|| of::<AddError>(cause))
        // What keeps serving is a note of the event that a rejection also is; its hints are those
        // of its cause, which the chain comes to next.
        .or_else(|| cause.downcast_ref::<Rejected>().map(|_| Vec::new()))
        .unwrap_or_default()
}

/// `text` escaped, its further lines moved in by `indent`.
pub(crate) fn block(text: &str, indent: &str) -> String {
    text.trim_end().lines().map(escape).collect::<Vec<_>>().join(&format!("\n{indent}"))
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context as _;

    use super::*;

    #[test]
    fn causes_follow_the_message_and_hints_end_it() {
        let failed = Err::<(), _>(io::Error::from(io::ErrorKind::AddrInUse))
            .context(format!("failed to listen on `{}`", "127.0.0.1:3000"))
            .unwrap_err();
        assert_eq!(
            render(&failed, Style::PLAIN),
            "error: failed to listen on `127.0.0.1:3000`\n  caused by: address in use\n"
        );
        let refused = AtFault::new("nothing to build").note("n").hint("a").hint("b").hint("c");
        assert_eq!(
            render(&refused.into(), Style::PLAIN),
            "error: nothing to build\nnote: n\nhint: a\nhint: b\n"
        );
    }

    #[test]
    fn hints_are_found_below_a_context() {
        let nothing = ProjectError::Nothing { path: "x".into() };
        let error = Err::<(), _>(nothing).context("failed to start").unwrap_err();
        assert_eq!(
            render(&error, Style::PLAIN),
            "error: failed to start\n  caused by: found neither `wrt.toml` nor `Cargo.toml` in \
             `x`\nhint: pass a cargo package, a `.wasm` file or a directory with `wrt.toml`\n"
        );
    }

    #[test]
    fn each_problem_of_a_manifest_has_its_place_and_its_hint() {
        let temp = tempfile::tempdir().unwrap();
        let text = "[handler.a]\nsource = 'a'\ntiemout = '1s'\nmemory = '1MB'\n";
        std::fs::write(temp.path().join("wrt.toml"), text).unwrap();
        let error = wrt::manifest::Project::open(temp.path(), &|_| None).unwrap_err();
        let shown =
            render(&error.into(), Style::PLAIN).replace(temp.path().to_str().unwrap(), "[TMP]");
        assert_eq!(
            shown,
            "error: [TMP]/wrt.toml:3:1: unknown key `tiemout` in handler `a`\n  \
               hint: did you mean `timeout`?\n\
             error: [TMP]/wrt.toml:4:10: `memory` of handler `a`: expected a size such as \
             `64MiB`, `512KiB` or `2GiB`, found `1MB`\n"
        );
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        let report = Report {
            message: "bad\u{1b}[2J\nsecond line\r".to_owned(),
            causes: vec!["one\n  two".to_owned()],
            ..Report::default()
        };
        assert_eq!(
            report.render(Style::PLAIN),
            "error: bad\\u{1b}[2J\n  second line\n  caused by: one\n      two\n"
        );
    }
}
