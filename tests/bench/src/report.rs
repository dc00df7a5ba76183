//! What was measured, for people on standard output and for programs in a file.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

/// The result of one scenario.
#[derive(Debug)]
pub(crate) struct Figure {
    name: &'static str,
    question: &'static str,
    lines: Vec<(&'static str, String)>,
    values: Map<String, Value>,
    bar: String,
    has_passed: bool,
}

impl Figure {
    /// A figure that has still to meet its bar; says the question, as the answer takes a while.
    pub(crate) fn new(name: &'static str, question: &'static str) -> Self {
        say(&format!("{name}: {question}"));
        let bar = String::new();
        Self { name, question, lines: vec![], values: Map::new(), bar, has_passed: false }
    }

    /// Adds a line for people.
    pub(crate) fn line(&mut self, label: &'static str, text: String) {
        self.lines.push((label, text));
    }

    /// Adds a value for programs.
    pub(crate) fn value(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// States the bar and whether it is met.
    #[must_use]
    pub(crate) fn judged(self, bar: String, has_passed: bool) -> Self {
        Self { bar, has_passed, ..self }
    }

    fn verdict(&self) -> &'static str {
        if self.has_passed { "PASS" } else { "FAIL" }
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Figure>);

impl Report {
    /// Prints `figure` and keeps it.
    pub(crate) fn add(&mut self, figure: Figure) -> Result<()> {
        let mut text = format!("{}: {}\n", figure.name, figure.question);
        for (label, line) in &figure.lines {
            text += &format!("  {label:<22} {line}\n");
        }
        text += &format!("  {:<22} {}\n  {}\n\n", "bar", figure.bar, figure.verdict());
        io::stdout().write_all(text.as_bytes()).context("failed to write to standard output")?;
        self.0.push(figure);
        Ok(())
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.0.iter().all(|figure| figure.has_passed)
    }

    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        let as_json = |figure: &Figure| {
            json!({
                "scenario": figure.name,
                "question": figure.question,
                "measured": figure.values,
                "bar": figure.bar,
                "passed": figure.has_passed,
            })
        };
        let figures: Vec<_> = self.0.iter().map(as_json).collect();
        let text = format!("{:#}\n", json!({ "figures": figures }));
        fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
    }
}

/// Says `text` to whoever watches; that is not part of the figures.
pub(crate) fn say(text: &str) {
    // Nobody watching is fine.
    let _ = writeln!(io::stderr(), "{text}");
}
