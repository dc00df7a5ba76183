//! Compares two reports: which conclusions changed, and by how much the values did.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::report::say;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The earlier report, as `--json` wrote it.
    old: PathBuf,
    /// The later one.
    new: PathBuf,
}

/// One row of a report.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    /// `SCENARIO/ID`.
    id: String,
    value: f64,
    /// Whether a low value is a good one.
    low_is_good: bool,
    /// `None` without a bar.
    passed: Option<bool>,
}

/// A row that both reports have.
#[derive(Debug, PartialEq)]
struct Change {
    id: String,
    old: f64,
    new: f64,
    /// New over old, turned so that more than 1 is better; `None` unless both are above zero.
    better: Option<f64>,
    /// The conclusions differ.
    is_turned: bool,
}

/// Prints how `new` differs from `old`; gives whether every conclusion is the same.
pub(crate) fn run(args: &Args) -> Result<bool> {
    let (old, new) = (rows(&read(&args.old)?), rows(&read(&args.new)?));
    let changes = changes(&old, &new);
    for Change { id, old, new, better, is_turned } in &changes {
        let better = better.map_or(String::new(), |better| format!("{better:.2} x as good"));
        let turned = if *is_turned { "conclusion differs" } else { "" };
        let line = format!("{id:<32} {old:>14.3} {new:>14.3}   {better:>17}   {turned}");
        say(line.trim_end());
    }
    for row in only_in(&old, &new) {
        say(&format!("{:<32} only in the earlier report", row.id));
    }
    for row in only_in(&new, &old) {
        say(&format!("{:<32} only in the later report", row.id));
    }
    let n_turned = changes.iter().filter(|change| change.is_turned).count();
    say(&format!("{} rows in both, {n_turned} conclusions differ", changes.len()));
    Ok(n_turned == 0)
}

fn read(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("expected a report in `{}`, found something else", path.display()))
}

fn rows(report: &Value) -> Vec<Row> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let mut rows = vec![];
    for figure in list(report, "figures") {
        let scenario = figure["scenario"].as_str().unwrap_or_default();
        rows.extend(list(&figure, "rows").iter().map(|row| Row {
            id: format!("{scenario}/{}", row["id"].as_str().unwrap_or_default()),
            // A value that is not a number is written as null.
            value: row["value"].as_f64().unwrap_or(f64::NAN),
            low_is_good: row["goal"] == "low",
            passed: row["passed"].as_bool(),
        }));
    }
    rows
}

fn changes(old: &[Row], new: &[Row]) -> Vec<Change> {
    let both = old.iter().filter_map(|row| Some((row, new.iter().find(|it| it.id == row.id)?)));
    both.map(|(old, new)| {
        let ratio = if new.low_is_good { old.value / new.value } else { new.value / old.value };
        Change {
            id: old.id.clone(),
            old: old.value,
            new: new.value,
            better: (old.value > 0.0 && new.value > 0.0).then_some(ratio),
            is_turned: old.passed != new.passed,
        }
    })
    .collect()
}

fn only_in<'a>(these: &'a [Row], those: &'a [Row]) -> impl Iterator<Item = &'a Row> {
    these.iter().filter(|row| those.iter().all(|it| it.id != row.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(ms: f64, passed: bool, other: &str) -> Vec<Row> {
        rows(&json!({ "figures": [{ "scenario": "reload", "rows": [
            { "id": "ms", "value": ms, "goal": "low", "passed": passed },
            { "id": other, "value": 3.0, "goal": "high", "passed": null },
        ] }] }))
    }

    #[test]
    fn rows_are_compared_by_their_goal_and_conclusion() {
        let found = changes(&report(8.0, true, "rate"), &report(4.0, false, "rate"));
        let expected = |id: &str, (old, new), better, is_turned| Change {
            id: id.to_owned(),
            old,
            new,
            better,
            is_turned,
        };
        assert_eq!(
            found,
            [
                expected("reload/ms", (8.0, 4.0), Some(2.0), true),
                expected("reload/rate", (3.0, 3.0), Some(1.0), false),
            ]
        );
    }

    #[test]
    fn without_two_values_above_zero_there_is_no_ratio() {
        for (old, new) in [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.5, -0.5), (f64::NAN, 1.0)] {
            let found = changes(&report(old, true, "rate"), &report(new, true, "rate"));
            assert_eq!(found[0].better, None, "{old} and {new}");
        }
    }

    #[test]
    fn row_of_one_report_alone_is_told() {
        let (old, new) = (report(8.0, true, "gone"), report(8.0, true, "come"));
        assert_eq!(only_in(&old, &new).map(|row| &*row.id).collect::<Vec<_>>(), ["reload/gone"]);
        assert_eq!(changes(&old, &new).len(), 1);
    }
}
