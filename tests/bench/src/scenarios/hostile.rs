//! What does a hostile guest cost its neighbour, and the host? Each way in turn, on a server of its own.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::json;
use wrt_test_support::guests::{Profile, guest_as, plugin};
use wrt_test_support::load::{Load, LoadPlan, Shape};
use wrt_test_support::proc_stat::ProcStat;

use crate::open_loop::latencies;
use crate::report::{Figure, Row, Unit, say};
use crate::site::{Handler, Site};

/// The longest that half of a neighbour's answers may take.
const BAR_MS: f64 = 10.0;

/// What the host may take beyond the memory that the guests of all calls may have.
const BAR_BYTES: f64 = 200.0 * MIB;

const MIB: f64 = 1024.0 * 1024.0;

/// The memory that each guest may have.
const MEMORY_MIB: f64 = 64.0;

/// How long memory may take to come back.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Pause between two looks at memory.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Requests a second to the neighbour: a client that asks each 10 ms.
const RATE: f64 = 100.0;

/// A way to be hostile: its name, and the path that the guest takes. `ORIGIN` in a path stands for an
/// origin that takes connections and never answers.
const WAYS: &[(&str, &str)] = &[
    ("spin", "/spin"),
    ("recurse", "/recurse"),
    ("grow", "/grow"),
    ("touch", "/touch?bytes=60000000&ms=500"),
    // Calls that end before the second tick of the engine's clock.
    ("short-touch-40", "/touch?bytes=40000000"),
    ("short-touch-8", "/touch?bytes=8000000"),
    ("short-touch-2", "/touch?bytes=2000000"),
    ("short-recurse", "/recurse?n=3000"),
    ("short-drops", "/drops?n=30&bytes=60000"),
    ("panic", "/panic"),
    ("panic-text", "/panic?bytes=30000000"),
    ("error-text", "/error?bytes=20000000"),
    ("random", "/random?bytes=1000000"),
    ("random-small", "/random?bytes=8"),
    ("insecure", "/insecure?bytes=1000000"),
    ("polls", "/polls?bytes=900"),
    ("pollables", "/pollables"),
    ("poll-one", "/poll-one?n=2000000"),
    ("newlines", "/stdout?bytes=65536"),
    ("lines", "/lines?bytes=100"),
    ("long-lines", "/lines?bytes=8000"),
    ("log", "/log?bytes=100"),
    ("fields", "/fields?bytes=120000"),
    ("headers", "/headers?bytes=120000"),
    ("clones", "/clones?bytes=120000"),
    ("bodies", "/bodies?bytes=2097152"),
    ("trailers", "/trailers?bytes=120000"),
    ("paths", "/paths?bytes=60000"),
    ("methods", "/methods?bytes=1000000"),
    ("outgoing", "/outgoing?n=3000&url=ORIGIN"),
];

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Calls of the hostile guest at once.
    #[arg(long, default_value_t = 100)]
    calls: usize,
    /// Seconds over which the neighbour is asked, before and during each way.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only the ways whose names begin so.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    way: String,
}

impl Default for Args {
    fn default() -> Self {
        Self { calls: 100, seconds: 4, way: String::new() }
    }
}

