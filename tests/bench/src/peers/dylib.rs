//! `hot-lib-reloader`: a native host that loads its handler anew from a dynamic library.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use wrt_test_support::guests;
use wrt_test_support::process::{Ready, ServerProcess};

use super::{Peer, Template, sources};
use crate::work;

/// What the copy consists of, but for the source that is edited.
const FILES: [&str; 4] = ["Cargo.toml", "Cargo.lock", "src/main.rs", "handler/Cargo.toml"];

/// The source that is edited.
const EDITED: &str = "handler/src/lib.rs";

/// The host with its library; an edit also builds, from the instant of saving on. That is what a
/// watcher with a `cargo build` would do, without the time that a watcher takes.
pub(crate) fn reloading() -> Result<Peer> {
    // Kept, as the dependencies of the host take a while.
    let root = work::directory("dylib")?;
    for directory in ["src", "handler/src"] {
        let path = root.join(directory);
        fs::create_dir_all(&path)
            .with_context(|| format!("failed to create `{}`", path.display()))?;
    }
    for file in FILES {
        work::write(&root.join(file), work::read(&sources("dylib").join(file))?)?;
    }
    let handler = Template::read(&sources("dylib").join(EDITED), "const GREETING: &str = ")?;
    handler.save(&root.join(EDITED), "first")?;
    build(&root, &["--workspace"])?;
    let mut command = Command::new(root.join("target/debug/host"));
    command.current_dir(&root);
    let server = ServerProcess::start(command, Ready::FirstLine("listening on "))?;
    let lock = String::from_utf8_lossy(&work::read(&root.join("Cargo.lock"))?).into_owned();
    let crate_version = crate::machine::locked_version(&lock, "hot-lib-reloader")?;
    let version = format!("hot-lib-reloader {crate_version}, debounce 50 ms, built at the save");
    Ok(Peer::new(server, version, move |text| {
        handler.save(&root.join(EDITED), text)?;
        build(&root, &["-p", "handler"])
    }))
}

/// Runs `cargo build` with `arguments` in the copy.
fn build(root: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = guests::cargo();
    command.arg("build").args(arguments).current_dir(root);
    // The host looks for the library there.
    command.env("CARGO_TARGET_DIR", root.join("target"));
    guests::run(&mut command)
}
