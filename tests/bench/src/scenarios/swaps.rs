//! Does a swap fail a request? Swaps a handler under load and lets the history's judge decide.

use anyhow::{Context as _, Result};
use wrt_test_support::guests::{Profile, plugin, variant};
use wrt_test_support::history::{History, Milestone, ServedBy};
use wrt_test_support::load::{Load, LoadPlan, Shape};
use wrt_test_support::process::{Event, ServerProcess};

use crate::report::{Figure, say};
use crate::site::{HANDLER, Site, short, swap};
use crate::stats::Samples;

/// How often progress is told, in swaps.
const TOLD_EVERY: u64 = 100;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Swaps of the handler.
    #[arg(long, default_value_t = 1000)]
    swaps: u64,
    /// Kept-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Calls per second over all connections [default: each answer is followed by a call].
    #[arg(long)]
    rate: Option<f64>,
}

impl Default for Args {
    fn default() -> Self {
        Self { swaps: 1000, connections: 64, rate: None }
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure =
        Figure::new("swaps", "does a swap fail a request, under GETs, POSTs and streamed uploads?");
    let component = super::read_component(&plugin("echo-stream", Profile::Release)?)?;
    let site = Site::new(&component)?;
    let server = site.serve()?;
    let mut milestones: Vec<_> = server.events(0).iter().filter_map(published).collect();

    let runtime = super::load_runtime()?;
    let shapes = vec![Shape::get("/"), Shape::post("/", 4096), Shape::upload("/", 8, 2048)];
    let plan = LoadPlan {
        n_connections: args.connections,
        rate: args.rate,
        ..LoadPlan::new(server.address(), shapes)
    };
    let load = runtime.block_on(async { Load::start(plan) });
    let mut swap_ms = Samples::default();
    for number in 1..=args.swaps {
        let (event, ms) = swap(&site, &server, &variant(&component, number))?;
        milestones.push(published(&event).context("expected a generation in the event")?);
        swap_ms.push(ms);
        if number % TOLD_EVERY == 0 {
            say(&format!("  {number} swaps, {} calls", load.n_ended()));
        }
    }
    let result = runtime.block_on(load.stop())?;
    let seconds = result.elapsed.as_secs_f64();
    // All but the active generation have been replaced, and each tells of its end.
    let n_cut = n_cut(&server, args.swaps)?;

    let history = History { connections: result.connections, milestones };
    let report = history.check();
    figure.line("history", report.to_string());
    figure
        .line("load", format!("{:.0} calls/s for {seconds:.0} s", report.n_calls as f64 / seconds));
    figure.line("replaced to swapped", swap_ms.in_ms());
    figure.line("connections lost", result.n_reconnects.to_string());
    figure.line("calls cut by a drain", n_cut.to_string());
    figure.value("swaps", args.swaps);
    figure.value("calls", report.n_calls);
    figure.value("failed", report.n_failed);
    figure.value("unnamed", report.n_unnamed);
    figure.value("violations", report.n_violations);
    figure.value("generations_seen", report.n_generations);
    figure.value("connections_lost", result.n_reconnects);
    figure.value("cut", n_cut);
    figure.value("calls_per_second", report.n_calls as f64 / seconds);
    figure.value("swap_ms_p50", swap_ms.median());
    // A server that names one generation for ever would pass every other rule.
    let was_seen = report.n_generations as u64 > args.swaps / 2;
    let has_passed = report.is_clean() && result.n_reconnects == 0 && n_cut == 0 && was_seen;
    let bar = format!(
        "0 failed requests, violations, lost connections and cut calls in {} swaps",
        args.swaps
    );
    Ok(figure.judged(bar, has_passed))
}

/// The publication that a `swapped` event tells of.
fn published(event: &Event) -> Option<Milestone> {
    let generation = event.is("swapped").then(|| event.json["generation"].as_u64())??;
    let digest = short(event.text("digest")).into();
    let generation = ServedBy { handler: HANDLER.into(), generation, digest };
    Some(Milestone::Published { at: event.heard_at, generation })
}

/// Waits until `n_swaps` generations have drained; gives the calls that their drains cut.
fn n_cut(server: &ServerProcess, n_swaps: u64) -> Result<u64> {
    let mut drained = vec![];
    let mut from = 0;
    while (drained.len() as u64) < n_swaps {
        server.wait_for("every replaced generation to drain", from, |event| event.is("drained"))?;
        let news = server.events(from);
        from += news.len();
        drained.extend(news.into_iter().filter(|event| event.is("drained")));
    }
    Ok(drained.iter().filter_map(|event| event.json["cut"].as_u64()).sum())
}
