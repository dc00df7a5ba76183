//! Does a swap lose or double a count that is kept in memory?

use anyhow::{Context as _, Result, ensure};
use wrt_test_support::guests::{Profile, plugin, variant};
use wrt_test_support::history::History;
use wrt_test_support::load::Shape;

use super::super::swaps::published;
use super::super::{load_runtime, read_component};
use super::{Host, Plan, milliseconds, start, tell};
use crate::counts::Counts;
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit};

const SETTINGS: &str = "instances = \"singleton\"";

pub(super) fn run(plan: Plan) -> Result<Figure> {
    let mut figure = Figure::new(
        "state-counter",
        "does a swap lose or double a count that is kept in memory, while 64 clients add to it?",
    );
    let component = read_component(&plugin("counter", Profile::Release)?)?;
    let mut host = Host::with(&component, SETTINGS)?;
    let mut events: Vec<_> = host.server.events(0);
    events.retain(|event| event.is("swapped"));

    let runtime = load_runtime()?;
    let shape = Shape::post("/", 0).with_number();
    let load = start(&runtime, host.plan(plan.clients, shape));
    let mut n_refused = 0;
    for number in 1..=plan.swaps {
        match host.swap(&variant(&component, number))?.1 {
            Some(event) => events.push(event),
            None => n_refused += 1,
        }
        tell(number, &load);
    }
    let result = runtime.block_on(load.stop())?;
    let seconds = result.elapsed.as_secs_f64();
    let counts = Counts::of(result.connections.iter().map(|log| log.counts.as_slice()));
    let milestones = events.iter().filter_map(published).collect();
    let report = History { connections: result.connections, milestones }.check();
    ensure!(counts.n > 0, "nobody was answered: {report}");
    // What is left when all callers have gone is what they were told last.
    let mut probe = Probe::new(host.server.address());
    probe.get("/")?;
    let text = probe.text();
    let (_, left) = text.rsplit_once("\r\n\r\n").context("expected an answer with a body")?;
    let left: u64 = left.trim().parse().context("expected the count")?;

    let swaps = &events[1..];
    let pauses = milliseconds(swaps, "pause_ms");
    let n_carried = swaps.iter().filter(|event| event.text("state") == "carried").count() as u64;
    figure.line("history", report.to_string());
    figure.line("counts", format!("{counts:?}, {left} in the end"));
    figure.value("calls", report.n_calls);
    figure.value("generations_seen", report.n_generations);
    let n_violations = report.n_violations + report.n_unnamed;
    for (id, what, count) in [
        ("failed", "failed calls", report.n_failed as u64),
        ("lost", "counts that were lost", counts.n_lost + left.abs_diff(counts.n)),
        ("doubled", "answers that were doubled", counts.n_doubled),
        ("backward", "answers that went back", counts.n_backward),
        ("violations", "calls not served by one generation in order", n_violations as u64),
        ("connections_lost", "lost connections", result.n_reconnects),
        ("not_carried", "swaps that did not carry the state", plan.swaps - n_carried),
        ("refused", "swaps that were refused", n_refused),
    ] {
        figure.row(Row::low(id, what, count as f64, Unit::Count).bar(0.0));
    }
    for (id, what, value) in [
        ("pause_p50", "callers held for a swap, p50", pauses.median()),
        ("pause_p99", "callers held for a swap, p99", pauses.percentile(99)),
        ("pause_max", "callers held for a swap, longest", pauses.max()),
    ] {
        figure.row(Row::low(id, what, value, Unit::Ms));
    }
    let per_second = report.n_calls as f64 / seconds;
    figure.row(Row::high(
        "calls_per_second",
        "calls per second meanwhile",
        per_second,
        Unit::Count,
    ));
    Ok(figure)
}