/// What one way cost.
struct Cost {
    before: [f64; 2],
    during: [f64; 2],
    rss_before: f64,
    rss_most: f64,
    rss_after: f64,
    back_after: Duration,
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let question = "what does a hostile guest cost its neighbour, and the host?";
    let mut figure = Figure::new("hostile", question);
    let good = super::read_component(&plugin("hello", Profile::Release)?)?;
    let hostile = super::read_component(&guest_as("hostile", Profile::Release)?)?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let origin = silent.local_addr()?.to_string();
    let mut values = serde_json::Map::new();
    for (name, path) in WAYS.iter().filter(|(name, _)| name.starts_with(&args.way)) {
        let cost = measure(args, &good, &hostile, &origin, path)?;
        let [p50, p99] = cost.during;
        say(&format!(
            "  {name:<12} p50 {:.1} -> {p50:.1} ms, p99 {:.1} -> {p99:.1} ms, memory {:.0} -> {:.0} -> \
             {:.0} MiB in {:.0?}",
            cost.before[0],
            cost.before[1],
            cost.rss_before / MIB,
            cost.rss_most / MIB,
            cost.rss_after / MIB,
            cost.back_after,
        ));
        let what = format!("{name}: half of a neighbour's answers within");
        figure.row(Row::low(format!("{name}_p50"), what, p50, Unit::Ms).bar(BAR_MS));
        let what = format!("{name}: host's memory beyond that of the guests");
        let beyond = cost.rss_most - MEMORY_MIB * MIB * args.calls as f64;
        figure.row(Row::low(format!("{name}_beyond"), what, beyond, Unit::Bytes).bar(BAR_BYTES));
        let what = format!("{name}: what of it stays");
        let stays = cost.rss_after - cost.rss_before;
        figure.row(Row::low(format!("{name}_stays"), what, stays, Unit::Bytes).bar(BAR_BYTES));
        values.insert(
            (*name).to_owned(),
            json!({
                "before_ms_p50_p99": cost.before,
                "during_ms_p50_p99": cost.during,
                "rss_before": cost.rss_before,
                "rss_most": cost.rss_most,
                "rss_after": cost.rss_after,
            }),
        );
    }
    figure.value("ways", values);
    Ok(figure)
}

fn measure(args: &Args, good: &[u8], hostile: &[u8], origin: &str, path: &str) -> Result<Cost> {
    let site = Site::temporary()?;
    // Its calls end soon, so that those at once are always new ones, which costs most.
    let settings = format!(
        "timeout = \"1s\"\nconcurrency = {}\nmemory = \"{MEMORY_MIB}MiB\"\n\
         allow = {{ http = [\"http://{origin}\"] }}\n",
        args.calls
    );
    site.write_manifest(
        &[
            Handler::new("good", "/good").with("instances = \"pooled\"\n"),
            Handler::new("hostile", "/*").with(&settings),
        ],
        "",
    )?;
    site.put("good", good)?;
    site.put("hostile", hostile)?;
    let server = site.start(&["serve"])?;
    let (address, pid) = (server.address(), server.id());
    let time = Duration::from_secs(args.seconds);
    let ask = || -> Result<[f64; 2]> {
        let ms = latencies(address, "/good", 1, RATE, time)?;
        Ok([ms.median(), ms.percentile(99)])
    };
    // Both are compiled and called once.
    for path in ["/good", "/"] {
        latencies(address, path, 1, RATE, Duration::from_millis(50))?;
    }
    let before = ask()?;
    let rss_before = ProcStat::of(pid)?.rss as f64;

    let most = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let runtime = super::load_runtime()?;
    let shape = Shape::get(&path.replace("ORIGIN", origin));
    let during = thread::scope(|scope| -> Result<[f64; 2]> {
        let look = scope.spawn(|| -> Result<()> {
            // Ordering: figures, read when the thread was joined.
            while !is_over.load(Ordering::Relaxed) {
                most.fetch_max(ProcStat::of(pid)?.rss, Ordering::Relaxed);
                thread::sleep(LOOK_EVERY);
            }
            Ok(())
        });
        let plan = LoadPlan { n_connections: args.calls, ..LoadPlan::new(address, vec![shape]) };
        let load = runtime.block_on(async { Load::start(plan) });
        let during = ask();
        let stopped = runtime.block_on(load.stop());
        is_over.store(true, Ordering::Relaxed);
        look.join().map_err(|_| anyhow!("the thread that looks at memory panicked"))??;
        stopped?;
        during
    })?;
    let over_at = Instant::now();
    let rss = || ProcStat::of(pid).map(|stat| stat.rss as f64);
    let mut rss_after = rss()?;
    while rss_after > rss_before + BAR_BYTES / 2.0 && over_at.elapsed() < BACK_WITHIN {
        thread::sleep(LOOK_EVERY * 10);
        rss_after = rss()?;
    }
    let rss_most = most.into_inner() as f64;
    let back_after = over_at.elapsed();
    Ok(Cost { before, during, rss_before, rss_most, rss_after, back_after })
}
