//! How soon does a process answer, with few and many handlers, with and without compiled code on disk?

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use wrt_test_support::process::{Ready, ServerProcess};

use crate::many::{Many, name, route};
use crate::numbered::Numbered;
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit, say};
use crate::site::Site;
use crate::stats::Samples;
use crate::tools::Tools;

/// Milliseconds from the start of the process to the first answer, whatever the number of handlers.
const BAR_MS: f64 = 1000.0;

/// What the cache may keep in memory.
const BUDGET: u64 = 512 << 20;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Numbers of handlers.
    #[arg(long, value_delimiter = ',', default_value = "1,100,10000")]
    sizes: Vec<usize>,
    /// Starts of each.
    #[arg(long, default_value_t = 7)]
    starts: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { sizes: vec![1, 100, 10_000], starts: 7 }
    }
}

/// Where the compiled code is at a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cache {
    Warm,
    Cold,
}

pub(crate) fn run(args: &Args, tools: &Tools) -> Result<Figure> {
    let mut figure = Figure::new(
        "start",
        "how soon after its start does a process answer, beside `wasmtime serve`?",
    );
    let sites = args.sizes.iter().map(|n| Ok((*n, Many::make(*n, BUDGET)?)));
    let sites = sites.collect::<Result<Vec<_>>>()?;
    let wasmtime = tools.path("wasmtime");
    let component = sites.first().map(|(_, many)| many.site.component(&name(0)));
    let mut ours = vec![(Samples::default(), Samples::default()); sites.len()];
    let mut theirs = Samples::default();
    for number in 0..args.starts {
        for ((n, many), (warm, cold)) in sites.iter().zip(&mut ours) {
            let asked = number * n / args.starts;
            warm.push(start(&many.site, asked, Cache::Warm)?);
            cold.push(start(&many.site, asked, Cache::Cold)?);
        }
        if let (Ok(wasmtime), Some(component)) = (&wasmtime, &component) {
            let mut command = Command::new(wasmtime);
            command.args(["serve", "-S", "cli,config", "--addr", "127.0.0.1:0"]).arg(component);
            let start = || ServerProcess::start(command, Ready::WASMTIME);
            theirs.push(timed(start, ServerProcess::address, "/", &Numbered::words(0))?);
        }
    }
    for ((n, _), (warm, cold)) in sites.iter().zip(&ours) {
        say(&format!("  {n} handlers: compiled {}; not {}", warm.in_ms(), cold.in_ms()));
        let what = format!("start to first answer with {n} handlers, compiled before");
        let row = Row::low(format!("warm_{n}"), what, warm.median(), Unit::Ms);
        figure.row(row.bar(BAR_MS));
        let what = format!("the same with {n} handlers and an empty cache");
        figure.row(Row::low(format!("cold_{n}"), what, cold.median(), Unit::Ms));
    }
    match wasmtime {
        Ok(_) => {
            let what = "the same of `wasmtime serve`, which has one handler and no cache";
            figure.row(Row::low("wasmtime", what, theirs.median(), Unit::Ms));
        }
        Err(error) => figure.absent("wasmtime serve", &error),
    }
    Ok(figure)
}

/// Milliseconds from the start of `wrt serve` in `site` to the first answer of handler `asked`.
fn start(site: &Site, asked: usize, cache: Cache) -> Result<f64> {
    let (dir, aside) = (site.path("cache"), site.path("cache-aside"));
    let moved = || format!("failed to move `{}`", dir.display());
    if cache == Cache::Cold {
        fs::rename(&dir, &aside).with_context(moved)?;
    }
    let start = || site.start(&["serve"]);
    let ms = timed(start, ServerProcess::address, &route(asked), &Numbered::words(asked));
    if cache == Cache::Cold {
        // What this start has compiled is not kept.
        fs::remove_dir_all(&dir).with_context(moved)?;
        fs::rename(&aside, &dir).with_context(moved)?;
    }
    ms
}

/// Milliseconds until what `start` starts has `words` at `path`; it is ended then.
fn timed<S>(
    start: impl FnOnce() -> Result<S>,
    address: impl Fn(&S) -> SocketAddr,
    path: &str,
    words: &str,
) -> Result<f64> {
    let started_at = Instant::now();
    let server = start()?;
    let answered_at = Probe::eager(address(&server)).wait_for(path, words)?;
    Ok((answered_at - started_at).as_secs_f64() * 1e3)
}
