//! How long from an artifact on disk to its first answer? Next to what its compilation takes.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result};
use wrt_test_support::guests::{Profile, guest, plugin, variant};

use crate::probe::Probe;
use crate::report::{Figure, Row, Unit};
use crate::site::{Site, digest, short, staged};
use crate::stats::Samples;

/// What may be added to the compilation: this share of it, and this many milliseconds.
const BAR: (f64, f64) = (1.15, 15.0);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Artifacts, each put before a server that has just started and knows none like it.
    #[arg(long, default_value_t = 25)]
    rounds: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: 25 }
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "artifact",
        "how long from an artifact on disk to its first answer, beside its compilation?",
    );
    let component = super::read_component(&plugin("hello", Profile::Release)?)?;
    let first = super::read_component(&guest("no_answer")?)?;
    let (mut total_ms, mut compile_ms) = (Samples::default(), Samples::default());
    let mut compiled_by = BTreeMap::<String, u64>::new();
    for number in 1..=args.rounds {
        // A new process in a new directory, serving something else: nothing is cached.
        let site = Site::new(&first)?;
        let server = site.serve()?;
        let candidate = variant(&component, number);
        let digest = digest(&candidate);
        let mut probe = Probe::new(server.address());
        let replaced_at = Instant::now();
        site.replace(&candidate)?;
        let answered_at = probe.wait_for("/", short(&digest))?;
        total_ms.push((answered_at - replaced_at).as_secs_f64() * 1e3);

        let staged = staged(&server, 0, &digest)?;
        let ms = staged.json["compile_ms"].as_f64();
        compile_ms.push(ms.context("expected a number `compile_ms` in the event `staged`")?);
        *compiled_by.entry(staged.text("compiled_by").to_owned()).or_default() += 1;
    }

    let (total, compile) = (total_ms.median(), compile_ms.median());
    let bar = BAR.0 * compile + BAR.1;
    figure.line("replaced to answered", total_ms.in_ms());
    figure.line("compilation in it", compile_ms.in_ms());
    figure.line("compiled by", format!("{compiled_by:?}"));
    figure.line("component", format!("{} KiB", component.len() / 1024));
    figure.value("total_ms_p90", total_ms.percentile(90));
    figure.value("compile_ms_p50", compile);
    figure.value("compiled_by", serde_json::json!(compiled_by));
    let what = format!(
        "artifact replaced to first answer; bar: {} x its compilation + {} ms",
        BAR.0, BAR.1
    );
    figure.row(Row::low("total", what, total, Unit::Ms).bar(bar));
    Ok(figure)
}
