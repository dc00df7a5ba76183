//! Ten thousand handlers in one process: how soon does it answer, how much memory, how long a call?

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use wrt_test_support::process::ServerProcess;

use crate::many::{Many, route};
use crate::numbered::Numbered;
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit, say};
use crate::stats::Samples;
use crate::trace;

/// Milliseconds from the start of the process to the first answer.
const START_MS: f64 = 1000.0;

/// What the cache may keep in memory.
const BUDGET: u64 = 512 << 20;

/// Resident memory, at its highest, under that budget.
const RESIDENT: f64 = 900.0 * (1 << 20) as f64;

/// Milliseconds of a call whose handler comes back from disk, for 99 of 100 of them.
const FROM_DISK_MS: f64 = 10.0;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Handlers, each a component of its own.
    #[arg(long, default_value_t = 10_000)]
    handlers: usize,
    /// Calls, one after the other.
    #[arg(long, default_value_t = 100_000)]
    calls: usize,
    /// How much rarer the less popular are: the k-th has 1/k^EXPONENT of the first one's calls.
    #[arg(long, default_value_t = 1.0)]
    exponent: f64,
    /// Seed of the trace.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Starts of the process.
    #[arg(long, default_value_t = 5)]
    starts: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { handlers: 10_000, calls: 100_000, exponent: 1.0, seed: 42, starts: 5 }
    }
}

/// Calls by where the handler's code was, in milliseconds.
#[derive(Debug, Default)]
struct Calls {
    hits: Samples,
    from_disk: Samples,
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "scale",
        "with ten thousand handlers, how soon is the first answer, and what do calls cost in \
         memory and time?",
    );
    let many = Many::make(args.handlers, BUDGET)?;
    let (site, cached) = (&many.site, &many.cached);
    let of_code = |name: &str| cached.pointer(&format!("/kinds/code/{name}"))?.as_f64();
    let (entries, bytes) = of_code("entries").zip(of_code("bytes")).with_context(|| {
        format!("expected the entries with code from `wrt cache stat --json`, found {cached}")
    })?;
    ensure!(entries >= args.handlers as f64, "expected code of every handler, found {cached}");
    let entry = bytes / entries;
    figure.line("component", format!("{} KiB", many.component_len / 1024));
    figure.line(
        "compiled",
        format!("{:.0} KiB each, {:.0} MiB in all", entry / 1024.0, bytes / f64::from(1 << 20)),
    );

    let mut start_ms = Samples::default();
    for number in 0..args.starts {
        let asked = number * args.handlers / args.starts;
        let started_at = Instant::now();
        let server = site.start(&["serve"])?;
        let mut probe = Probe::eager(server.address());
        let answered_at = probe.wait_for(&route(asked), &Numbered::words(asked))?;
        start_ms.push((answered_at - started_at).as_secs_f64() * 1e3);
    }
    say(&format!("  start to first answer: {}", start_ms.in_ms()));
    let what = format!("start to first answer with {} handlers", args.handlers);
    figure.row(Row::low("start", what, start_ms.median(), Unit::Ms).bar(START_MS));

    let trace = trace::zipf(args.handlers, args.calls, args.exponent, args.seed);
    let server = site.start(&["serve"])?;
    let Calls { hits, from_disk } = call_all(&server, &trace, entry)?;
    let peak = peak_memory(server.id())?;
    let n_compiled = n_compiled(&server);

    // What code takes in memory only the host knows; what it takes on disk is close to that.
    let n_places = (BUDGET as f64 / entry) as usize;
    let of_all = |n_hits: usize| n_hits as f64 / trace.len() as f64;
    let lru = trace::lru_hits(&trace, n_places);
    let optimum = trace::optimal_hits(&trace, n_places);
    figure.line("hits", hits.in_ms());
    figure.line("from disk", from_disk.in_ms());
    figure.line("room", format!("the budget takes {n_places} of {} handlers", args.handlers));
    let as_many = places(&trace, hits.len());
    figure.line("as good as", format!("an LRU with room for {as_many} handlers"));
    figure.value("compiled_bytes_each", entry);
    figure.value("places", n_places);
    figure.value("as_good_as_lru_of", as_many);
    figure.row(
        Row::low("memory", "peak resident memory over the trace", peak, Unit::Bytes).bar(RESIDENT),
    );
    figure.row(Row::low("hit_p50", "call of a handler in memory, p50", hits.median(), Unit::Ms));
    let p99 = |samples: &Samples| samples.percentile(99);
    figure.row(Row::low("hit_p99", "call of a handler in memory, p99", p99(&hits), Unit::Ms));
    let what = "call of a handler that comes back from disk, p99";
    figure.row(Row::low("disk_p99", what, p99(&from_disk), Unit::Ms).bar(FROM_DISK_MS));
    figure.row(Row::high("hits", "calls answered from memory", of_all(hits.len()), Unit::Share));
    let what = "the same of an LRU with room for the budget's worth, computed";
    figure.row(Row::high("hits_lru", what, of_all(lru), Unit::Share));
    let what = "the same of the optimum (Belady), computed";
    figure.row(Row::high("hits_optimum", what, of_all(optimum), Unit::Share));
    let what = "handlers compiled although their code was on disk";
    figure.row(Row::low("compiled", what, n_compiled as f64, Unit::Count).bar(0.0));
    Ok(figure)
}

