//! One file per question.

pub(crate) mod artifact;
pub(crate) mod cache;
pub(crate) mod calls;
pub(crate) mod corruption;
pub(crate) mod flight;
pub(crate) mod growth;
pub(crate) mod handlers;
pub(crate) mod hostile;
pub(crate) mod large;
pub(crate) mod latency;
pub(crate) mod memory;
pub(crate) mod reload;
pub(crate) mod scale;
mod servers;
pub(crate) mod source;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod strangers;
pub(crate) mod swaps;
pub(crate) mod throughput;
pub(crate) mod workflow;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use wrt_test_support::process::ServerProcess;

/// A runtime for the load; the scenarios themselves are plain sequential code.
pub(crate) fn load_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        // The load shares the machine with the server; one thread of it is plenty.
        .worker_threads(1)
        .enable_all()
        .build()
        .context("failed to start the load's runtime")
}

/// A runtime in which plugins are called by threads of their own: its workers only keep the time, and
/// do what a runtime of wrt does aside.
fn calling_runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime of the calls")
}

/// Waits until `server`, which has one handler, has no better code to make for what it serves.
fn settled(server: &ServerProcess) -> Result<()> {
    let events = server.events(0);
    let Some(staged) = events.iter().rev().find(|event| event.is("staged")) else { return Ok(()) };
    if staged.text("tier") == "baseline" {
        // The first answer may be here before the event that tells of it.
        let swapped = server.wait_for("the publication", 0, |event| {
            event.is("swapped") && event.text("digest") == staged.text("digest")
        })?;
        let generation = &swapped.json["generation"];
        server.wait_for("optimized code", 0, |event| {
            event.is("optimized") && &event.json["generation"] == generation
        })?;
    }
    Ok(())
}

/// Reads a component that was built before.
fn read_component(path: &std::path::Path) -> Result<Vec<u8>> {
    crate::work::read(path)
}
