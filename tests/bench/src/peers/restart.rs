//! The usual tools for WebAssembly: `watchexec -r` around `cargo build` and `wasmtime serve`.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use anyhow::{Context as _, Result};
use wrt_test_support::guests::TARGET;
use wrt_test_support::process::{Ready, ServerProcess};

use super::Peer;
use crate::machine::said;
use crate::project::Project;
use crate::tools::Tools;

/// Watches a copy of the plugin `hello`, builds it and starts `wasmtime serve` anew.
pub(crate) fn on_change(tools: &Tools) -> Result<Peer> {
    let (watchexec, wasmtime) = (tools.path("watchexec")?, tools.path("wasmtime")?);
    let version = format!(
        "{} -r; cargo build --release; {} serve -S cli,config",
        said(Command::new(&watchexec).arg("--version"))?,
        said(Command::new(&wasmtime).arg("--version"))?,
    );
    let project = Project::copy()?;
    let address = free_address()?;
    let component = Project::release_component();
    let mut command = Command::new(watchexec);
    command.args(["-r", "-w", "src", "-w", "Cargo.toml", "--shell", "sh", "--"]);
    command.arg(format!(
        "cargo build --release --target {TARGET} && \
         exec '{}' serve -S cli,config --addr {address} {}",
        wasmtime.display(),
        component.display()
    ));
    project.prepare(&mut command);
    let server = ServerProcess::start(command, Ready::At(address))?;
    Ok(Peer::new(server, version, move |text| project.edit(text)))
}

/// An address that is free now. `wasmtime` has to be told one, as it takes the same again after
/// each restart; somebody else may take it meanwhile, and then the peer is not measured.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to find a free port")?;
    listener.local_addr().context("failed to read the free port's number")
}
