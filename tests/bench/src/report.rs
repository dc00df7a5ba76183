//! What was measured, for people on standard output, for programs and for the documents in files.

mod docs;
pub(crate) mod plot;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use crate::machine::Machine;
use plot::Plot;

/// What a value counts; says how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Milliseconds.
    Ms,
    /// How many times as much.
    Times,
    /// Bytes, written in MiB where there are many.
    Bytes,
    /// A share of one, written in percent.
    Share,
    /// A number of things.
    Count,
    /// The power of one thing that another grows with.
    Exponent,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Times => "times",
            Self::Bytes => "bytes",
            Self::Share => "share",
            Self::Count => "count",
            Self::Exponent => "exponent",
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            // Steps of microseconds, with the unit that is read for them.
            Self::Ms if value != 0.0 && value.abs() < 0.1 => format!("{:.1} µs", value * 1e3),
            Self::Ms if value.abs() < 10.0 => format!("{value:.2} ms"),
            Self::Ms => format!("{value:.1} ms"),
            Self::Times => format!("{value:.2} x"),
            Self::Bytes if value.abs() < f64::from(1 << 16) => format!("{value:.0} bytes"),
            Self::Bytes => format!("{:.1} MiB", value / f64::from(1 << 20)),
            Self::Share => format!("{:.1} %", value * 100.0),
            Self::Count => format!("{value:.0}"),
            Self::Exponent => format!("{value:.3}"),
        }
    }
}

/// Which values are good: what two reports are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Low,
    High,
}

/// One measured value, and the bar that it has to meet if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    id: String,
    what: String,
    value: f64,
    unit: Unit,
    goal: Goal,
    bar: Option<f64>,
}

impl Row {
    /// A value that should be low; `id` names it within its scenario, `what` says it to people.
    pub(crate) fn low(
        id: impl Into<String>,
        what: impl Into<String>,
        value: f64,
        unit: Unit,
    ) -> Self {
        Self { id: id.into(), what: what.into(), value, unit, goal: Goal::Low, bar: None }
    }

    /// A value that should be high.
    pub(crate) fn high(
        id: impl Into<String>,
        what: impl Into<String>,
        value: f64,
        unit: Unit,
    ) -> Self {
        Self { goal: Goal::High, ..Self::low(id, what, value, unit) }
    }

    /// The value may not be worse than `bar`.
    pub(crate) fn bar(self, bar: f64) -> Self {
        Self { bar: Some(bar), ..self }
    }

    /// `None` without a bar. A value that is not a number meets none.
    fn has_passed(&self) -> Option<bool> {
        self.bar.map(|bar| match self.goal {
            Goal::Low => self.value <= bar,
            Goal::High => self.value >= bar,
        })
    }

    fn value_text(&self) -> String {
        self.unit.text(self.value)
    }

    fn bar_text(&self) -> String {
        let Some(bar) = self.bar else { return "reported".to_owned() };
        let bar = self.unit.text(bar);
        match self.goal {
            Goal::Low => format!("≤ {bar}"),
            Goal::High => format!("≥ {bar}"),
        }
    }

    fn verdict(&self) -> &'static str {
        match self.has_passed() {
            Some(true) => "PASS",
            Some(false) => "FAIL",
            None => "",
        }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "what": self.what,
            "value": self.value,
            "unit": self.unit.name(),
            "goal": match self.goal { Goal::Low => "low", Goal::High => "high" },
            "bar": self.bar,
            "passed": self.has_passed(),
        })
    }
}

/// The result of one scenario.
#[derive(Debug)]
pub(crate) struct Figure {
    name: &'static str,
    question: &'static str,
    settings: String,
    rows: Vec<Row>,
    lines: Vec<(&'static str, String)>,
    plots: Vec<Plot>,
    values: Map<String, Value>,
}

impl Figure {
    /// A figure without rows; says the question, as the answer takes a while.
    pub(crate) fn new(name: &'static str, question: &'static str) -> Self {
        say(&format!("{name}: {question}"));
        let (settings, rows, lines, plots) = (String::new(), vec![], vec![], vec![]);
        Self { name, question, settings, rows, lines, plots, values: Map::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a line for people.
    pub(crate) fn line(&mut self, label: &'static str, text: String) {
        self.lines.push((label, text));
    }

    /// Adds a picture for the document.
    pub(crate) fn plot(&mut self, plot: Plot) {
        self.plots.push(plot);
    }

    /// Says that `peer` was not measured, and why; the others are.
    pub(crate) fn absent(&mut self, peer: &'static str, why: &anyhow::Error) {
        self.line(peer, format!("not measured: {why:#}"));
        let absent = self.values.entry("absent").or_insert_with(|| json!([]));
        if let Value::Array(absent) = absent {
            absent.push(peer.into());
        }
    }

    /// Adds a value for programs.
    pub(crate) fn value(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// Keeps the flags that the scenario ran with, as their type's `Debug` writes them.
    #[must_use]
    pub(crate) fn with_settings(self, args: &impl std::fmt::Debug) -> Self {
        let text = format!("{args:?}");
        let inside = text.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}'));
        let settings = inside.map_or("", |(inside, _)| inside).trim().to_owned();
        Self { settings, ..self }
    }

    fn has_passed(&self) -> bool {
        self.rows.iter().all(|row| row.has_passed() != Some(false))
    }

    fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.name, self.question);
        for (label, line) in &self.lines {
            text += &format!("  {label:<22} {line}\n");
        }
        for row in &self.rows {
            let (value, bar, verdict) = (row.value_text(), row.bar_text(), row.verdict());
            text += &format!("  {:<50} {value:>12}   {bar:<14} {verdict}\n", row.what);
        }
        text + "\n"
    }

