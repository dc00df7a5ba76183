//! How many requests per second, with a fresh instance each? In turns with `wasmtime serve`.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use wrt_test_support::guests::{Profile, plugin};
use wrt_test_support::process::{Ready, ServerProcess};

use crate::machine::said;
use crate::peers::note_versions;
use crate::raw_load::requests_per_second;
use crate::report::{Figure, Row, Unit, say};
use crate::site::Site;
use crate::stats::Samples;
use crate::tools::Tools;

/// How many times the requests of the peer wrt has to answer.
const BAR: f64 = 1.8;

/// Before the first round, so that neither side is measured while it starts.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Rounds on each side.
    #[arg(long, default_value_t = 7)]
    rounds: u64,
    /// Seconds of one round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Kept-alive connections.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// The plugin that answers.
    #[arg(long, default_value = "hello")]
    plugin: String,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: 7, seconds: 4, connections: 16, plugin: "hello".to_owned() }
    }
}

pub(crate) fn run(args: &Args, tools: &Tools) -> Result<Figure> {
    let mut figure = Figure::new(
        "throughput",
        "how many requests per second with a fresh instance each, beside `wasmtime serve`?",
    );
    let path = plugin(&args.plugin, Profile::Release)?;
    let site = Site::new(&super::read_component(&path)?)?;
    let ours = site.serve()?;
    let wasmtime = tools.path("wasmtime")?;
    let version = said(Command::new(&wasmtime).arg("--version"))?;
    let mut command = Command::new(wasmtime);
    // The defaults, but for the address and two groups of imports without which the plugin does not
    // link: `wasi:cli`, which Rust's standard library wants, and `wasi:config`.
    command.args(["serve", "-S", "cli,config", "--addr", "127.0.0.1:0"]).arg(&path);
    let theirs = ServerProcess::start(command, Ready::WASMTIME)?;

    let measure = |server: &ServerProcess, time| {
        requests_per_second(server.address(), "/", args.connections, time)
    };
    measure(&ours, WARM_UP)?;
    measure(&theirs, WARM_UP)?;
    let (mut our_rate, mut their_rate) = (Samples::default(), Samples::default());
    let time = Duration::from_secs(args.seconds);
    for number in 1..=args.rounds {
        let (our_round, their_round) = (measure(&ours, time)?, measure(&theirs, time)?);
        say(&format!("  round {number}: wrt {our_round:.0}/s, wasmtime {their_round:.0}/s"));
        our_rate.push(our_round);
        their_rate.push(their_round);
    }

    let ratio = our_rate.median() / their_rate.median();
    figure.line("wrt serve", format!("p50 {:.0} requests/s", our_rate.median()));
    figure.line("wasmtime serve", format!("p50 {:.0} requests/s", their_rate.median()));
    figure.value("wrt_per_second", our_rate.median());
    figure.value("wasmtime_per_second", their_rate.median());
    let what = "requests per second, a fresh instance each, as a multiple of `wasmtime serve`";
    figure.row(Row::high("ratio", what, ratio, Unit::Times).bar(BAR));
    note_versions(&mut figure, [format!("{version} serve -S cli,config").as_str()]);
    Ok(figure)
}
