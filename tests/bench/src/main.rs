//! Measures what wrt promises and says for each figure whether its bar is met.
//!
//! Run as `cargo run -p wrt-bench -- swaps`, or any other scenario of `--help`, or `all`. Each
//! states its question, measures the two sides of a ratio in turns within one run, and prints
//! medians, bars, and PASS or FAIL; `--json FILE` keeps the figures, `--docs FILE` puts them into
//! the tables of a document.
//! `reload`, `throughput` and `latency` run beside `wasmtime` and `watchexec`, which they install once (this
//! takes several minutes) into `--tools DIR`, where `DIR/bin` may already hold them.
//!
//! The server is the `wrt` binary named in `WRT_BIN`, else built now with this program's profile.
//! Exit status: 0 when every bar is met, 1 when one is missed, 2 when something went wrong.

mod admin;
mod bare;
mod bare_process;
mod compare;
mod counts;
mod damage;
mod http1;
mod machine;
mod many;
mod numbered;
mod open_loop;
mod peers;
mod probe;
mod project;
mod raw_load;
mod report;
mod scenarios;
mod site;
mod stats;
mod stream;
mod tools;
mod trace;
mod work;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};
use wrt_test_support::guests;

use machine::Machine;
use report::{Figure, Report};
use tools::Tools;

/// See the dependency in `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measure what wrt promises.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    scenario: Scenario,
    /// Write the figures to this file as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the tables of the figures into this Markdown file, in place of their earlier ones.
    #[arg(long, global = true, value_name = "FILE")]
    docs: Option<PathBuf>,
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
    /// How long until a change answers, and what does it cost the callers? Three questions.
    Reload(scenarios::reload::Args),
    /// One of them.
    #[command(skip)]
    ReloadPart(scenarios::reload::Args, scenarios::reload::Part),
    /// How many requests per second, beside `wasmtime serve` and a native server?
    Throughput(scenarios::throughput::Args),
    /// How long is an answer under way at a constant rate, beside the same?
    Latency(scenarios::latency::Args),
    /// What does one call of a plugin in process cost, beside bare wasmtime and Extism?
    Calls(scenarios::calls::Args),
    /// What do 1,000 swaps leave behind?
    Growth(scenarios::growth::Args),
    /// How long from an artifact on disk to its first answer, by what is known of it already?
    Cache(scenarios::cache::Args),
    /// What does a large handler cost its developer, and its neighbour while it compiles?
    Large(scenarios::large::Args),
    /// What do ten thousand handlers cost at the start, in memory and in a call?
    Scale(scenarios::scale::Args),
    /// How often is a handler compiled that many call at once?
    Flight(scenarios::flight::Args),
    /// Does a damaged cache, or a killed writer, ever reach a caller?
    Corruption(scenarios::corruption::Args),
    /// What do swaps over the control plane cost, keep and leave behind? Five questions.
    State(scenarios::state::Args),
    /// One of them.
    #[command(skip)]
    StatePart(scenarios::state::Args, scenarios::state::Part),
    /// How soon does a process answer, with few and many handlers?
    Start(scenarios::start::Args),
    /// What do warm instances take, and what do ten thousand swaps leave behind?
    Memory(scenarios::memory::Args),
    /// How do a swap, a call and memory grow with the number of handlers?
    Handlers(scenarios::handlers::Args),
    /// What does a hostile guest cost its neighbour, and the host?
    Hostile(scenarios::hostile::Args),
    /// What does a chain of five plugin calls with 50 KiB of JSON cost?
    Workflow(scenarios::workflow::Args),
    /// What does a stranger with thousands of connections or streams cost others? Not part of `all`, as it
    /// takes a quarter of an hour and needs `ulimit -n 12000`.
    Strangers(scenarios::strangers::Args),
    /// All of the above but the last with their defaults, into `docs/benchmarks.md` and `benchmarks.json`.
    All,
    /// Compare two reports: whether their conclusions are the same.
    Compare(compare::Args),
}

impl Scenario {
    fn all() -> Vec<Self> {
        vec![
            Self::Swaps(Default::default()),
            Self::Artifact(Default::default()),
            Self::Source(Default::default()),
            Self::Reload(Default::default()),
            Self::Throughput(Default::default()),
            Self::Latency(Default::default()),
            Self::Calls(Default::default()),
            Self::Growth(Default::default()),
            Self::Cache(Default::default()),
            Self::Large(Default::default()),
            Self::Scale(Default::default()),
            Self::Flight(Default::default()),
            Self::Corruption(Default::default()),
            Self::State(Default::default()),
            Self::Start(Default::default()),
            Self::Memory(Default::default()),
            Self::Handlers(Default::default()),
            Self::Hostile(Default::default()),
            Self::Workflow(Default::default()),
        ]
    }

    /// What this stands for: one scenario for each figure.
    fn parts(self) -> Vec<Self> {
        match self {
            Self::All => Self::all().into_iter().flat_map(Self::parts).collect(),
            Self::Reload(args) => {
                let part = |part| Self::ReloadPart(args.clone(), part);
                args.parts().into_iter().map(part).collect()
            }
            Self::State(args) => {
                let part = |part| Self::StatePart(args.clone(), part);
                args.parts().into_iter().map(part).collect()
            }
            one => vec![one],
        }
    }

