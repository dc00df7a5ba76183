//! What does a chain of five plugin calls with 50 KiB of JSON cost? Beside plugins as processes.
//!
//! Each step is written as its language suggests: those in Node.js and Python read the document, change
//! it and write it, the one in Rust reads what it needs and patches the text.

mod chain;
mod document;

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wrt::InstanceMode;
use wrt_test_support::guests::{Profile, guest_as};

use crate::peers::note_versions;
use crate::peers::plugin::Language;
use crate::report::{Figure, Row, Unit, say};
use crate::stats::Samples;
use chain::Chain;

/// How many times faster wrt has to be than a process for each call.
const PROCESS_BAR: f64 = 100.0;

/// The same of warm instances beside processes that are warm.
const WARM_BAR: f64 = 3.0;

/// Chains of what stays warm before the first that counts: it is compiled better meanwhile.
const WARM_UP: usize = 200;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Rounds in which everyone has a turn.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Chains in a turn of what is warm; a process for each call has one.
    #[arg(long, default_value_t = 25)]
    chains: usize,
    /// Records of the document, of some 123 bytes each.
    #[arg(long, default_value_t = 417)]
    records: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: 20, chains: 25, records: 417 }
    }
}

/// How the steps of a chain are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// By wrt, within this process.
    Wrt,
    /// By processes that wait for calls.
    Warm,
    /// By a process for each call.
    Process,
}

/// A way to run the chain, with its measurements.
struct Way {
    name: &'static str,
    kind: Kind,
    chain: Chain,
    ms: Samples,
}

impl Way {
    /// Warms the chain up, and sees that it does what all others do.
    fn new(name: &'static str, kind: Kind, mut chain: Chain, document: &[u8]) -> Result<Self> {
        let answer: Value = serde_json::from_slice(&chain.run(document)?)
            .with_context(|| format!("failed to read the answer of `{name}`"))?;
        let is_right = answer == document::after_all_steps(document)?;
        ensure!(is_right, "expected another document of `{name}`");
        let n_before = if kind == Kind::Process { 0 } else { WARM_UP };
        for _ in 0..n_before {
            chain.run(document)?;
        }
        Ok(Self { name, kind, chain, ms: Samples::default() })
    }

    fn turn(&mut self, n_chains: usize, document: &[u8]) -> Result<()> {
        for _ in 0..n_chains {
            let started_at = Instant::now();
            self.chain.run(document)?;
            self.ms.push(started_at.elapsed().as_secs_f64() * 1e3);
        }
        Ok(())
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "workflow",
        "what does a chain of five plugin calls with 50 KiB of JSON cost, beside processes?",
    );
    let document = document::with_records(args.records);
    let component = super::read_component(&guest_as("event_step", Profile::Release)?)?;
    let wrt = |instances| Chain::wrt(&component, instances);
    let mut ways = vec![
        Way::new("wrt", Kind::Wrt, wrt(InstanceMode::Fresh)?, &document)?,
        Way::new("wrt, pooled", Kind::Wrt, wrt(InstanceMode::pooled())?, &document)?,
    ];
    let n_ours = ways.len();
    let mut versions = vec![];
    for (language, warm, process) in [
        (Language::node(), "Node.js, warm", "Node.js, a process each"),
        (Language::python(), "Python, warm", "Python, a process each"),
    ] {
        let started = language.and_then(|language| {
            let one = Way::new(warm, Kind::Warm, Chain::warm(&language)?, &document)?;
            versions.push(language.version.clone());
            let other = Way::new(process, Kind::Process, Chain::processes(language), &document)?;
            Ok([one, other])
        });
        match started {
            Ok(both) => ways.extend(both),
            Err(error) => figure.absent(warm, &error),
        }
    }

    for number in 1..=args.rounds {
        // Who goes first changes, so that nobody always follows the same other one.
        let n_ways = ways.len();
        for i in 0..n_ways {
            let way = &mut ways[(i + number) % n_ways];
            let n_chains = if way.kind == Kind::Process { 1 } else { args.chains };
            way.turn(n_chains, &document)?;
        }
    }
    say(&format!("  {} rounds", args.rounds));

    let (fresh, pooled) = (ways[0].ms.median(), ways[1].ms.median());
    figure.line("document", format!("{:.1} KiB", document.len() as f64 / 1024.0));
    figure.line(
        "steps",
        "of wrt patch the text of the document, the others read and write all of it".to_owned(),
    );
    for (i, way) in ways.iter().enumerate() {
        figure.line(way.name, way.ms.in_ms());
        if i >= n_ours {
            figure.value(&format!("{}_ms_p50", way.name), way.ms.median());
        }
    }
    figure.row(Row::low("wrt", "a chain of five calls, a fresh instance each", fresh, Unit::Ms));
    figure.row(Row::low("wrt_pooled", "the same, pooled instances", pooled, Unit::Ms));
    // Each beside its like: new with new, warm with warm.
    for (id, what, kind, ours, bar) in [
        (
            "process",
            "fresh, times faster than a process for each call",
            Kind::Process,
            fresh,
            Some(PROCESS_BAR),
        ),
        (
            "warm",
            "pooled, times faster than warm processes, one JSON a line",
            Kind::Warm,
            pooled,
            Some(WARM_BAR),
        ),
        ("warm_fresh", "fresh, times faster than warm processes", Kind::Warm, fresh, None),
    ] {
        let of_kind = ways.iter().filter(|way| way.kind == kind);
        let fastest = of_kind.min_by(|a, b| a.ms.median().total_cmp(&b.ms.median()));
        if let Some(fastest) = fastest {
            let what = format!("{what} ({})", fastest.name);
            let row = Row::high(id, what, fastest.ms.median() / ours, Unit::Times);
            figure.row(match bar {
                Some(bar) => row.bar(bar),
                None => row,
            });
        }
    }
    note_versions(&mut figure, versions.iter().map(String::as_str));
    Ok(figure)
}
