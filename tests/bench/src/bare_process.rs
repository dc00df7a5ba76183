//! Bare compilation in a process of its own: this program, started as `wrt-bench bare`.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};

use crate::bare::Compiler;
use crate::machine::{said, this_program};
use crate::work;

/// What starts this program as a compiler alone, instead of a scenario.
pub(crate) const COMMAND: &str = "bare";

/// The milliseconds in which the last of `components` is compiled by a new process that has compiled
/// the others before, as a host has; one that compiles all the time has its memory at hand.
pub(crate) fn compile_ms_anew(components: &[&[u8]]) -> Result<f64> {
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let mut command = this_program(COMMAND)?;
    // Why it failed, if it does.
    command.stderr(Stdio::inherit());
    for (i, component) in components.iter().enumerate() {
        let path = directory.path().join(format!("{i}.wasm"));
        work::write(&path, component)?;
        command.arg(path);
    }
    let ms = said(&mut command)?;
    ms.parse().with_context(|| format!("expected milliseconds, found `{ms}`"))
}

/// Compiles the components at the paths of the command line, and says how long the last one took.
pub(crate) fn run() -> Result<()> {
    let compiler = Compiler::cold()?;
    let mut last_ms = None;
    for path in env::args_os().skip(2).map(PathBuf::from) {
        last_ms = Some(compiler.compile_ms(&work::read(&path)?)?);
    }
    let last_ms = last_ms.context("expected the paths of components, found none")?;
    writeln!(io::stdout(), "{last_ms:.3}").context("failed to say how long it took")
}
