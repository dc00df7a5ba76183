//! `wrt`: parse, run, say how it failed, exit.

mod allocator;
mod args;
mod command;
mod diagnostics;
mod exit;
mod output;
mod settings;

use std::process::ExitCode;

use clap::Parser as _;

use crate::exit::ExitStatus;
use crate::output::Output;

fn main() -> ExitCode {
    // clap prints its own errors and exits with 2, and with 0 for `--help`.
    let cli = args::Cli::parse();
    let env = |name: &str| std::env::var(name).ok();
    start_log(&env);
    let mut output = Output::new(cli.json(), &env);
    match command::run(cli.command, &mut output, &env) {
        Ok(status) => status.into(),
        Err(error) => {
            let status = ExitStatus::of(&error);
            if status != ExitStatus::Success {
                output.error(&error);
            }
            status.into()
        }
    }
}

/// Diagnostics of wrt itself, on stderr, when `WRT_LOG` asks for them (`WRT_LOG=debug`).
fn start_log(env: &dyn Fn(&str) -> Option<String>) {
    let Some(filter) = env("WRT_LOG") else { return };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .init();
}
