//! How long from saved source to its first answer, beside other ways to work on a server?
//!
//! All sides serve and watch at the same time, under a light steady load each; edits go to one side
//! after the other, so that only one of them is at work.

use std::collections::BTreeMap;

use anyhow::Result;
use tokio::runtime::Runtime;
use wrt_test_support::history::{History, Report};
use wrt_test_support::load::{Load, LoadPlan, Shape};

use super::side::{Side, round, start};
use crate::peers::{Peer, dylib, node, note_versions, restart};
use crate::probe::Probe;
use crate::project::Project;
use crate::report::{Figure, Row, Unit};
use crate::scenarios::{load_runtime, source};
use crate::tools::Tools;

/// How many times faster than a rebuild and a restart wrt has to be.
const RESTART_BAR: f64 = 4.0;

/// The same beside a script's restart after the usual debounce, although nothing is compiled there.
const NODE_BAR: f64 = 1.0;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Of each side.
    pub(super) edits: usize,
    /// Requests per second to each server.
    pub(super) rate: f64,
}

/// The peers' names in the figure, with their ids, what their rows say and their bars.
const PEERS: [(&str, &str, &str, Option<f64>); 4] = [
    (
        "Node.js",
        "node",
        "times faster than a Node.js worker that restarts after 500 ms",
        Some(NODE_BAR),
    ),
    (
        "watchexec",
        "watchexec",
        "times faster than `watchexec -r`, release build and `wasmtime serve`",
        Some(RESTART_BAR),
    ),
    ("hot-lib-reloader", "dylib", "the same, beside a native library that is reloaded", None),
    ("bare cargo build", "cargo", "the same, beside a bare `cargo build`", None),
];

pub(super) fn run(plan: Plan, tools: &Tools) -> Result<Figure> {
    let mut figure = Figure::new(
        "reload-source",
        "how long from saved source to its first answer, beside other ways to work on a server?",
    );
    let mut ours = edited("wrt dev", developed()?)?;
    let mut peers = vec![];
    for (name, id, ..) in PEERS {
        peers.extend(start(&mut figure, name, || match id {
            "node" => edited(name, node::restarting(node::USUAL_DEBOUNCE)?),
            "watchexec" => edited(name, restart::on_change(tools)?),
            "dylib" => edited(name, dylib::reloading()?),
            _ => Side::built(name, Project::copy()?),
        }));
    }

    let runtime = load_runtime()?;
    let sides = [&ours].into_iter().chain(&peers);
    let loads: Vec<_> =
        sides.filter_map(|side| Some((side.name, load(&runtime, plan.rate, side)?))).collect();
    for number in 1..=plan.edits {
        round(&mut figure, number, &mut ours, &mut peers)?;
    }

    let mut reports = BTreeMap::new();
    for (name, load) in loads {
        reports.insert(name, judged(&runtime, load)?);
    }
    let text = |side: &Side| {
        let failed = reports
            .get(side.name)
            .map(|report| format!("; {} of {} requests failed", report.n_failed, report.n_calls));
        side.ms.in_ms() + &failed.unwrap_or_default()
    };
    let n_failed = reports.get(ours.name).map_or(f64::NAN, |report| report.n_failed as f64);
    let p50 = ours.ms.median();
    figure.line(ours.name, text(&ours));
    figure.row(Row::low("wrt", "source saved to first answer, `wrt dev`", p50, Unit::Ms));
    for (name, id, what, bar) in PEERS {
        let Some(peer) = peers.iter().find(|peer| peer.name == name) else { continue };
        figure.line(name, text(peer));
        figure.value(&format!("{id}_ms_p50"), peer.ms.median());
        let row = Row::high(id, what, peer.ms.median() / p50, Unit::Times);
        figure.row(match bar {
            Some(bar) => row.bar(bar),
            None => row,
        });
    }
    let what = "failed requests meanwhile, `wrt dev`";
    figure.row(Row::low("failed", what, n_failed, Unit::Count).bar(0.0));
    note_versions(&mut figure, peers.iter().map(|peer| peer.version.as_str()));
    Ok(figure)
}

/// A server whose source is edited; asked so rarely that its compiler has the processor.
fn edited(name: &'static str, peer: Peer) -> Result<Side> {
    let probe = Probe::new(peer.address());
    Side::edited(name, peer, probe)
}

/// `wrt dev` on a copy of the plugin `hello`.
fn developed() -> Result<Peer> {
    let project = Project::copy()?;
    let server = source::dev(&project)?;
    Ok(Peer::new(server, String::new(), move |text| project.edit(text)))
}

/// The load on `side`, if it is a server.
fn load(runtime: &Runtime, rate: f64, side: &Side) -> Option<Load> {
    let shapes = vec![Shape::get("/")];
    let plan =
        LoadPlan { n_connections: 2, rate: Some(rate), ..LoadPlan::new(side.address?, shapes) };
    Some(runtime.block_on(async { Load::start(plan) }))
}

fn judged(runtime: &Runtime, load: Load) -> Result<Report> {
    let connections = runtime.block_on(load.stop())?.connections;
    Ok(History { connections, milestones: vec![] }.check())
}
