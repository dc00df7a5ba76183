//! How long is an answer under way at a constant rate of requests? In turns with the peers.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::servers::{Servers, Side};
use crate::open_loop::latencies;
use crate::raw_load::requests_per_second;
use crate::report::{Figure, Row, Unit, say};
use crate::stats::Samples;
use crate::tools::Tools;

/// Page of 1 KiB.
const PATH: &str = "/";

/// How long each side is loaded fully, to know what it can take.
const CAPACITY_TIME: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Rounds on each side.
    #[arg(long, default_value_t = 7)]
    rounds: u64,
    /// Seconds of one round.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Kept-alive connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Requests per second, as a share of what the slowest side can take.
    #[arg(long, default_value_t = 0.5)]
    share: f64,
    /// Requests per second [default: by `--share`].
    #[arg(long)]
    rate: Option<f64>,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: 7, seconds: 5.0, connections: 16, share: 0.5, rate: None }
    }
}

/// Which latencies are told: requests in a thousand that are answered by then, and their name.
const QUANTILES: [(usize, &str); 3] = [(500, "p50"), (990, "p99"), (999, "p99.9")];

/// The sides with the names of their rows.
const SIDES: [(Side, [&str; 3]); 6] = [
    (Side::Fresh, ["fresh_p50", "fresh_p99", "fresh_p999"]),
    (Side::Pooled, ["pooled_p50", "pooled_p99", "pooled_p999"]),
    (Side::Wasmtime, ["wasmtime_p50", "wasmtime_p99", "wasmtime_p999"]),
    (Side::WasmtimeBest, ["best_p50", "best_p99", "best_p999"]),
    (Side::WasmtimeReuse, ["reuse_p50", "reuse_p99", "reuse_p999"]),
    (Side::Native, ["native_p50", "native_p99", "native_p999"]),
];

pub(crate) fn run(args: &Args, tools: &Tools) -> Result<Figure> {
    let mut figure = Figure::new(
        "latency",
        "how long is an answer under way at a constant rate, beside `wasmtime serve` and a server \
         without WebAssembly?",
    );
    let mut servers = Servers::start(&SIDES.map(|(side, _)| side), tools, &mut figure)?;
    let mut lowest = f64::INFINITY;
    for (side, _) in SIDES {
        let capacity = servers.measure(side, &mut figure, |address| {
            requests_per_second(address, PATH, args.connections, CAPACITY_TIME)
        })?;
        let Some(capacity) = capacity else { continue };
        figure.line(side.name(), format!("takes {capacity:.0} requests/s"));
        lowest = lowest.min(capacity);
    }
    let rate = args.rate.unwrap_or(lowest * args.share);
    say(&format!("  {rate:.0} requests per second to each side"));
    figure.line("rate", format!("{rate:.0} requests/s over {} connections", args.connections));
    figure.value("per_second", rate);

    let mut measured: Vec<[Samples; 3]> = vec![Default::default(); SIDES.len()];
    for number in 0..=args.rounds {
        for ((side, _), samples) in SIDES.iter().zip(&mut measured) {
            // The first round is the warm-up.
            let seconds = if number == 0 { 1.0 } else { args.seconds };
            let time = Duration::from_secs_f64(seconds);
            let ms = servers.measure(*side, &mut figure, |address| {
                latencies(address, PATH, args.connections, rate, time)
            })?;
            if let (Some(ms), true) = (ms, number > 0) {
                for ((per_mille, _), samples) in QUANTILES.iter().zip(samples) {
                    samples.push(ms.per_mille(*per_mille));
                }
            }
        }
    }

    let mut values = serde_json::Map::new();
    for ((side, ids), samples) in SIDES.iter().zip(&measured) {
        if samples[0].len() == 0 {
            continue;
        }
        let medians: Vec<_> = samples.iter().map(Samples::median).collect();
        for ((id, (_, quantile)), ms) in ids.iter().zip(QUANTILES).zip(&medians) {
            figure.row(Row::low(*id, format!("{}, {quantile}", side.name()), *ms, Unit::Ms));
        }
        values.insert(side.name().to_owned(), json!(medians));
    }
    figure.value("ms_p50_p99_p999", values);
    Ok(figure)
}
