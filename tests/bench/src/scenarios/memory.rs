//! What do warm instances take, and what do ten thousand swaps leave behind, as a curve?

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use wrt_test_support::guests::{Profile, guest_as, plugin, variant};
use wrt_test_support::load::{Load, LoadPlan, Shape};
use wrt_test_support::proc_stat::ProcStat;

use crate::report::plot::{Axis, Plot};
use crate::report::{Figure, Row, Unit, say};
use crate::site::{Site, swap};
use crate::stats::slope;

/// Bytes per swap that memory may grow by at the most, once it has settled; what the allocator keeps
/// for later moves by more than nothing.
const BAR_PER_SWAP: f64 = 64.0;

/// The part of the swaps after which memory has settled. What follows is as long as it can be, because
/// the allocator takes and gives back in steps of megabytes, which in a shorter time look like growth.
const SETTLED: f64 = 0.2;

/// Versions that are swapped in turn: after the first round each is compiled already.
const N_VERSIONS: u64 = 16;

/// How long a call keeps its instance while memory is looked at.
const HELD: Duration = Duration::from_millis(1500);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Swaps.
    #[arg(long, default_value_t = 10_000)]
    swaps: u64,
    /// Swaps between two looks.
    #[arg(long, default_value_t = 250)]
    every: u64,
    /// Warm instances.
    #[arg(long, default_value_t = 64)]
    instances: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { swaps: 10_000, every: 250, instances: 64 }
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "memory",
        "how much memory does a warm instance take, and what do ten thousand swaps leave behind?",
    );
    let each = warm_instances(args.instances)?;
    let what = "resident memory of a warm instance of a handler made with the SDK";
    figure.row(Row::low("instance", what, each, Unit::Bytes));

    let curve = over_swaps(args)?;
    let (_, last) = curve.last().copied().context("expected a look at memory, found none")?;
    let settled = args.swaps as f64 * SETTLED;
    let later: Vec<_> = curve.iter().copied().filter(|(swaps, _)| *swaps >= settled).collect();
    let what = format!("bytes that memory grows by with each swap after the first {settled}");
    figure.row(Row::low("per_swap", what, slope(&later), Unit::Bytes).bar(BAR_PER_SWAP));
    figure.row(Row::low("resident", "resident memory in the end", last, Unit::Bytes));
    let mib = |(swaps, bytes): &(f64, f64)| (*swaps, bytes / f64::from(1 << 20));
    figure.plot(
        Plot::new(
            "swaps",
            "Memory over swaps of one handler under load",
            Axis::linear("swaps"),
            Axis::linear("MiB resident"),
        )
        .curve("wrt serve", curve.iter().map(mib).collect()),
    );
    Ok(figure)
}

/// Bytes of each instance, of `n` that wait in calls at once.
fn warm_instances(n: usize) -> Result<f64> {
    let component = super::read_component(&guest_as("slow_answer", Profile::Release)?)?;
    let site = Site::with(&component, "instances = \"pooled\"\nconcurrency = 1000\n")?;
    let server = site.serve()?;
    let runtime = super::load_runtime()?;
    let load = |n_connections, ms| {
        let shapes = vec![Shape::get(&format!("/?ms={ms}"))];
        let plan = LoadPlan {
            n_connections,
            max_calls: n_connections as u64,
            ..LoadPlan::new(server.address(), shapes)
        };
        runtime.block_on(async { Load::start(plan) })
    };
    // The connections take memory too, so as many are there before.
    runtime.block_on(load(1, 0).finish())?;
    let before = ProcStat::of(server.id())?.rss;
    let held = load(n, HELD.as_millis());
    // In the middle of the calls; one that began late would show as a smaller instance.
    thread::sleep(HELD / 2);
    let during = ProcStat::of(server.id())?.rss;
    runtime.block_on(held.finish())?;
    ensure!(during > before, "expected memory to grow with {n} instances, found that it fell");
    Ok((during - before) as f64 / n as f64)
}

/// Resident bytes by the number of swaps so far.
fn over_swaps(args: &Args) -> Result<Vec<(f64, f64)>> {
    let component = super::read_component(&plugin("hello", Profile::Release)?)?;
    let site = Site::new(&component)?;
    let server = site.serve()?;
    let versions: Vec<_> = (1..=N_VERSIONS).map(|number| variant(&component, number)).collect();
    let runtime = super::load_runtime()?;
    let plan = LoadPlan {
        n_connections: 4,
        rate: Some(100.0),
        ..LoadPlan::new(server.address(), vec![Shape::get("/")])
    };
    let load = runtime.block_on(async { Load::start(plan) });
    let mut curve = vec![];
    for (number, version) in (1..=args.swaps).zip(versions.iter().cycle()) {
        swap(&site, &server, version)?;
        if number % args.every == 0 {
            curve.push((number as f64, ProcStat::of(server.id())?.rss as f64));
        }
        if number % (args.every * 10) == 0 {
            say(&format!("  {number} swaps"));
        }
    }
    runtime.block_on(load.stop())?;
    Ok(curve)
}
