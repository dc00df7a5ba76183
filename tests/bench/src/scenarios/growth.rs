//! What do swaps leave behind? Memory, files and threads after many of them against after few.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wrt_test_support::guests::{Profile, plugin, variant};
use wrt_test_support::load::{Load, LoadPlan, Shape};
use wrt_test_support::proc_stat::ProcStat;
use wrt_test_support::process::ServerProcess;

use crate::report::{Figure, Row, Unit, say};
use crate::site::{Site, swap};

/// How much larger the resident memory may be.
const BAR: f64 = 1.02;

/// Looks after few swaps and after many; the one in the middle counts, because what the allocator keeps
/// for later differs by a MiB from one rest to the next.
const N_LOOKS: u64 = 3;

/// Swaps between two of them.
const LOOKS_APART: u64 = 20;

/// A server is at rest when its files, threads and memory have not changed for this long: tokio
/// keeps an idle thread of its blocking pool for ten seconds, and the allocator gives back what is
/// free for as long.
const REST: Duration = Duration::from_secs(12);

/// How much of the memory may come and go at rest.
const REST_BYTES: u64 = 64 * 1024;

/// When to stop waiting for rest; what is measured then decides.
const REST_LIMIT: Duration = Duration::from_secs(90);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Swaps before the first looks.
    #[arg(long, default_value_t = 100)]
    few: u64,
    /// Swaps before the last looks, the first ones included.
    #[arg(long, default_value_t = 1000)]
    many: u64,
    /// Requests per second meanwhile.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
}

impl Default for Args {
    fn default() -> Self {
        Self { few: 100, many: 1000, rate: 200.0 }
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let looked = args.few + (N_LOOKS - 1) * LOOKS_APART;
    ensure!(
        args.many > looked,
        "expected `--many` above {looked}, where the looks that begin at `--few` end, found {}",
        args.many
    );
    let mut figure =
        Figure::new("growth", "what do swaps leave behind in memory, open files and threads?");
    let component = super::read_component(&plugin("echo-stream", Profile::Release)?)?;
    let site = Site::new(&component)?;
    let server = site.serve()?;
    let runtime = super::load_runtime()?;

    let swap_under_load = |numbers: std::ops::RangeInclusive<u64>| -> Result<ProcStat> {
        let shapes = vec![Shape::get("/"), Shape::post("/", 4096), Shape::upload("/", 8, 2048)];
        let plan = LoadPlan {
            n_connections: 8,
            rate: Some(args.rate),
            ..LoadPlan::new(server.address(), shapes)
        };
        let load = runtime.block_on(async { Load::start(plan) });
        for number in numbers {
            swap(&site, &server, &variant(&component, number))?;
        }
        runtime.block_on(load.stop())?;
        at_rest(&server)
    };
    let mut n_swaps = 0;
    let mut look_after = |n: u64| -> Result<ProcStat> {
        let mut looks = vec![];
        for until in (0..N_LOOKS).map(|look| n + look * LOOKS_APART) {
            let stat = swap_under_load(n_swaps + 1..=until)?;
            say(&format!("  after {until} swaps: {stat:?}"));
            n_swaps = until;
            looks.push(stat);
        }
        looks.sort_by_key(|stat| stat.rss);
        Ok(looks.swap_remove(looks.len() / 2))
    };
    let few = look_after(args.few)?;
    let many = look_after(args.many)?;

    let ratio = many.rss as f64 / few.rss as f64;
    let mib = |stat: &ProcStat| stat.rss as f64 / f64::from(1 << 20);
    figure.line("swaps", format!("{} against {}", args.many, args.few));
    let looks = format!("{N_LOOKS} each, {LOOKS_APART} swaps apart; the one in the middle counts");
    figure.line("looks", looks);
    figure.line("memory", format!("{:.1} against {:.1} MiB: {ratio:.3} x", mib(&many), mib(&few)));
    figure.line("open files", format!("{} against {}", many.n_files, few.n_files));
    figure.line("threads", format!("{} against {}", many.n_threads, few.n_threads));
    for (name, stat) in [("few", &few), ("many", &many)] {
        figure.value(&format!("{name}_rss"), stat.rss);
        figure.value(&format!("{name}_files"), stat.n_files);
        figure.value(&format!("{name}_threads"), stat.n_threads);
    }
    let swaps = format!("after {} swaps, against after {}", args.many, args.few);
    figure.row(Row::low("rss", format!("memory {swaps}"), ratio, Unit::Times).bar(BAR));
    let apart = |many: usize, few: usize| many.abs_diff(few) as f64;
    for (id, what, apart) in [
        ("files", "open files", apart(many.n_files, few.n_files)),
        ("threads", "threads", apart(many.n_threads, few.n_threads)),
    ] {
        figure
            .row(Row::low(id, format!("{what} more or less {swaps}"), apart, Unit::Count).bar(0.0));
    }
    Ok(figure)
}

/// Looks at `server` once it has stayed the same for a while.
fn at_rest(server: &ServerProcess) -> Result<ProcStat> {
    let limit = Instant::now() + REST_LIMIT;
    let mut first = ProcStat::of(server.id())?;
    let mut since = Instant::now();
    loop {
        thread::sleep(LOOK_EVERY);
        let stat = ProcStat::of(server.id())?;
        let is_same = (stat.n_files, stat.n_threads) == (first.n_files, first.n_threads)
            && stat.rss.abs_diff(first.rss) <= REST_BYTES;
        if !is_same {
            (first, since) = (stat, Instant::now());
        }
        if since.elapsed() >= REST || Instant::now() >= limit {
            return Ok(stat);
        }
    }
}
