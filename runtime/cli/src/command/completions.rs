//! `wrt completions SHELL`: the script to stdout.

use clap::CommandFactory as _;

use crate::args::{Cli, CompletionsArgs};
use crate::exit::ExitStatus;
use crate::output::Output;

pub(crate) fn run(args: &CompletionsArgs, output: &mut Output) -> anyhow::Result<ExitStatus> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "wrt", &mut script);
    output.data(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
