//! A figure's table in a document, between two marks, so that a later run replaces it.

use super::Figure;
use super::plot::Plot;

/// The beginning of a document that is not there yet.
pub(super) const HEAD: &str = "\
# Benchmarks

Every figure that wrt claims, with its bar. `cargo run -p wrt-bench -- SCENARIO --docs FILE` measures
a scenario again and puts its table here; values are medians unless they say otherwise, and the two
sides of a comparison are measured in turns within one run.
";

/// `text` with the table of `figure` in place of its earlier one, else at the end.
pub(super) fn put(text: &str, figure: &Figure, measured_on: &str) -> String {
    let (begin, end) = (
        format!("<!-- bench: {} -->\n", figure.name),
        format!("<!-- /bench: {} -->\n", figure.name),
    );
    let table = format!("{begin}{}{end}", section(figure, measured_on));
    let earlier = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    match earlier {
        Some((before, after)) => format!("{before}{table}{after}"),
        None => format!("{text}\n{table}"),
    }
}

/// Where a picture is, seen from the document.
pub(super) fn picture(figure: &Figure, plot: &Plot) -> String {
    format!("benchmarks/{}-{}.svg", figure.name, plot.id)
}

fn section(figure: &Figure, measured_on: &str) -> String {
    let mut text = format!("## {}: {}\n\n", figure.name, figure.question);
    text += "| what | bar | measured | |\n|---|---:|---:|---|\n";
    for row in &figure.rows {
        let verdict = match row.has_passed() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let (bar, value) = (row.bar_text(), row.value_text());
        text += &format!("| {} | {bar} | {value} | {verdict} |\n", escape(&row.what));
    }
    text.push('\n');
    for plot in &figure.plots {
        text += &format!("![{}]({})\n\n", plot.title, picture(figure, plot));
    }
    for (label, line) in &figure.lines {
        text += &format!("- {label}: {}\n", escape(line));
    }
    let settings = if figure.settings.is_empty() { "none" } else { &figure.settings };
    text + &format!("- flags: {settings}\n- {measured_on}\n")
}

/// What would end a cell is written so that it does not.
fn escape(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Row, Unit};

    fn figure(name: &'static str, ms: f64) -> Figure {
        let mut figure = Figure::new(name, "how long?");
        figure.row(Row::low("time", "a|b", ms, Unit::Ms).bar(2.0));
        figure
    }

    #[test]
    fn later_table_replaces_the_earlier_one_and_no_other() {
        let text = put(HEAD, &figure("one", 1.0), "here");
        let text = put(&text, &figure("two", 3.0), "here");
        assert!(text.contains("| a\\|b | ≤ 2.00 ms | 1.00 ms | met |"), "{text}");
        let again = put(&text, &figure("one", 1.5), "there");
        assert!(again.contains("| 1.50 ms | met |") && !again.contains("| 1.00 ms |"), "{again}");
        assert!(again.contains("| 3.00 ms | **missed** |"), "{again}");
        assert!(again.starts_with(HEAD) && again.matches("## one").count() == 1, "{again}");
    }
}