    fn run(&self, tools: &Tools) -> Result<Figure> {
        match self {
            Self::Swaps(args) => Ok(scenarios::swaps::run(args)?.with_settings(args)),
            Self::Artifact(args) => Ok(scenarios::artifact::run(args)?.with_settings(args)),
            Self::Source(args) => Ok(scenarios::source::run(args)?.with_settings(args)),
            Self::Throughput(args) => {
                Ok(scenarios::throughput::run(args, tools)?.with_settings(args))
            }
            Self::Latency(args) => Ok(scenarios::latency::run(args, tools)?.with_settings(args)),
            Self::Calls(args) => Ok(scenarios::calls::run(args)?.with_settings(args)),
            Self::Growth(args) => Ok(scenarios::growth::run(args)?.with_settings(args)),
            Self::Cache(args) => Ok(scenarios::cache::run(args)?.with_settings(args)),
            Self::Large(args) => Ok(scenarios::large::run(args)?.with_settings(args)),
            Self::Scale(args) => Ok(scenarios::scale::run(args)?.with_settings(args)),
            Self::Flight(args) => Ok(scenarios::flight::run(args)?.with_settings(args)),
            Self::Corruption(args) => Ok(scenarios::corruption::run(args)?.with_settings(args)),
            Self::Hostile(args) => Ok(scenarios::hostile::run(args)?.with_settings(args)),
            Self::Workflow(args) => Ok(scenarios::workflow::run(args)?.with_settings(args)),
            Self::ReloadPart(args, part) => args.run(*part, tools),
            Self::StatePart(args, part) => args.run(*part),
            Self::Start(args) => Ok(scenarios::start::run(args, tools)?.with_settings(args)),
            Self::Memory(args) => Ok(scenarios::memory::run(args)?.with_settings(args)),
            Self::Handlers(args) => Ok(scenarios::handlers::run(args)?.with_settings(args)),
            Self::Strangers(args) => Ok(scenarios::strangers::run(args)?.with_settings(args)),
            Self::Reload(_) | Self::State(_) | Self::All | Self::Compare(_) => {
                unreachable!("replaced by its parts, or done before")
            }
        }
    }
}

fn main() -> ExitCode {
    if env::var_os(BACKTRACES).is_some() {
        let error = without_backtraces();
        report::say(&format!("error: failed to start again without `{BACKTRACES}`: {error}"));
        return ExitCode::from(2);
    }
    let passed = match env::args().nth(1).as_deref() {
        // No scenarios: parts of `throughput` and `latency`, and of `cache`.
        Some(peers::native::COMMAND) => {
            peers::native::run(env::args().nth(2).as_deref()).map(|()| true)
        }
        Some(bare_process::COMMAND) => bare_process::run().map(|()| true),
        _ => run(Args::parse()),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// With this variable, wasmtime walks the stack for each instance that ends; users seldom set it.
const BACKTRACES: &str = "RUST_BACKTRACE";

/// Goes on as the same program without [`BACKTRACES`]; comes back only when that fails.
fn without_backtraces() -> std::io::Error {
    use std::os::unix::process::CommandExt as _;
    match env::current_exe() {
        Ok(program) => std::process::Command::new(program)
            .args(env::args_os().skip(1))
            .env_remove(BACKTRACES)
            .exec(),
        Err(error) => error,
    }
}

/// Runs what `args` ask for; gives whether every bar is met.
fn run(args: Args) -> Result<bool> {
    if let Scenario::Compare(reports) = &args.scenario {
        return compare::run(reports);
    }
    let (mut json, mut docs) = (args.json, args.docs);
    if matches!(args.scenario, Scenario::All) {
        json.get_or_insert_with(|| guests::target_dir().join("benchmarks.json"));
        docs.get_or_insert_with(|| guests::workspace_root().join("docs/benchmarks.md"));
    }
    build_wrt_if_needed()?;
    let tools = Tools::new(args.tools);
    // Before anything that takes long, as it may fail.
    let machine = Machine::this()?;
    let mut report = Report::default();
    for scenario in args.scenario.parts() {
        report.add(scenario.run(&tools)?)?;
        // After each, as the next one may take long, or fail.
        if let Some(path) = &json {
            report.write_json(path, &machine)?;
        }
        if let Some(path) = &docs {
            report.write_docs(path, &machine)?;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn flags_of_all_scenarios_fit_together() {
        Args::command().debug_assert();
        let args = Args::try_parse_from(["wrt-bench", "state", "pause", "bad", "--swaps", "7"]);
        assert_eq!(args.unwrap().scenario.parts().len(), 2);
        assert!(Args::try_parse_from(["wrt-bench", "state-part"]).is_err());
    }

    #[test]
    fn all_has_every_scenario() {
        let n_commands = Args::command().get_subcommands().count();
        // `all` and `compare` are none of them; `strangers` needs more files than the usual limit.
        assert_eq!(Scenario::all().len(), n_commands - 3);
    }
}
