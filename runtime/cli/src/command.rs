//! The commands, one file each, and the async runtime they run on.

mod apply;
mod artifacts;
pub(crate) mod bind;
mod build;
mod cache;
pub(crate) mod client;
mod completions;
mod confirm;
mod control;
mod history;
mod host;
mod limits;
pub(crate) mod load;
mod manifest;
mod ps;
mod replan;
mod rollback;
mod signals;
mod state;
mod swap;

use std::future::Future;

use anyhow::Context as _;

use crate::args::Command;
use crate::exit::ExitStatus;
use crate::output::Output;
use crate::settings::{self, Env};

/// Runs `command`; an error is the user's or unexpected, by its type.
pub(crate) fn run(
    command: Command,
    output: &mut Output,
    env: Env<'_>,
) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Dev(args) => block_on(host::run(settings::dev(&args, env)?, env, output)),
        Command::Serve(args) => block_on(host::run(settings::serve(&args, env)?, env, output)),
        Command::Build(args) => {
            let (project, build, runtime) = settings::build(&args, env)?;
            block_on(build::run(project, build, runtime, output))
        }
        Command::Apply(args) => {
            block_on(apply::run(settings::client(&args.client, env)?, &args, output))
        }
        Command::Ps(args) => block_on(ps::run(settings::client(&args.client, env)?, output)),
        Command::Swap(args) => {
            block_on(swap::run(settings::client(&args.client, env)?, &args, output))
        }
        Command::Rollback(args) => {
            block_on(rollback::run(settings::client(&args.client, env)?, &args, output))
        }
        Command::Confirm(args) => {
            block_on(confirm::run(settings::client(&args.client, env)?, &args, output))
        }
        Command::History(args) => {
            block_on(history::run(settings::client(&args.client, env)?, &args, output))
        }
        Command::Cache(args) => cache::run(args.verb, &settings::cache(&args, env)?, output),
        Command::Completions(args) => completions::run(&args, output),
    }
}

/// Tasks that a thread polls before it looks for what has arrived. A guest may compute for 10 ms and
/// more before it yields or goes aside, so tokio's 61 would let others wait for half a second.
const EVENT_INTERVAL: u32 = 8;

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .event_interval(EVENT_INTERVAL)
        .enable_all()
        .build()
        .context("failed to start the async runtime")?;
    let result = runtime.block_on(work);
    // Not waited for: what is left is a compilation or a read whose result nobody wants.
    runtime.shutdown_background();
    result
}

/// A number of a host's answer, in a cell of a table.
fn number(value: &serde_json::Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// A digest of a host's answer as people read it: its first 12 digits.
fn digest(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| "-".to_owned(), |digest| digest.chars().take(12).collect())
}
