//! How many requests does a reload fail or delay? Under an even load whose callers do not wait.
//!
//! Everyone has the load for itself, one after the other: what is counted depends on what a reload
//! does, and little on what else the machine does.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use tokio::runtime::Runtime;
use wrt_test_support::load::{Load, LoadPlan, Shape};

use super::noticed::Noticed;
use super::served::Served;
use super::side::{Side, start};
use crate::numbered::Numbered;
use crate::peers::{Peer, node, note_versions, restart};
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit, say};
use crate::scenarios::load_runtime;
use crate::tools::Tools;

/// Between two reloads, so that each one meets callers who are served.
const PAUSE: Duration = Duration::from_millis(50);

/// What is built before it restarts takes too long for many.
const BUILT_SHARE: usize = 10;

/// How often progress is told, in reloads.
const TOLD_EVERY: usize = 100;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Of wrt.
    pub(super) reloads: usize,
    /// Of the others.
    pub(super) restarts: usize,
    pub(super) connections: usize,
    /// Requests per second.
    pub(super) rate: f64,
}

/// The peers' names in the figure, with the ids and words of their rows.
const PEERS: [(&str, &str, &str); 3] = [
    ("Node.js", "node_failed", "failed requests per 1,000 reloads, Node.js"),
    ("Node.js, 500 ms", "node_debounced_failed", "the same, Node.js after 500 ms"),
    ("watchexec", "watchexec_failed", "the same, `watchexec -r` around `wasmtime serve`"),
];

pub(super) fn run(plan: Plan, tools: &Tools) -> Result<Figure> {
    let mut figure =
        Figure::new("reload-failures", "how many requests does a reload fail or delay?");
    let runtime = load_runtime()?;
    let mut ours = served()?;
    let noticed = measure(&runtime, &mut ours, plan, plan.reloads)?;
    tell(&mut figure, &ours, plan.reloads, &noticed);
    let delayed = noticed.n_delayed as f64 / plan.reloads as f64;
    let gap_ms = noticed.longest_gap.as_secs_f64() * 1e3;
    let failed = per_thousand(noticed.n_failed, plan.reloads);
    for row in [
        Row::low("failed", "failed requests per 1,000 reloads, wrt", failed, Unit::Count).bar(0.0),
        Row::low(
            "delayed",
            "requests delayed by over 50 ms per 1,000 reloads, wrt",
            delayed * 1e3,
            Unit::Count,
        ),
        Row::low("gap", "longest time between two answers, wrt", gap_ms, Unit::Ms),
    ] {
        figure.row(row);
    }
    drop(ours);

    let mut versions = vec![];
    for (name, id, what) in PEERS {
        let peer = || match id {
            "node_failed" => node::restarting(Duration::ZERO),
            "node_debounced_failed" => node::restarting(node::USUAL_DEBOUNCE),
            _ => restart::on_change(tools),
        };
        let Some(mut side) = start(&mut figure, name, || edited(name, peer()?)) else { continue };
        let n_reloads = match id {
            "watchexec_failed" => plan.restarts.div_ceil(BUILT_SHARE),
            _ => plan.restarts,
        };
        match measure(&runtime, &mut side, plan, n_reloads) {
            Ok(noticed) => {
                tell(&mut figure, &side, n_reloads, &noticed);
                let failed = per_thousand(noticed.n_failed, n_reloads);
                figure.row(Row::low(id, what, failed, Unit::Count));
                versions.push(side.version);
            }
            Err(error) => figure.absent(name, &error),
        }
    }
    note_versions(&mut figure, versions.iter().map(String::as_str));
    Ok(figure)
}

/// A server whose source is edited.
fn edited(name: &'static str, peer: Peer) -> Result<Side> {
    let probe = Probe::new(peer.address());
    Side::edited(name, peer, probe)
}

/// `wrt serve --watch` with the plugin `hello`, whose artifact is replaced by one never compiled.
fn served() -> Result<Side> {
    let mut served = Served::start(Numbered::hello()?, Probe::new)?;
    let address = Some(served.address());
    Ok(Side::new("wrt", address, move |number| served.replace(number)))
}

/// Reloads `side` under load; gives what the callers noticed.
fn measure(runtime: &Runtime, side: &mut Side, plan: Plan, n_reloads: usize) -> Result<Noticed> {
    let Some(address) = side.address else { return Ok(Noticed::default()) };
    let plan = LoadPlan {
        n_connections: plan.connections,
        rate: Some(plan.rate),
        catches_up: true,
        ..LoadPlan::new(address, vec![Shape::get("/")])
    };
    let load = runtime.block_on(async { Load::start(plan) });
    for number in 1..=n_reloads {
        thread::sleep(PAUSE);
        side.reload(number)?;
        if number.is_multiple_of(TOLD_EVERY) {
            say(&format!("  {}: {number} reloads, {} calls", side.name, load.n_ended()));
        }
    }
    // The last one may have consequences, too.
    thread::sleep(PAUSE);
    Ok(Noticed::of(&runtime.block_on(load.stop())?.connections))
}

/// Adds a line and values about one side.
fn tell(figure: &mut Figure, side: &Side, n_reloads: usize, noticed: &Noticed) {
    let Noticed { n_calls, n_failed, n_delayed, longest_gap } = noticed;
    let gap_ms = longest_gap.as_secs_f64() * 1e3;
    let text = format!(
        "{n_reloads} reloads, {n_calls} requests: {n_failed} failed, {n_delayed} later than 50 ms, \
         {gap_ms:.0} ms at most without an answer; reload {}",
        side.ms.in_ms()
    );
    figure.line(side.name, text);
    let counts = serde_json::json!({
        "reloads": n_reloads,
        "requests": n_calls,
        "failed": n_failed,
        "delayed": n_delayed,
        "longest_gap_ms": gap_ms,
        "reload_ms_p50": side.ms.median(),
    });
    figure.value(side.name, counts);
}

fn per_thousand(count: usize, n_reloads: usize) -> f64 {
    count as f64 * 1e3 / n_reloads as f64
}
