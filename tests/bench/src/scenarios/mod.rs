//! One file per question.

pub(crate) mod artifact;
pub(crate) mod growth;
pub(crate) mod source;
pub(crate) mod swaps;
pub(crate) mod throughput;
pub(crate) mod today;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

/// A runtime for the load; the scenarios themselves are plain sequential code.
fn load_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        // The load shares the machine with the server; one thread of it is plenty.
        .worker_threads(1)
        .enable_all()
        .build()
        .context("failed to start the load's runtime")
}

/// Reads a component that was built before.
fn read_component(path: &std::path::Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))
}
