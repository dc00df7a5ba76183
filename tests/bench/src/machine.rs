//! Where a figure comes from: the machine, and the versions of what ran on it.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use toml::{Table, Value as Toml};
use wrt_test_support::guests;
use wrt_test_support::process::wrt_binary;

/// What a reader has to know before comparing figures.
#[derive(Debug)]
pub(crate) struct Machine {
    cpu: String,
    n_cpus: usize,
    memory_mib: u64,
    kernel: String,
    wrt: String,
    rustc: String,
    wasmtime: String,
    profile: &'static str,
}

impl Machine {
    /// This machine.
    pub(crate) fn this() -> Result<Self> {
        let read = |path: &str| {
            fs::read_to_string(path).with_context(|| format!("failed to read `{path}`"))
        };
        let lock = guests::workspace_root().join("Cargo.lock");
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
        };
        let memory = field(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
        let memory_kib: u64 =
            memory.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or_default();
        Ok(Self {
            cpu: field(&read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "unknown".into()),
            n_cpus: thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_kib / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            wrt: said(Command::new(wrt_binary()?).arg("--version"))?,
            rustc: said(Command::new("rustc").arg("--version"))?,
            wasmtime: locked_version(&read(&lock.display().to_string())?, "wasmtime")?,
            profile: if cfg!(debug_assertions) { "dev" } else { "release" },
        })
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "cpu": self.cpu,
            "cpus": self.n_cpus,
            "memory_mib": self.memory_mib,
            "kernel": self.kernel,
            "wrt": self.wrt,
            "wasmtime": self.wasmtime,
            "rustc": self.rustc,
            "profile": self.profile,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, n_cpus, memory_mib, kernel, wrt, rustc, wasmtime, profile } = self;
        write!(
            f,
            "machine: {cpu}, {n_cpus} processors, {} GiB, Linux {kernel}; {wrt} with wasmtime \
             {wasmtime}, {rustc}, {profile} profile",
            memory_mib / 1024
        )
    }
}

/// The first line that `command` prints.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("failed to run `{command:?}`"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// This program, to be started with `command` instead of a scenario.
pub(crate) fn this_program(command: &str) -> Result<Command> {
    let here = std::env::current_exe().context("failed to find the path of this executable")?;
    let mut program = Command::new(here);
    program.arg(command);
    Ok(program)
}

/// The version of `package` that a lock file names.
pub(crate) fn locked_version(lock: &str, package: &str) -> Result<String> {
    let lock: Table = lock.parse().context("failed to read `Cargo.lock`")?;
    let packages = lock.get("package").and_then(Toml::as_array).into_iter().flatten();
    let text = |entry: &Toml, key: &str| entry.get(key)?.as_str().map(str::to_owned);
    packages
        .filter(|entry| text(entry, "name").as_deref() == Some(package))
        .find_map(|entry| text(entry, "version"))
        .with_context(|| format!("expected `{package}` in `Cargo.lock`, found none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_one_of_the_package_itself() {
        let lock = "[[package]]\nname = \"wasmtime-wasi\"\nversion = \"1.0.0\"\n\
                    [[package]]\nname = \"wasmtime\"\nversion = \"2.0.0\"\n";
        assert_eq!(locked_version(lock, "wasmtime").unwrap(), "2.0.0");
        assert!(locked_version(lock, "wasm").is_err());
    }
}
