//! How long does the step take in which a swap without a state is published?

use anyhow::{Result, ensure};
use wrt_test_support::guests::{Profile, plugin, variant};
use wrt_test_support::history::History;
use wrt_test_support::load::Shape;
use wrt_test_support::process::Event;

use super::super::swaps::published;
use super::super::{load_runtime, read_component};
use super::{Host, Plan, milliseconds, start, tell};
use crate::report::{Figure, Row, Unit};

/// Milliseconds of the step, which stores a pointer and closes a gate. That takes about one
/// microsecond; the rest is for interruptions, and too little to compile or wait for anything.
const BAR_MS: f64 = 0.05;

pub(super) fn run(plan: Plan) -> Result<Figure> {
    let mut figure = Figure::new(
        "state-publish",
        "how long does a swap without a state take to be published, and does anybody wait for it?",
    );
    let component = read_component(&plugin("hello", Profile::Release)?)?;
    let mut host = Host::with(&component, "")?;
    let mut events: Vec<_> = host.server.events(0);
    events.retain(|event| event.is("swapped"));

    let runtime = load_runtime()?;
    let load = start(&runtime, host.plan(plan.clients, Shape::get("/")));
    let mut n_refused = 0;
    for number in 1..=plan.swaps {
        match host.swap(&variant(&component, number))?.1 {
            Some(event) => events.push(event),
            None => n_refused += 1,
        }
        tell(number, &load);
    }
    let result = runtime.block_on(load.stop())?;
    let milestones = events.iter().filter_map(published).collect();
    let report = History { connections: result.connections, milestones }.check();
    ensure!(report.n_calls > 0, "nobody called");

    let swaps = &events[1..];
    let publish = milliseconds(swaps, "publish_ms");
    figure.line("history", report.to_string());
    let (p50, max) = (publish.median(), publish.max());
    figure.line(
        "publish step",
        match publish.len() {
            0 => "not told by this binary".to_owned(),
            n => format!("p50 {:.1} µs, longest {:.1} µs over {n}", p50 * 1e3, max * 1e3),
        },
    );
    figure.value("publish_ms_p50", p50);
    figure.value("publish_ms_max", max);
    // A binary that does not tell it has no number, which meets no bar.
    let what = "pointer store and close of the predecessor, p99";
    figure.row(Row::low("publish_p99", what, publish.percentile(99), Unit::Ms).bar(BAR_MS));
    let n_held = swaps.iter().filter(|event| has_held(event)).count() as u64;
    let n_violations = (report.n_violations + report.n_unnamed) as u64;
    for (id, what, n) in [
        ("held", "swaps that held a caller", n_held),
        ("failed", "failed calls", report.n_failed as u64),
        ("violations", "calls not served by one generation in order", n_violations),
        ("refused", "swaps that were refused", n_refused),
    ] {
        figure.row(Row::low(id, what, n as f64, Unit::Count).bar(0.0));
    }
    Ok(figure)
}

/// Whether callers were held, or it is not told.
fn has_held(event: &Event) -> bool {
    event.json["pause_ms"].as_f64() != Some(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Instant;

    #[test]
    fn only_a_pause_of_zero_held_nobody() {
        let held = |json| has_held(&Event { heard_at: Instant::now(), json });
        assert!(!held(json!({ "pause_ms": 0.0 })) && !held(json!({ "pause_ms": 0 })));
        assert!(held(json!({ "pause_ms": 0.01 })) && held(json!({})));
    }
}
