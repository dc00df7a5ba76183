//! Extism: a program of its own, built once, that calls a plugin as it is asked line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use wrt_test_support::guests::{self, TARGET};

use crate::report::say;

/// The sources of the program and, in `plugin`, of what it calls.
const SOURCE: &str = "tests/bench/peers/extism";

/// The program under way; ended when dropped.
#[derive(Debug)]
pub(crate) struct Extism {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Extism {
    /// Builds the program and its plugin, which takes some minutes the first time, and starts it
    /// with the JSON text at `document`.
    pub(crate) fn start(document: &Path) -> Result<Self> {
        let source = guests::workspace_root().join(SOURCE);
        let target = guests::target_dir().join("bench-peers");
        let program = target.join("release/extism-peer");
        if !program.is_file() {
            say("building the peer that calls Extism, which takes some minutes");
        }
        build(&source, &target, &["build", "--release", "--locked"])?;
        let plugin = target.join(TARGET).join("release/extism_plugin.wasm");
        build(
            &source.join("plugin"),
            &target,
            // Extism runs core modules, not components.
            &[
                "rustc",
                "--release",
                "--locked",
                "--target",
                TARGET,
                "--",
                "-Clink-arg=--skip-wit-component",
            ],
        )?;
        let mut command = Command::new(program);
        command.arg(plugin).arg(document).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("failed to start the peer")?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("expected the peer's streams to be pipes");
        };
        let mut peer = Self { child, orders, answers: BufReader::new(answers) };
        // A plugin that does not load, or answers wrongly, is known from here on.
        for work in ["noop", "json", "bytes"] {
            peer.call_us(true, work, 1, Duration::ZERO)?;
        }
        Ok(peer)
    }

    /// Microseconds of one call of `work` on each of `n_threads`, with a plugin for each call when
    /// `is_fresh`, measured for `time`.
    pub(crate) fn call_us(
        &mut self,
        is_fresh: bool,
        work: &str,
        n_threads: usize,
        time: Duration,
    ) -> Result<f64> {
        let mode = if is_fresh { "fresh" } else { "reused" };
        writeln!(self.orders, "{mode} {work} {n_threads} {}", time.as_millis())
            .context("failed to ask the peer for a round")?;
        let mut line = String::new();
        self.answers.read_line(&mut line).context("failed to read the peer's answer")?;
        let answer: Value =
            serde_json::from_str(&line).context("expected figures from the peer")?;
        let field = |name: &str| answer[name].as_f64();
        let (n_calls, seconds) =
            field("calls").zip(field("seconds")).context("expected calls and seconds")?;
        Ok(seconds / n_calls * 1e6)
    }
}

impl Drop for Extism {
    fn drop(&mut self) {
        // Nobody is left to tell about a failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `cargo` in `directory`; does nothing when all is built.
fn build(directory: &Path, target: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = guests::cargo();
    command.args(arguments).current_dir(directory).env("CARGO_TARGET_DIR", target);
    let output = command.output().context("failed to run `cargo`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "failed to build `{}`\n{said}", directory.display());
    Ok(())
}
