//! What wrt is measured beside: one file for each tool or runtime that serves or runs plugins.

pub(crate) mod dylib;
pub(crate) mod extism;
pub(crate) mod native;
pub(crate) mod node;
pub(crate) mod plugin;
pub(crate) mod restart;

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;
use wrt_test_support::process::ServerProcess;

use crate::report::Figure;

/// Saves a source with another text.
type Edit = Box<dyn Fn(&str) -> Result<()>>;

/// A server whose handler has one text that can be edited.
pub(crate) struct Peer {
    // Dropped in this order: the server goes before the directory that it watches.
    server: ServerProcess,
    edit: Edit,
    version: String,
}

impl Peer {
    /// A peer that states as `version` what it is; `edit` changes its text and owns its directory.
    pub(crate) fn new(
        server: ServerProcess,
        version: String,
        edit: impl Fn(&str) -> Result<()> + 'static,
    ) -> Self {
        Self { server, edit: Box::new(edit), version }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its versions and flags.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Saves a source with another text; the page then has it as its heading.
    pub(crate) fn edit(&self, text: &str) -> Result<()> {
        (self.edit)(text)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Keeps in `figure` which versions ran beside wrt, and with which flags; empty ones say nothing.
pub(crate) fn note_versions<'a>(figure: &mut Figure, versions: impl IntoIterator<Item = &'a str>) {
    let versions: Vec<_> = versions.into_iter().filter(|version| !version.is_empty()).collect();
    if !versions.is_empty() {
        figure.line("peers", versions.join("; "));
        figure.value("peers", versions);
    }
}

/// The sources of the peer `name`.
fn sources(name: &str) -> PathBuf {
    guests::workspace_root().join("tests/bench/peers").join(name)
}

/// A source with one line that an edit changes.
#[derive(Debug)]
struct Template {
    source: String,
    /// How the line begins; a text in quotes and a semicolon end it.
    edited: &'static str,
}

impl Template {
    fn read(path: &Path, edited: &'static str) -> Result<Self> {
        let source = fs::read_to_string(path)
            .with_context(|| format!("failed to read `{}`", path.display()))?;
        ensure!(source.contains(edited), "expected a line `{edited}…`, found none");
        Ok(Self { source, edited })
    }

    /// Gives `path` the source with `text` in the line, as an editor does.
    fn save(&self, path: &Path, text: &str) -> Result<()> {
        let source = with_text(&self.source, self.edited, text);
        WriteStyle::Rename
            .write(path, source.as_bytes())
            .with_context(|| format!("failed to save `{}`", path.display()))
    }
}

/// `source` with `text` in the line that begins with `edited`.
pub(crate) fn with_text(source: &str, edited: &str, text: &str) -> String {
    let edit_line = |line: &str| match line.strip_prefix(edited) {
        Some(_) => format!("{edited}{text:?};\n"),
        None => format!("{line}\n"),
    };
    source.lines().map(edit_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edit_changes_the_one_line() {
        let source = "a\nconst X = \"1\";\n  const X = 2;\n";
        let expected = "a\nconst X = \"new\";\n  const X = 2;\n";
        assert_eq!(with_text(source, "const X = ", "new"), expected);
    }
}
