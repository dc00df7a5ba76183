//! How do a swap, a call and memory grow with the number of handlers? Servers of all sizes run beside
//! each other and are measured in turns.

use std::time::Instant;

use anyhow::{Result, ensure};
use wrt_test_support::proc_stat::ProcStat;
use wrt_test_support::process::ServerProcess;

use crate::many::{Many, name, route};
use crate::numbered::Numbered;
use crate::probe::Probe;
use crate::report::plot::{Axis, Plot};
use crate::report::{Figure, Row, Unit, say};
use crate::stats::{Samples, exponent};

/// The largest exponent with which a call or a swap may grow.
const BAR: f64 = 0.05;

/// What the cache may keep in memory: more than the handlers that are called need.
const BUDGET: u64 = 512 << 20;

/// A number that no handler has: handler 0 is swapped to it and back.
const OTHER: usize = 99_999;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Numbers of handlers.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000,10000")]
    sizes: Vec<usize>,
    /// Rounds over all sizes.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Calls of each size in a round.
    #[arg(long, default_value_t = 200)]
    calls: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { sizes: vec![1, 10, 100, 1_000, 10_000], rounds: 30, calls: 200 }
    }
}

/// A server with some number of handlers.
struct Sized {
    // Dropped in this order: the server goes before what it watches.
    _server: ServerProcess,
    many: Many,
    n: usize,
    probe: Probe,
    idle_bytes: f64,
    call_ms: Samples,
    swap_ms: Samples,
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "handlers",
        "how do a swap, a call and memory grow from one handler to ten thousand?",
    );
    let numbered = Numbered::small()?;
    let versions = [numbered.component(OTHER)?, numbered.component(0)?];
    let mut sizes = args.sizes.iter().map(|n| Sized::start(*n)).collect::<Result<Vec<_>>>()?;
    for size in &mut sizes {
        // Both versions are compiled, and everything that is called is in memory.
        size.swap(OTHER, &versions[0])?;
        size.swap(0, &versions[1])?;
        size.call(args.calls)?;
        (size.call_ms, size.swap_ms) = Default::default();
    }
    for round in 0..args.rounds {
        for size in &mut sizes {
            size.call(args.calls)?;
            let number = if round % 2 == 0 { OTHER } else { 0 };
            size.swap(number, &versions[round % 2])?;
        }
    }
    for size in &mut sizes {
        // The site is kept: its handlers are to be those that its cache knows.
        size.many.site.put(&name(0), &versions[1])?;
        say(&format!(
            "  {} handlers: call {}, swap {}, {:.1} MiB before the first call",
            size.n,
            size.call_ms.in_ms(),
            size.swap_ms.in_ms(),
            size.idle_bytes / f64::from(1 << 20)
        ));
    }

    let curve = |of: fn(&Sized) -> f64| -> Vec<(f64, f64)> {
        sizes.iter().map(|size| (size.n as f64, of(size))).collect()
    };
    let calls = curve(|size| size.call_ms.median());
    let swaps = curve(|size| size.swap_ms.median());
    let memory = curve(|size| size.idle_bytes / f64::from(1 << 20));
    let what = "exponent with which the time of a call grows with the number of handlers";
    figure.row(Row::low("call_exponent", what, exponent(&calls), Unit::Exponent).bar(BAR));
    let what = "the same of a swap, artifact replaced to first answer";
    figure.row(Row::low("swap_exponent", what, exponent(&swaps), Unit::Exponent).bar(BAR));
    if let (Some((few, at_few)), Some((most, at_most))) = (memory.first(), memory.last())
        && most > few
    {
        let each = (at_most - at_few) / (most - few) * f64::from(1 << 20);
        let what = "resident memory of a handler that is loaded ahead, before its first call";
        figure.row(Row::low("idle_bytes", what, each, Unit::Bytes));
    }
    for ((n, call), (_, swap)) in calls.iter().zip(&swaps) {
        figure.value(&format!("call_ms_{n}"), *call);
        figure.value(&format!("swap_ms_{n}"), *swap);
    }
    let (x, y) = (Axis::log("handlers"), Axis::log("milliseconds, median"));
    figure.plot(
        Plot::new("time", "A call and a swap, by the number of handlers", x.clone(), y)
            .curve("call", calls)
            .curve("swap", swaps),
    );
    figure.plot(
        Plot::new("memory", "Memory before the first call", x, Axis::log("MiB resident"))
            .curve("wrt serve", memory),
    );
    Ok(figure)
}

impl Sized {
    fn start(n: usize) -> Result<Self> {
        let many = Many::make(n, BUDGET)?;
        let server = many.site.start(&["serve", "--watch"])?;
        let mut probe = Probe::eager(server.address());
        // Which loads one handler; until then the others are being found.
        probe.wait_for(&route(n - 1), &Numbered::words(n - 1))?;
        let idle_bytes = ProcStat::of(server.id())?.rss as f64;
        let (call_ms, swap_ms) = Default::default();
        Ok(Self { _server: server, many, n, probe, idle_bytes, call_ms, swap_ms })
    }

    /// Calls the last handler: one of any number, as many as there is in the smallest. What the code
    /// of several takes of the processor's caches is no matter of how many there are.
    fn call(&mut self, n_calls: usize) -> Result<()> {
        let number = self.n - 1;
        for _ in 0..n_calls {
            let started_at = Instant::now();
            let status = self.probe.get(&route(number))?;
            self.call_ms.push(started_at.elapsed().as_secs_f64() * 1e3);
            ensure!(
                status == 200,
                "handler {number} answered {status}: {:.300}",
                self.probe.text()
            );
        }
        Ok(())
    }

    /// Replaces the artifact of handler 0 and waits for its first answer.
    fn swap(&mut self, number: usize, component: &[u8]) -> Result<()> {
        let replaced_at = Instant::now();
        self.many.site.put(&name(0), component)?;
        let answered_at = self.probe.wait_for(&route(0), &Numbered::words(number))?;
        self.swap_ms.push((answered_at - replaced_at).as_secs_f64() * 1e3);
        Ok(())
    }
}