/// Makes every call of `trace`; an answer that is not the called handler's own ends the scenario.
///
/// Whether code came from disk the kernel tells: it counts what the process reads, and a compiled
/// form takes `entry` bytes. The calls come one after the other, so nothing else is read meanwhile.
fn call_all(server: &ServerProcess, trace: &[usize], entry: f64) -> Result<Calls> {
    let mut probe = Probe::new(server.address());
    let mut calls = Calls::default();
    let mut n_read = bytes_read(server.id())?;
    for (n_done, &number) in trace.iter().enumerate() {
        let started_at = Instant::now();
        let status = probe.get(&route(number))?;
        let ms = started_at.elapsed().as_secs_f64() * 1e3;
        let is_right = status == 200 && probe.has(&Numbered::words(number));
        ensure!(is_right, "handler {number} answered {status}: {:.300}", probe.text());
        let n_read_before = std::mem::replace(&mut n_read, bytes_read(server.id())?);
        // Requests are read too; half an entry is far from both.
        let came_from_disk = n_read - n_read_before >= entry / 2.0;
        if came_from_disk { &mut calls.from_disk } else { &mut calls.hits }.push(ms);
        if (n_done + 1) % 20_000 == 0 {
            say(&format!("  {} calls", n_done + 1));
        }
    }
    Ok(calls)
}

/// The fewest places with which an LRU answers at least `n_hits` calls of `trace`.
fn places(trace: &[usize], n_hits: usize) -> usize {
    // More places never have fewer hits, with this policy.
    let sizes: Vec<_> = (0..=trace.len()).collect();
    sizes.partition_point(|n_places| trace::lru_hits(trace, *n_places) < n_hits)
}

fn n_compiled(server: &ServerProcess) -> usize {
    let events = server.events(0);
    let staged = events.iter().filter(|event| event.is("staged"));
    staged.filter(|event| event.text("compiled_by") != "disk").count()
}

/// Bytes that process `pid` has read so far, from files and sockets.
fn bytes_read(pid: u32) -> Result<f64> {
    field(&format!("/proc/{pid}/io"), "rchar:")
}

/// The most memory that process `pid` has held so far, as the kernel kept count.
fn peak_memory(pid: u32) -> Result<f64> {
    // The kernel's unit is always `kB`, meaning KiB.
    field(&format!("/proc/{pid}/status"), "VmHWM:").map(|kib| kib * 1024.0)
}

/// The number behind `name` in what the kernel says at `path`.
fn field(path: &str, name: &str) -> Result<f64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    value.with_context(|| format!("expected a field `{name}` in `{path}`, found none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_the_least_that_an_lru_needs() {
        let trace = trace::zipf(50, 2000, 1.0, 3);
        for n_places in [1, 7, 30] {
            let found = places(&trace, trace::lru_hits(&trace, n_places));
            assert!(found <= n_places, "{found} for {n_places}");
            assert_eq!(trace::lru_hits(&trace, found), trace::lru_hits(&trace, n_places));
        }
    }
}
