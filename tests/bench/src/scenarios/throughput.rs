//! How many requests per second, by how instances are used? In turns with the peers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::servers::{Servers, Side};
use crate::raw_load::requests_per_second;
use crate::report::{Figure, Row, Unit, say};
use crate::stats::Samples;
use crate::tools::Tools;

/// Before the first round of a cell, so that no side is measured while it starts.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Rounds of each cell on each side.
    #[arg(long, default_value_t = 17)]
    rounds: u64,
    /// Seconds of one round.
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Every mode with every answer and number of connections, which takes twice as long.
    #[arg(long)]
    all: bool,
    /// Only the cells with this many connections.
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: 17, seconds: 0.5, all: false, connections: None }
    }
}

/// What is asked for over how many kept-alive connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cell {
    label: &'static str,
    path: &'static str,
    n_connections: usize,
    /// Whether it is measured without `--all`, too.
    is_main: bool,
}

const fn cell(
    label: &'static str,
    path: &'static str,
    n_connections: usize,
    is_main: bool,
) -> Cell {
    Cell { label, path, n_connections, is_main }
}

const SMALL: &str = "/";
const LARGE: &str = "/large";
const STREAM: &str = "/stream";

#[rustfmt::skip]
const CELLS: [Cell; 9] = [
    cell("1 KiB, 1 connection", SMALL, 1, true),
    cell("1 KiB, 16 connections", SMALL, 16, true),
    cell("1 KiB, 256 connections", SMALL, 256, true),
    cell("64 KiB, 1 connection", LARGE, 1, false),
    cell("64 KiB, 16 connections", LARGE, 16, true),
    cell("64 KiB, 256 connections", LARGE, 256, false),
    cell("1 MiB, 1 connection", STREAM, 1, false),
    cell("1 MiB, 16 connections", STREAM, 16, true),
    cell("1 MiB, 256 connections", STREAM, 256, false),
];

/// Sides that are measured for every main cell; the others only where the answer is small.
const MAIN: [Side; 4] = [Side::Fresh, Side::Wasmtime, Side::WasmtimeBest, Side::Native];

/// One of wrt's modes as a multiple of a peer.
struct Compared {
    id: &'static str,
    path: &'static str,
    n_connections: usize,
    ours: Side,
    theirs: Side,
    bar: Option<f64>,
}

const fn compared(
    id: &'static str,
    path: &'static str,
    n_connections: usize,
    ours: Side,
    theirs: Side,
    bar: Option<f64>,
) -> Compared {
    Compared { id, path, n_connections, ours, theirs, bar }
}

use Side::{
    Fresh, FreshWasi, Native, NativeAwake, Pooled, PooledAwake, PooledWasi, Singleton, Wasmtime,
    WasmtimeBest, WasmtimeReuse,
};

#[rustfmt::skip]
const COMPARED: [Compared; 28] = [
    compared("ratio", SMALL, 16, FreshWasi, Wasmtime, Some(2.3)),
    compared("ratio_best", SMALL, 16, FreshWasi, WasmtimeBest, Some(1.1)),
    compared("pooled_reuse", SMALL, 16, Pooled, WasmtimeReuse, Some(1.1)),
    compared("whole", SMALL, 16, Fresh, Wasmtime, None),
    compared("whole_best", SMALL, 16, Fresh, WasmtimeBest, None),
    compared("pooled_wasi_reuse", SMALL, 16, PooledWasi, WasmtimeReuse, None),
    compared("pooled_wasi_native", SMALL, 16, PooledWasi, Native, None),
    compared("pooled_native", SMALL, 16, Pooled, Native, Some(0.6)),
    compared("awake_native", SMALL, 16, PooledAwake, Native, Some(0.6)),
    compared("awake_both", SMALL, 16, PooledAwake, NativeAwake, None),
    compared("fresh_native", SMALL, 16, Fresh, Native, None),
    compared("singleton_native", SMALL, 16, Singleton, Native, None),
    compared("ratio_1", SMALL, 1, FreshWasi, Wasmtime, None),
    compared("ratio_best_1", SMALL, 1, FreshWasi, WasmtimeBest, None),
    compared("pooled_reuse_1", SMALL, 1, Pooled, WasmtimeReuse, None),
    compared("pooled_wasi_reuse_1", SMALL, 1, PooledWasi, WasmtimeReuse, None),
    compared("pooled_native_1", SMALL, 1, Pooled, Native, None),
    compared("awake_native_1", SMALL, 1, PooledAwake, Native, None),
    compared("ratio_256", SMALL, 256, FreshWasi, Wasmtime, None),
    compared("ratio_best_256", SMALL, 256, FreshWasi, WasmtimeBest, None),
    compared("pooled_reuse_256", SMALL, 256, Pooled, WasmtimeReuse, None),
    compared("whole_best_256", SMALL, 256, Fresh, WasmtimeBest, None),
    compared("pooled_wasi_reuse_256", SMALL, 256, PooledWasi, WasmtimeReuse, None),
    compared("pooled_native_256", SMALL, 256, Pooled, Native, None),
    compared("large_best", LARGE, 16, Fresh, WasmtimeBest, None),
    compared("large_native", LARGE, 16, Fresh, Native, None),
    compared("stream_best", STREAM, 16, Fresh, WasmtimeBest, None),
    compared("stream_native", STREAM, 16, Fresh, Native, None),
];

