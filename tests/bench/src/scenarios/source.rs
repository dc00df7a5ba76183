//! How long from saved source to its first answer? In turns with a bare build of the same change.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use wrt_test_support::process::{Ready, ServerProcess, wrt_binary};

use crate::probe::Probe;
use crate::project::Project;
use crate::report::{Figure, Row, Unit};
use crate::stats::Samples;

/// Milliseconds that may be added to the bare build.
const BAR_MS: f64 = 80.0;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Edits on each side.
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
        "source",
        "how long from saved source to its first answer, beside a bare `cargo build`?",
    );
    let (served, bare) = (Project::copy()?, Project::copy()?);
    let server = dev(&served)?;
    let mut probe = Probe::new(server.address());
    // The first build of each side compiles all dependencies.
    bare.build()?;
    probe.wait_for("/", "<h1>")?;

    let (mut total_ms, mut bare_ms) = (Samples::default(), Samples::default());
    let mut added_ms = Samples::default();
    for number in 1..=args.rounds {
        let greeting = format!("edit {number}");
        let edited = |project: &Project| -> Result<Instant> {
            let saved_at = Instant::now();
            project.edit(&greeting).map(|()| saved_at)
        };
        let (mut total, mut build) = (f64::NAN, f64::NAN);
        // Who goes first changes, so that neither side always follows the other's work.
        for side in [number % 2, (number + 1) % 2] {
            if side == 0 {
                let saved_at = edited(&served)?;
                let answered_at = probe.wait_for("/", &format!("<h1>{greeting}</h1>"))?;
                total = (answered_at - saved_at).as_secs_f64() * 1e3;
            } else {
                let saved_at = edited(&bare)?;
                bare.build()?;
                build = saved_at.elapsed().as_secs_f64() * 1e3;
            }
        }
        total_ms.push(total);
        bare_ms.push(build);
        added_ms.push(total - build);
    }

    let (total, build) = (total_ms.median(), bare_ms.median());
    figure.line("saved to answered", total_ms.in_ms());
    figure.line("bare cargo build", bare_ms.in_ms());
    // Serving includes a build, so a median well below zero, or a spread wider than the bar, says
    // that the machine was busy and nothing about wrt.
    let spread = [10, 50, 90].map(|percent| added_ms.percentile(percent));
    let [p10, p50, p90] = spread;
    figure.line("added, by round", format!("p10 {p10:.1} ms, p50 {p50:.1} ms, p90 {p90:.1} ms"));
    figure.value("added_ms_p10_p50_p90", spread.to_vec());
    figure.value("total_ms_p90", total_ms.percentile(90));
    figure.value("bare_ms_p50", build);
    let what = format!("source saved to first answer; bar: bare `cargo build` + {BAR_MS} ms");
    figure.row(Row::low("total", what, total, Unit::Ms).bar(build + BAR_MS));
    Ok(figure)
}

/// Starts `wrt dev` on `project`.
pub(super) fn dev(project: &Project) -> Result<ServerProcess> {
    let mut command = Command::new(wrt_binary()?);
    command.args([Path::new("dev"), project.path()]).args(["--listen", "127.0.0.1:0", "--json"]);
    project.prepare(&mut command);
    ServerProcess::start(command, Ready::WRT)
}