    fn json(&self) -> Value {
        json!({
            "scenario": self.name,
            "question": self.question,
            "settings": self.settings,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "measured": self.values,
            "passed": self.has_passed(),
        })
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Figure>);

impl Report {
    /// Prints `figure` and keeps it.
    pub(crate) fn add(&mut self, figure: Figure) -> Result<()> {
        let text = figure.text();
        io::stdout().write_all(text.as_bytes()).context("failed to write to standard output")?;
        self.0.push(figure);
        Ok(())
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.0.iter().all(Figure::has_passed)
    }

    /// Writes everything to `path`, for programs.
    pub(crate) fn write_json(&self, path: &Path, machine: &Machine) -> Result<()> {
        let figures: Vec<_> = self.0.iter().map(Figure::json).collect();
        let text = format!("{:#}\n", json!({ "machine": machine.json(), "figures": figures }));
        fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
    }

    /// Puts the tables of these figures into the document at `path`, and leaves its others; pictures go
    /// into a directory beside it.
    pub(crate) fn write_docs(&self, path: &Path, machine: &Machine) -> Result<()> {
        let before = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => docs::HEAD.to_owned(),
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read `{}`", path.display()));
            }
        };
        for figure in &self.0 {
            for plot in &figure.plots {
                let picture = path.with_file_name(docs::picture(figure, plot));
                let wrote = picture.parent().map_or(Ok(()), fs::create_dir_all);
                wrote
                    .and_then(|()| fs::write(&picture, plot.svg()))
                    .with_context(|| format!("failed to write `{}`", picture.display()))?;
            }
        }
        let measured_on = machine.to_string();
        let text = self.0.iter().fold(before, |text, it| docs::put(&text, it, &measured_on));
        fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
    }
}

/// Says `text` to whoever watches; that is not part of the figures.
pub(crate) fn say(text: &str) {
    // Nobody watching is fine.
    let _ = writeln!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_is_met_on_its_good_side() {
        let low = |value| Row::low("x", "x", value, Unit::Ms).bar(5.0).has_passed();
        let high = |value| Row::high("x", "x", value, Unit::Ms).bar(5.0).has_passed();
        assert_eq!((low(4.0), low(5.0), low(6.0)), (Some(true), Some(true), Some(false)));
        assert_eq!((high(4.0), high(5.0), high(6.0)), (Some(false), Some(true), Some(true)));
        assert_eq!((low(f64::NAN), high(f64::NAN)), (Some(false), Some(false)));
    }

    #[test]
    fn value_without_a_bar_decides_nothing() {
        let mut figure = Figure::new("x", "is it so?");
        figure.row(Row::low("x", "x", f64::NAN, Unit::Count));
        assert!(figure.has_passed());
        figure.row(Row::low("y", "y", 2.0, Unit::Count).bar(1.0));
        assert!(!figure.has_passed());
    }

    #[test]
    fn small_values_keep_their_digits() {
        assert_eq!(Unit::Ms.text(0.05), "50.0 µs");
        assert_eq!((Unit::Ms.text(0.0), Unit::Ms.text(0.1)), ("0.00 ms".into(), "0.10 ms".into()));
        assert_eq!(Unit::Bytes.text(-1023.6), "-1024 bytes");
        assert_eq!(Unit::Bytes.text(f64::from(1 << 20)), "1.0 MiB");
    }

    #[test]
    fn settings_are_the_fields_of_the_arguments() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "only its `Debug` form is wanted")]
        struct Args {
            rounds: u64,
        }
        let figure = Figure::new("x", "is it so?").with_settings(&Args { rounds: 3 });
        assert_eq!(figure.settings, "rounds: 3");
    }
}