pub(crate) fn run(args: &Args, tools: &Tools) -> Result<Figure> {
    let mut figure = Figure::new(
        "throughput",
        "how many requests per second with fresh, warm and single instances, beside \
         `wasmtime serve` and a server without WebAssembly?",
    );
    let mut servers = Servers::start(&Side::ALL, tools, &mut figure)?;
    let mut values = serde_json::Map::new();
    let is_asked = |cell: &&Cell| {
        (args.all || cell.is_main) && args.connections.is_none_or(|n| n == cell.n_connections)
    };
    for cell in CELLS.iter().filter(is_asked) {
        let has = |side: &Side| args.all || cell.path == SMALL || MAIN.contains(side);
        let sides: Vec<_> = servers.sides().filter(has).collect();
        let rates = measure(args, cell, &mut servers, &sides, &mut figure)?;
        let medians: Vec<_> =
            rates.iter().map(|(side, rates)| (side.name(), rates.median())).collect();
        let text: Vec<_> =
            medians.iter().map(|(name, rate)| format!("{name} {rate:.0}/s")).collect();
        say(&format!("  {}: {}", cell.label, text.join("; ")));
        figure.line(cell.label, text.join("; "));
        let by_name = medians.iter().map(|(name, rate)| ((*name).to_owned(), json!(rate)));
        values.insert(cell.label.to_owned(), by_name.collect::<serde_json::Map<_, _>>().into());
        let of_cell =
            |it: &&Compared| it.path == cell.path && it.n_connections == cell.n_connections;
        for compared in COMPARED.iter().filter(of_cell) {
            let Compared { id, ours, theirs, bar, .. } = *compared;
            let Some((our_rates, their_rates)) = rates.get(&ours).zip(rates.get(&theirs)) else {
                continue;
            };
            let what =
                format!("{}: {} as a multiple of {}", cell.label, ours.name(), theirs.name());
            let row = Row::high(id, what, our_rates.over(their_rates), Unit::Times);
            figure.row(match bar {
                Some(bar) => row.bar(bar),
                None => row,
            });
        }
    }
    figure.value("per_second", values);
    Ok(figure)
}

/// Requests per second in each round. The sides take turns in short rounds, forwards and backwards,
/// so that what others do with the machine for some seconds comes to a pair of sides alike.
fn measure(
    args: &Args,
    cell: &Cell,
    servers: &mut Servers,
    sides: &[Side],
    figure: &mut Figure,
) -> Result<BTreeMap<Side, Samples>> {
    let mut samples = BTreeMap::<Side, Samples>::new();
    let mut sides = sides.to_owned();
    for number in 0..=args.rounds {
        sides.reverse();
        for &side in &sides {
            // The first round is the warm-up.
            let is_warm_up = number == 0;
            let time = if is_warm_up { WARM_UP } else { Duration::from_secs_f64(args.seconds) };
            let per_second = servers.measure(side, figure, |address| {
                requests_per_second(address, cell.path, cell.n_connections, time)
            })?;
            if let (Some(per_second), false) = (per_second, is_warm_up) {
                samples.entry(side).or_default().push(per_second);
            }
        }
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_comparison_has_its_cell_and_an_id_of_its_own() {
        for (index, compared) in COMPARED.iter().enumerate() {
            let cell = CELLS.iter().find(|cell| {
                (cell.path, cell.n_connections) == (compared.path, compared.n_connections)
            });
            assert!(cell.is_some_and(|cell| cell.is_main), "{}", compared.id);
            assert!(COMPARED[..index].iter().all(|other| other.id != compared.id));
        }
    }
}
