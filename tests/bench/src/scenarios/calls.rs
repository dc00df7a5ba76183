//! What does one call in process cost? In turns with bare wasmtime, and with Extism.

mod cells;

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use wrt_bench_calls::{ByHand, Mode, Ours, Round, document};
use wrt_test_support::guests::{Profile, guest_as};

use crate::peers::extism::Extism;
use crate::report::{Figure, Row, Unit, say};
use crate::stats::Samples;
use crate::work;
use cells::{CELLS, Cell};

/// Before the first round of a cell, so that no side is measured while it warms up.
const WARM_UP: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Rounds of each cell on each side.
    #[arg(long, default_value_t = 25)]
    rounds: u64,
    /// Milliseconds of one round.
    #[arg(long, default_value_t = 60)]
    ms: u64,
    /// Threads of the cells that use several.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Only the cells whose names begin so.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    cell: String,
    /// Only this side, for a profiler; nothing is compared then.
    #[arg(long, value_enum, value_name = "SIDE")]
    only: Option<Side>,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: 25, ms: 60, threads: 2, cell: String::new(), only: None }
    }
}

/// Who makes the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    /// `wrt`, through the API for embedders.
    Wrt,
    /// `wasmtime`, by hand.
    Bare,
    /// Extism.
    Extism,
}

/// Microseconds of one call on each side, by round.
#[derive(Debug, Default)]
struct Measured {
    wrt: Samples,
    bare: Samples,
    extism: Samples,
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "calls",
        "what does one call of a plugin in process cost, beside bare wasmtime and Extism?",
    );
    ensure!(args.threads > 0, "expected at least one thread");
    let executor = super::calling_runtime()?;
    let event_work = work::read(&guest_as("event_work", Profile::Release)?)?;
    let own_world = work::read(&guest_as("own_world", Profile::Release)?)?;
    let is_asked = |side| args.only.is_none_or(|only| only == side);
    let (mut ours, mut by_hand) = (None, None);
    if is_asked(Side::Wrt) {
        ours = Some(executor.block_on(Ours::new(&event_work, &own_world))?);
    }
    if is_asked(Side::Bare) {
        by_hand = Some(ByHand::new(&event_work, &own_world)?);
    }
    let mut extism = None;
    if is_asked(Side::Extism) {
        let path = work::directory("calls")?.join("document.json");
        work::write(&path, document())?;
        match Extism::start(&path) {
            Ok(started) => extism = Some(started),
            Err(error) => figure.absent("Extism", &error),
        }
    }

    let cells = CELLS.iter().filter(|cell| cell.name.starts_with(&args.cell));
    let mut all = serde_json::Map::new();
    for cell in cells {
        let n_threads = if cell.on_all_threads { args.threads } else { 1 };
        let mut measure = |side, time| -> Result<Option<f64>> {
            if !cell.has(side) {
                return Ok(None);
            }
            let round = Round { mode: cell.mode, work: cell.work, n_threads, time };
            let us = match side {
                Side::Wrt => ours.as_ref().map(|ours| ours.call_us(&executor, round)),
                Side::Bare => by_hand.as_ref().map(|bare| bare.call_us(&executor, round)),
                Side::Extism => {
                    let is_fresh = cell.mode == Mode::Fresh;
                    let us = extism
                        .as_mut()
                        .map(|extism| extism.call_us(is_fresh, cell.work.name(), n_threads, time));
                    if let Some(Err(error)) = &us {
                        figure.absent("Extism", error);
                        extism = None;
                        return Ok(None);
                    }
                    us
                }
            };
            us.transpose()
        };
        let mut measured = Measured::default();
        for number in 0..=args.rounds {
            let time = if number == 0 { WARM_UP } else { Duration::from_millis(args.ms) };
            for side in [Side::Wrt, Side::Bare, Side::Extism] {
                let us = measure(side, time)?;
                // The first round is the warm-up.
                if let (Some(us), true) = (us, number > 0) {
                    measured.of(side).push(us);
                }
            }
        }
        all.insert(cell.name.to_owned(), measured.json());
        say(&format!("  {:<24} {}", cell.label, measured.text()));
        figure.line(cell.label, measured.text());
        add_rows(&mut figure, cell, &measured);
    }
    figure.value("us_per_call", all);
    if let Some(ours) = ours {
        executor.block_on(ours.shut_down());
    }
    Ok(figure)
}

impl Measured {
    fn of(&mut self, side: Side) -> &mut Samples {
        match side {
            Side::Wrt => &mut self.wrt,
            Side::Bare => &mut self.bare,
            Side::Extism => &mut self.extism,
        }
    }

    fn sides(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let sides = [("wrt", &self.wrt), ("bare", &self.bare), ("Extism", &self.extism)];
        sides.into_iter().filter(|(_, us)| us.len() > 0).map(|(name, us)| (name, us.median()))
    }

    fn json(&self) -> serde_json::Value {
        self.sides()
            .map(|(name, us)| (name.to_owned(), json!(us)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn text(&self) -> String {
        let sides: Vec<_> = self.sides().map(|(name, us)| format!("{name} {us:.2} µs")).collect();
        sides.join(", ")
    }
}

fn add_rows(figure: &mut Figure, cell: &Cell, measured: &Measured) {
    let Measured { wrt, bare, extism } = measured;
    if wrt.len() == 0 {
        return;
    }
    if bare.len() > 0 {
        let what = format!("{}, as a multiple of bare wasmtime", cell.label);
        let row = Row::low(cell.name, what, wrt.over(bare), Unit::Times);
        figure.row(match cell.bar {
            Some(bar) => row.bar(bar),
            None => row,
        });
    }
    if extism.len() > 0 {
        let what = format!("{}, times faster than Extism", cell.label);
        let row = Row::high(cell.extism, what, extism.over(wrt), Unit::Times);
        // Faster than Extism where there is a bar at all.
        figure.row(if cell.bar.is_some() { row.bar(1.0) } else { row });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rows_are_unique() {
        let mut names: Vec<_> = CELLS.iter().flat_map(|cell| [cell.name, cell.extism]).collect();
        names.retain(|name| !name.is_empty());
        let n_names = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n_names);
    }

    #[test]
    fn sides_without_a_figure_are_left_out() {
        let mut measured = Measured::default();
        measured.of(Side::Wrt).push(2.0);
        assert_eq!(measured.text(), "wrt 2.00 µs");
        assert_eq!(measured.json(), json!({ "wrt": 2.0 }));
    }
}
