//! Node.js: a worker that is restarted when its handler changes.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use wrt_test_support::process::{Ready, ServerProcess};

use super::{Peer, Template, sources};
use crate::machine::said;

/// The runtime, as on everybody's path.
pub(super) const NODE: &str = "node";

/// How long bots and plugin tools of today wait after the last change before they restart.
pub(crate) const USUAL_DEBOUNCE: Duration = Duration::from_millis(500);

/// The runtime's version.
pub(crate) fn version() -> Result<String> {
    Ok(format!("Node.js {}", said(Command::new(NODE).arg("--version"))?))
}

/// A parent whose worker serves a page, and is killed and started anew `debounce` after an edit.
pub(crate) fn restarting(debounce: Duration) -> Result<Peer> {
    let version = format!("{}, debounce {} ms", version()?, debounce.as_millis());
    let handler = Template::read(&sources("node").join("handler.mjs"), "const GREETING = ")?;
    let directory = tempfile::tempdir().context("failed to create a directory")?;
    let path = |directory: &TempDir| directory.path().join("handler.mjs");
    handler.save(&path(&directory), "first")?;
    let mut command = Command::new(NODE);
    command.arg(sources("node").join("reload.mjs")).arg(path(&directory));
    command.args(["--debounce", &debounce.as_millis().to_string()]);
    let server = ServerProcess::start(command, Ready::FirstLine("listening on "))?;
    Ok(Peer::new(server, version, move |text| handler.save(&path(&directory), text)))
}
