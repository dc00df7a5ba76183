//! How long does a swap with a state of 1 MiB hold callers?

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wrt_test_support::guests::{Profile, guest_as, variant};
use wrt_test_support::history::{Call, Outcome};
use wrt_test_support::load::Shape;
use wrt_test_support::process::Event;

use super::super::{load_runtime, read_component};
use super::{Host, Plan, milliseconds, start, tell};
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit};
use crate::stats::Samples;

const SETTINGS: &str = "instances = \"singleton\"\nmax_state = \"2MiB\"";

/// Bytes of state.
const STATE: usize = 1 << 20;

/// Milliseconds that callers may be held, usually and nearly always: to save and restore a MiB
/// takes two, and no user notices twenty.
const P50_MS: f64 = 5.0;
const P99_MS: f64 = 20.0;

pub(super) fn run(plan: Plan) -> Result<Figure> {
    let mut figure =
        Figure::new("state-pause", "how long does a swap with 1 MiB of state hold its callers?");
    // As deployed: what the guest takes to write and read its state is part of the pause.
    let component = read_component(&guest_as("stateful_http", Profile::Release)?)?;
    let mut host = Host::with(&component, SETTINGS)?;
    let before = count(&host, &format!("/?size={STATE}"))?;

    let runtime = load_runtime()?;
    let load = start(&runtime, host.plan(plan.clients, Shape::get("/")));
    let (mut events, mut windows): (Vec<Event>, Vec<_>) = (vec![], vec![]);
    for number in 1..=plan.swaps {
        let (answer, event) = host.swap(&variant(&component, number))?;
        windows.push((answer.asked_at, answer.answered_at));
        events.extend(event);
        tell(number, &load);
    }
    let result = runtime.block_on(load.stop())?;
    let after = count(&host, "/")?;

    let calls: Vec<&Call> = result.connections.iter().flat_map(|log| &log.calls).collect();
    let (mut during, mut n_failed) = (Samples::default(), 0_u64);
    for call in &calls {
        let Some(end) = &call.end else { continue };
        n_failed += u64::from(end.outcome != Outcome::Answered(200));
        if overlaps(&windows, call.started_at, end.at) {
            during.push((end.at - call.started_at).as_secs_f64() * 1e3);
        }
    }
    ensure!(during.len() > 0, "no call was made during a swap");
    let pauses = milliseconds(&events, "pause_ms");
    let n_carried = events.iter().filter(|event| event.text("state") == "carried").count() as u64;
    let (p50, p99) = (during.median(), during.percentile(99));
    let n = during.len();
    figure.line("calls during a swap", format!("p50 {p50:.2} ms, p99 {p99:.2} ms over {n}"));
    figure.value("calls", calls.len());
    figure.value("pause_ms_max", pauses.max());
    for (id, what, value, bar) in [
        ("pause_p50", "callers held for a swap, p50", pauses.median(), P50_MS),
        ("pause_p99", "callers held for a swap, p99", pauses.percentile(99), P99_MS),
    ] {
        figure.row(Row::low(id, what, value, Unit::Ms).bar(bar));
    }
    // The swap's compilation, on the same processors, is part of what callers see.
    let what = "longest call during a swap, as its client saw it";
    figure.row(Row::low("longest_call", what, during.max(), Unit::Ms));
    let expected = before + calls.len() as u64 + 1;
    for (id, what, n) in [
        ("failed", "failed calls", n_failed),
        ("miscounted", "calls that the state has lost or doubled", after.abs_diff(expected)),
        ("not_carried", "swaps that did not carry the state", plan.swaps - n_carried),
    ] {
        figure.row(Row::low(id, what, n as f64, Unit::Count).bar(0.0));
    }
    Ok(figure)
}

/// Calls `path`, which counts; gives the count.
fn count(host: &Host, path: &str) -> Result<u64> {
    let mut probe = Probe::new(host.server.address());
    let status = probe.get(path)?;
    ensure!(status == 200, "expected status 200, found {}", probe.text());
    let text = probe.text();
    let (_, body) = text.rsplit_once("\r\n\r\n").context("expected an answer with a body")?;
    let json: Value = serde_json::from_str(body).context("expected JSON from the guest")?;
    json["count"].as_u64().context("expected a count from the guest")
}

/// Whether one of `windows`, which follow each other, shares an instant with this time.
fn overlaps(windows: &[(Instant, Instant)], from: Instant, to: Instant) -> bool {
    let next = windows.partition_point(|(_, end)| *end < from);
    windows.get(next).is_some_and(|(begin, _)| *begin <= to)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn call_is_during_a_swap_when_they_share_an_instant() {
        let origin = Instant::now();
        let at = |ms| origin + Duration::from_millis(ms);
        let windows = [(at(10), at(20)), (at(30), at(40))];
        let during = |from, to| overlaps(&windows, at(from), at(to));
        for (from, to) in [(0, 10), (5, 50), (12, 13), (20, 21), (25, 30), (39, 60)] {
            assert!(during(from, to), "{from} to {to}");
        }
        for (from, to) in [(0, 9), (21, 29), (41, 90)] {
            assert!(!during(from, to), "{from} to {to}");
        }
        assert!(!overlaps(&[], at(0), at(1)));
    }
}
