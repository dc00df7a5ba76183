//! Plugins as processes, in Node.js and in Python: one for each call, or warm ones over pipes.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::{node, sources};
use crate::machine::said;

/// How a plugin in one language is run.
#[derive(Debug)]
pub(crate) struct Language {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    program: OsString,
    script: PathBuf,
}

impl Language {
    /// Node.js with `step.mjs`.
    pub(crate) fn node() -> Result<Self> {
        let (program, script) = (node::NODE.into(), sources("node").join("step.mjs"));
        Ok(Self { name: "Node.js", version: node::version()?, program, script })
    }

    /// Python with `step.py`.
    pub(crate) fn python() -> Result<Self> {
        // What is on the path may be a script that looks for the interpreter at every start.
        let which = ["-c", "import sys; print(sys.executable)"];
        let program: OsString = said(Command::new("python3").args(which))?.into();
        let version = said(Command::new(&program).arg("--version"))?;
        let script = sources("python").join("step.py");
        Ok(Self { name: "Python", version, program, script })
    }

    /// Runs step `number` in a process of its own, which ends with its answer.
    pub(crate) fn call_once(&self, number: u32, document: &[u8]) -> Result<Vec<u8>> {
        let (_process, mut stdin, mut stdout) = self.start(number, &[])?;
        // It reads everything before it writes anything, so neither side waits for the other.
        stdin.write_all(document).context("failed to hand over a document")?;
        drop(stdin);
        let mut answer = Vec::with_capacity(document.len());
        stdout.read_to_end(&mut answer).context("failed to read an answer")?;
        ensure!(!answer.is_empty(), "expected an answer of `{}`, found none", self.name);
        Ok(answer)
    }

    /// Starts a process that answers one call of step `number` after the other.
    pub(crate) fn worker(&self, number: u32) -> Result<Worker> {
        let (process, stdin, stdout) = self.start(number, &["--worker"])?;
        let stdout = BufReader::new(stdout);
        Ok(Worker { _process: process, stdin, stdout, n_calls: 0 })
    }

    fn start(&self, number: u32, arguments: &[&str]) -> Result<(Process, ChildStdin, ChildStdout)> {
        let mut command = Command::new(&self.program);
        command.arg(&self.script).arg(number.to_string()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().with_context(|| format!("failed to start `{command:?}`"))?;
        let mut process = Process(child);
        let pipes = process.0.stdin.take().zip(process.0.stdout.take());
        let (stdin, stdout) = pipes.context("expected both streams to be pipes")?;
        Ok((process, stdin, stdout))
    }
}

/// A process that is ended when dropped.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended by itself is no failure, and of another nobody could be told.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A warm process; one call at a time, as lines of JSON.
#[derive(Debug)]
pub(crate) struct Worker {
    _process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    n_calls: u64,
}

impl Worker {
    /// Hands over `document`, which is one line; gives the worker's.
    ///
    /// Nothing is parsed here: the host of such plugins may have to, but that is not their cost.
    pub(crate) fn call(&mut self, document: &[u8]) -> Result<Vec<u8>> {
        self.n_calls += 1;
        let mut line = format!("{{\"id\":{},\"payload\":", self.n_calls).into_bytes();
        let head_len = line.len();
        line.extend_from_slice(document);
        line.extend_from_slice(b"}\n");
        self.stdin.write_all(&line).context("failed to hand over a document")?;
        let mut answer = Vec::with_capacity(line.len());
        self.stdout.read_until(b'\n', &mut answer).context("failed to read an answer")?;
        let payload = answer
            .strip_suffix(b"}\n")
            .filter(|answer| answer.starts_with(&line[..head_len]))
            .with_context(|| {
                let found = String::from_utf8_lossy(&answer);
                format!("expected the answer to call {}, found `{found:.80}`", self.n_calls)
            })?;
        Ok(payload[head_len..].to_vec())
    }
}
