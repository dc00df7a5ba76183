//! Measures what wrt promises and says for each figure whether its bar is met.
//!
//! Run as `cargo run -p wrt-bench -- swaps`, or `artifact`, `source`, `today`, `throughput`,
//! `growth`, `all`. Each scenario states its question, measures the two sides of a ratio in turns
//! within one run, and prints medians, the bar, and PASS or FAIL; `--json FILE` keeps the figures.
//! `today` and `throughput` run beside `wasmtime` and `watchexec`, which they install once (this
//! takes several minutes) into `--tools DIR`, where `DIR/bin` may already hold them.
//!
//! The server is the `wrt` binary named in `WRT_BIN`, else built now with this program's profile.
//! Exit status: 0 when every bar is met, 1 when one is missed, 2 when something went wrong.

mod http1;
mod probe;
mod project;
mod raw_load;
mod report;
mod scenarios;
mod site;
mod stats;
mod tools;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use wrt_test_support::guests;

use report::{Figure, Report};
use tools::Tools;

/// Measure what wrt promises.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    scenario: Scenario,
    /// Write the figures to this file as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory whose `bin` holds, or gets, `wasmtime` and `watchexec` [default: `bench-tools`
    /// in the target directory].
    #[arg(long, global = true, value_name = "DIR")]
    tools: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum Scenario {
    /// Does a swap fail a request?
    Swaps(scenarios::swaps::Args),
    /// How long from an artifact on disk to its first answer?
    Artifact(scenarios::artifact::Args),
    /// How long from saved source to its first answer, beside a bare `cargo build`?
    Source(scenarios::source::Args),
    /// How long is that beside `watchexec`, `cargo build --release` and `wasmtime serve`?
    Today(scenarios::today::Args),
    /// How many requests per second, beside `wasmtime serve`?
    Throughput(scenarios::throughput::Args),
    /// What do 1,000 swaps leave behind?
    Growth(scenarios::growth::Args),
    /// All of the above with their defaults.
    All,
}

impl Scenario {
    fn all() -> Vec<Self> {
        vec![
            Self::Swaps(Default::default()),
            Self::Artifact(Default::default()),
            Self::Source(Default::default()),
            Self::Today(Default::default()),
            Self::Throughput(Default::default()),
            Self::Growth(Default::default()),
        ]
    }

    fn run(&self, tools: &Tools) -> Result<Figure> {
        match self {
            Self::Swaps(args) => scenarios::swaps::run(args),
            Self::Artifact(args) => scenarios::artifact::run(args),
            Self::Source(args) => scenarios::source::run(args),
            Self::Today(args) => scenarios::today::run(args, tools),
            Self::Throughput(args) => scenarios::throughput::run(args, tools),
            Self::Growth(args) => scenarios::growth::run(args),
            Self::All => unreachable!("`all` was replaced by its parts before"),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Runs what `args` ask for; gives whether every bar is met.
fn run(args: Args) -> Result<bool> {
    build_wrt_if_needed()?;
    let tools = Tools::new(args.tools);
    let scenarios = match args.scenario {
        Scenario::All => Scenario::all(),
        one => vec![one],
    };
    let mut report = Report::default();
    for scenario in scenarios {
        report.add(scenario.run(&tools)?)?;
    }
    if let Some(path) = args.json {
        report.write_json(&path)?;
    }
    Ok(report.has_passed())
}

/// Builds `wrt` from the sources at hand, so that no stale binary is measured.
fn build_wrt_if_needed() -> Result<()> {
    if env::var_os("WRT_BIN").is_some() {
        return Ok(());
    }
    let here = env::current_exe().context("failed to find the path of this executable")?;
    let mut command = guests::cargo();
    command.current_dir(guests::workspace_root()).args(["build", "-p", "wrt-cli"]);
    if here.parent().is_some_and(|directory| directory.ends_with("release")) {
        command.arg("--release");
    }
    let status = command.status().context("failed to run `cargo`")?;
    ensure!(status.success(), "failed to build `wrt`: {status}");
    Ok(())
}
