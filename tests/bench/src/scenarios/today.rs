//! How long from saved source to its first answer, beside a rebuild and restart as done today?
//!
//! Both sides serve and watch their own copy of one project at the same time, under a light steady
//! load each; edits go to one side and the other in turns, so that only one of them is at work.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use wrt_test_support::guests::TARGET;
use wrt_test_support::history::{History, Report};
use wrt_test_support::load::{Load, LoadPlan, LoadResult, Shape};
use wrt_test_support::process::{Ready, ServerProcess};

use crate::probe::Probe;
use crate::project::Project;
use crate::report::{Figure, Row, Unit};
use crate::stats::Samples;
use crate::tools::Tools;

/// How many times faster wrt has to be.
const BAR: f64 = 4.0;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Seconds of edits in turns.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Requests per second to each side.
    #[arg(long, default_value_t = 50.0)]
    rate: f64,
}

impl Default for Args {
    fn default() -> Self {
        Self { seconds: 60, rate: 50.0 }
    }
}

/// One of the two ways, under load.
struct Side {
    // Dropped in this order: the server goes before the directory that it watches.
    server: ServerProcess,
    project: Project,
    probe: Probe,
    ms: Samples,
}

impl Side {
    fn new(project: Project, server: ServerProcess) -> Result<Self> {
        let mut probe = Probe::new(server.address());
        probe.wait_for("/", "<h1>")?;
        Ok(Self { server, project, probe, ms: Samples::default() })
    }

    fn load(&self, rate: f64) -> Load {
        Load::start(LoadPlan {
            n_connections: 2,
            rate: Some(rate),
            ..LoadPlan::new(self.server.address(), vec![Shape::get("/")])
        })
    }

    fn edit(&mut self, greeting: &str) -> Result<()> {
        let saved_at = Instant::now();
        self.project.edit(greeting)?;
        let answered_at = self.probe.wait_for("/", &format!("<h1>{greeting}</h1>"))?;
        self.ms.push((answered_at - saved_at).as_secs_f64() * 1e3);
        Ok(())
    }
}

pub(crate) fn run(args: &Args, tools: &Tools) -> Result<Figure> {
    let mut figure = Figure::new(
        "today",
        "how long from saved source to its first answer, beside \
         `watchexec -r` around `cargo build --release` and `wasmtime serve`?",
    );
    let project = Project::copy()?;
    let server = super::source::dev(&project)?;
    let mut ours = Side::new(project, server)?;
    let project = Project::copy()?;
    let server = restart_on_change(&project, tools)?;
    let mut theirs = Side::new(project, server)?;

    let runtime = super::load_runtime()?;
    let (our_load, their_load) =
        runtime.block_on(async { (ours.load(args.rate), theirs.load(args.rate)) });
    let deadline = Instant::now() + Duration::from_secs(args.seconds);
    for number in 1.. {
        if Instant::now() >= deadline {
            break;
        }
        let greeting = format!("edit {number}");
        ours.edit(&greeting)?;
        theirs.edit(&greeting)?;
    }
    let our_load = judged(runtime.block_on(our_load.stop())?);
    let their_load = judged(runtime.block_on(their_load.stop())?);

    let ratio = theirs.ms.median() / ours.ms.median();
    let failures = |load: &Report| format!("{} of {} requests", load.n_failed, load.n_calls);
    figure.line("wrt dev", ours.ms.in_ms());
    figure.line("rebuild and restart", theirs.ms.in_ms());
    figure.line("failed, wrt dev", failures(&our_load));
    figure.line("failed, restart", failures(&their_load));
    figure.value("wrt_ms_p50", ours.ms.median());
    figure.value("restart_ms_p50", theirs.ms.median());
    figure.value("restart_failed", their_load.n_failed);
    figure.value("wrt_calls", our_load.n_calls);
    figure.value("restart_calls", their_load.n_calls);
    let what = "source saved to first answer, times faster than rebuild and restart";
    figure.row(Row::high("ratio", what, ratio, Unit::Times).bar(BAR));
    let n_failed = our_load.n_failed as f64;
    figure.row(Row::low("failed", "failed requests meanwhile", n_failed, Unit::Count).bar(0.0));
    Ok(figure)
}

fn judged(load: LoadResult) -> Report {
    History { connections: load.connections, milestones: vec![] }.check()
}

/// Starts the usual tools on `project`.
fn restart_on_change(project: &Project, tools: &Tools) -> Result<ServerProcess> {
    let address = free_address()?;
    let wasmtime = tools.path("wasmtime")?;
    let component = Project::release_component();
    let mut command = Command::new(tools.path("watchexec")?);
    command.args(["-r", "-w", "src", "-w", "Cargo.toml", "--shell", "sh", "--"]);
    command.arg(format!(
        "cargo build --release --target {TARGET} && \
         exec '{}' serve -S cli,config --addr {address} {}",
        wasmtime.display(),
        component.display()
    ));
    project.prepare(&mut command);
    ServerProcess::start(command, Ready::At(address))
}

/// An address that is free now. `wasmtime` has to be told one, as it takes the same again after
/// each restart; somebody else may take it meanwhile, and then the scenario ends with an error.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
    listener.local_addr().context("failed to read the free port's number")
}
