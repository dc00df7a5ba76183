//! The peers that wrt is measured against, as users install them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use wrt_test_support::guests;

use crate::report::say;

/// The package and version of each peer; wasmtime is the line that wrt is built on.
const PACKAGES: [(&str, &str); 2] =
    [("wasmtime", "wasmtime-cli@48.0.8"), ("watchexec", "watchexec-cli@2.8.0")];

/// Where the peers are.
#[derive(Debug)]
pub(crate) struct Tools {
    root: PathBuf,
}

impl Tools {
    pub(crate) fn new(root: Option<PathBuf>) -> Self {
        Self { root: root.unwrap_or_else(|| guests::target_dir().join("bench-tools")) }
    }

    /// The path of `wasmtime` or `watchexec`, installed first when it is missing.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join("bin").join(name);
        if !path.is_file() {
            let package = PACKAGES.iter().find(|(tool, _)| *tool == name);
            let (_, package) = package.with_context(|| format!("unknown tool `{name}`"))?;
            say(&format!("installing {package} into {}", self.root.display()));
            let mut command: Command = guests::cargo();
            command.args(["install", "--locked", package, "--root"]).arg(&self.root);
            let status = command.status().context("failed to run `cargo`")?;
            ensure!(status.success(), "failed to install `{package}`: {status}");
        }
        path.canonicalize().with_context(|| format!("failed to find `{}`", path.display()))
    }
}
