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
use crate::output::{NotWritten, Output, People};

fn main() -> ExitCode {
    let env = |name: &str| std::env::var(name).ok();
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(said) => return say(&said, &env),
    };
    let mut output = match cli.is_host() {
        false => Output::new(cli.json(), &env),
        // Without threads nothing could be served either.
        true => match Output::of_host(cli.json(), &env) {
            Ok(output) => output,
            Err(error) => {
                let error = anyhow::Error::new(error).context("failed to start the output");
                Output::new(cli.json(), &env).error(&error);
                return ExitStatus::of(&error).into();
            }
        },
    };
    start_log(&env, output.people());
    let status = match command::run(cli.command, &mut output, &env) {
        Ok(status) => status,
        Err(error) => {
            let status = ExitStatus::of(&error);
            if status != ExitStatus::Success {
                output.error(&error);
            }
            status
        }
    };
    output.finish();
    status.into()
}

/// Prints what clap has to say in place of a command: an error, or `--help` and the like.
fn say(said: &clap::Error, env: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let printed = said.print();
    if said.use_stderr() {
        return ExitStatus::Unexpected.into();
    }
    let Err(source) = printed else { return ExitStatus::Success.into() };
    let error = anyhow::Error::new(NotWritten { source });
    let status = ExitStatus::of(&error);
    if status != ExitStatus::Success {
        Output::new(false, env).error(&error);
    }
    status.into()
}

/// Warnings of wrt itself, for people; all that `WRT_LOG` asks for where it is set (`WRT_LOG=debug`).
/// Panics always.
fn start_log(env: &dyn Fn(&str) -> Option<String>, people: People) {
    people.hear_panics();
    let log = tracing_subscriber::fmt().with_writer(people);
    match env("WRT_LOG") {
        Some(filter) => log.with_env_filter(tracing_subscriber::EnvFilter::new(filter)).init(),
        // Beside lines for people, which have neither time nor module.
        None => log
            .with_env_filter(tracing_subscriber::EnvFilter::new("wrt=warn"))
            .without_time()
            .with_target(false)
            .init(),
    }
}
