//! How long from a built artifact to its first answer, beside a script that needs no build?

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::served::Served;
use super::side::{Side, start};
use crate::numbered::Numbered;
use crate::peers::{node, note_versions};
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit};
use crate::stats::Samples;

/// How many times faster than the script's restart an artifact is whose code is known.
const KNOWN_BAR: f64 = 10.0;

/// The same for one that has to be compiled first.
const NEW_BAR: f64 = 2.0;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Of each kind.
    pub(super) artifacts: usize,
}

/// Replacements of one kind.
#[derive(Default)]
struct Replaced {
    ms: Samples,
    compiled_by: BTreeMap<String, usize>,
}

impl Replaced {
    fn replace(&mut self, served: &mut Served, number: usize) -> Result<()> {
        let (ms, staged) = served.replace_and_settle(number)?;
        self.ms.push(ms);
        *self.compiled_by.entry(staged.text("compiled_by").to_owned()).or_default() += 1;
        Ok(())
    }
}

pub(super) fn run(plan: Plan) -> Result<Figure> {
    let mut figure = Figure::new(
        "reload-artifact",
        "how long from a built artifact to its first answer, beside a script without a build?",
    );
    let mut served = Served::start(Numbered::small()?, Probe::eager)?;
    let name = "Node.js";
    let mut node = start(&mut figure, name, || {
        let peer = node::restarting(Duration::ZERO)?;
        let probe = Probe::eager(peer.address());
        Side::edited(name, peer, probe)
    });

    let (mut new, mut known) = (Replaced::default(), Replaced::default());
    for number in 1..=plan.artifacts {
        new.replace(&mut served, number)?;
        // The first one of all, which has been compiled at the start.
        known.replace(&mut served, 0)?;
        if let Some(Err(error)) = node.as_mut().map(|node| node.reload(number)) {
            figure.absent(name, &error);
            node = None;
        }
    }

    figure.line("component", format!("{} KiB", served.len() / 1024));
    for (id, name, what, replaced) in [
        ("known", "compiled before", "artifact replaced to first answer, compiled before", &known),
        ("new", "never compiled", "artifact replaced to first answer, never compiled", &new),
    ] {
        let text = format!("{}; compiled by {:?}", replaced.ms.in_ms(), replaced.compiled_by);
        figure.line(name, text);
        figure.row(Row::low(id, what, replaced.ms.median(), Unit::Ms));
    }
    let Some(node) = node else { return Ok(figure) };
    figure.line(name, node.ms.in_ms());
    figure.value("node_ms_p50", node.ms.median());
    for (id, what, replaced, bar) in [
        ("node_known", "times faster than a Node.js restart, compiled before", &known, KNOWN_BAR),
        ("node_new", "times faster than a Node.js restart, never compiled", &new, NEW_BAR),
    ] {
        let ratio = node.ms.median() / replaced.ms.median();
        figure.row(Row::high(id, what, ratio, Unit::Times).bar(bar));
    }
    note_versions(&mut figure, [node.version.as_str()]);
    Ok(figure)
}
