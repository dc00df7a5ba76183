//! Does a swap fail a request? Swaps a handler under load and lets the history's judge decide.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use wrt_test_support::guests::{Profile, plugin, variant};
use wrt_test_support::history::{History, Milestone, ServedBy};
use wrt_test_support::load::{Load, LoadPlan, Shape};
use wrt_test_support::process::{Event, ServerProcess};

use crate::report::{Figure, Row, Unit, say};
use crate::site::{Site, short, swap};
use crate::stats::Samples;
use crate::stream;

/// How often progress is told, in swaps.
const TOLD_EVERY: u64 = 100;

/// How long each streamed response takes, over all swaps that happen meanwhile.
const STREAM: Duration = Duration::from_secs(10);

/// A generation waits longer for its calls than they take.
const SETTINGS: &str = "drain = \"30s\"";

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
    let site = Site::with(&component, SETTINGS)?;
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
    let streams = Streams::start(server.address());
    let mut swap_ms = Samples::default();
    for number in 1..=args.swaps {
        let (event, ms) = swap(&site, &server, &variant(&component, number))?;
        milestones.push(published(&event).context("expected a generation in the event")?);
        swap_ms.push(ms);
        if number % TOLD_EVERY == 0 {
            say(&format!("  {number} swaps, {} calls", load.n_ended()));
        }
    }
    let (n_streams, broken) = streams.stop()?;
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
    figure.line("streams of 10 s", format!("{n_streams}, of them broken: {broken:?}"));
    figure.value("swaps", args.swaps);
    figure.value("calls", report.n_calls);
    figure.value("generations_seen", report.n_generations);
    figure.value("calls_per_second", report.n_calls as f64 / seconds);
    figure.value("swap_ms_p50", swap_ms.median());
    // A server that names one generation for ever would pass every other rule.
    let was_seen = report.n_generations as u64 > args.swaps / 2;
    ensure!(n_streams > 0, "no stream was begun");
    ensure!(was_seen, "{} generations answered {} swaps", report.n_generations, args.swaps);
    for (id, what, count) in [
        ("failed", "failed requests", report.n_failed as u64),
        (
            "violations",
            "calls not served by one generation in order",
            (report.n_violations + report.n_unnamed) as u64,
        ),
        ("connections_lost", "lost connections", result.n_reconnects),
        ("cut", "calls cut by a drain", n_cut),
        ("streams", "responses of 10 s that swaps broke", broken.len() as u64),
    ] {
        figure.row(Row::low(id, what, count as f64, Unit::Count).bar(0.0));
    }
    Ok(figure)
}

/// One long response after the other, on a thread of its own.
struct Streams {
    is_stopped: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u64, Vec<String>)>,
}

impl Streams {
    fn start(address: SocketAddr) -> Self {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let is_stopped = Arc::clone(&is_stopped);
            move || {
                let (mut n_streams, mut broken) = (0, vec![]);
                // Ordering: nothing else is handed over with it.
                while !is_stopped.load(Ordering::Relaxed) {
                    n_streams += 1;
                    if let Err(error) = stream::echo(address, "/", STREAM) {
                        broken.push(format!("{error:#}"));
                    }
                }
                (n_streams, broken)
            }
        });
        Self { is_stopped, thread }
    }

    /// Waits for the last one's end; gives how many there were, and why some broke.
    fn stop(self) -> Result<(u64, Vec<String>)> {
        // Ordering: see where it is read.
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the thread of the streams panicked"))
    }
}

/// The publication that a `swapped` event tells of.
pub(super) fn published(event: &Event) -> Option<Milestone> {
    let generation = event.is("swapped").then(|| event.json["generation"].as_u64())??;
    let digest = short(event.text("digest")).into();
    let generation = ServedBy { handler: event.text("handler").into(), generation, digest };
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
