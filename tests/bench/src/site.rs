//! A directory with built components and their manifest, and the server that runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use wrt_test_support::files::WriteStyle;
use wrt_test_support::process::{Event, Ready, ServerProcess, wrt_binary};

use crate::probe::Probe;
use crate::work;

/// The handler's name in a site that has one.
pub(crate) const HANDLER: &str = "measured";

/// Where a site's hosts leave their tokens, and what they know of their handlers.
pub(crate) const STATE_HOME: &str = "state-home";

/// What the manifest says of one handler.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handler<'a> {
    name: &'a str,
    route: &'a str,
    settings: &'a str,
}

impl<'a> Handler<'a> {
    pub(crate) fn new(name: &'a str, route: &'a str) -> Self {
        Self { name, route, settings: "" }
    }

    /// With these lines of settings.
    pub(crate) fn with(self, settings: &'a str) -> Self {
        Self { settings, ..self }
    }
}

/// The directory; its server keeps its cache and its state there too, so that sites share nothing.
#[derive(Debug)]
pub(crate) struct Site {
    root: PathBuf,
    /// Removed when dropped, unless the site is kept for later runs.
    _temporary: Option<TempDir>,
}

impl Site {
    /// A site whose handler is `component`, at every path.
    pub(crate) fn new(component: &[u8]) -> Result<Self> {
        Self::with(component, "")
    }

    /// The same with these lines of settings for its handler.
    pub(crate) fn with(component: &[u8], settings: &str) -> Result<Self> {
        let site = Self::temporary()?;
        site.write_manifest(&[Handler::new(HANDLER, "/*").with(settings)], "")?;
        site.replace(component)?;
        Ok(site)
    }

    /// A site without anything in it.
    pub(crate) fn temporary() -> Result<Self> {
        let temporary = tempfile::tempdir().context("failed to create a directory")?;
        Ok(Self { root: temporary.path().to_owned(), _temporary: Some(temporary) })
    }

    /// Removes what hosts of this site know of its handlers' versions.
    pub(crate) fn forget_versions(&self) -> Result<()> {
        let path = self.root.join(STATE_HOME);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove `{}`", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// The site at `root`, which is kept.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root, _temporary: None }
    }

    /// Writes a manifest with these handlers and `more` sections.
    pub(crate) fn write_manifest(&self, handlers: &[Handler<'_>], more: &str) -> Result<()> {
        let mut manifest = format!("[host]\nexpose_generation = true\n\n{more}\n");
        for Handler { name, route, settings } in handlers {
            manifest += &format!(
                "[handler.{name}]\nsource = \"components/{name}.wasm\"\nroute = \"{route}\"\n\
                 {settings}\n"
            );
        }
        fs::create_dir_all(self.root.join("components")).context("failed to create a directory")?;
        work::write(&self.root.join("wrt.toml"), manifest)
    }

    /// Gives the one handler new bytes.
    pub(crate) fn replace(&self, component: &[u8]) -> Result<()> {
        self.put(HANDLER, component)
    }

    /// Gives handler `name` new bytes by a rename, as compilers do.
    pub(crate) fn put(&self, name: &str, component: &[u8]) -> Result<()> {
        let path = self.component(name);
        WriteStyle::Rename
            .write(&path, component)
            .with_context(|| format!("failed to replace `{}`", path.display()))
    }

    /// Where the component of handler `name` is.
    pub(crate) fn component(&self, name: &str) -> PathBuf {
        self.root.join("components").join(name).with_extension("wasm")
    }

    /// `wrt COMMAND` in this site.
    pub(crate) fn wrt<S: AsRef<Path>>(&self, arguments: &[S]) -> Result<Command> {
        let mut command = Command::new(wrt_binary()?);
        command.args(arguments.iter().map(AsRef::as_ref)).current_dir(&self.root);
        command.env("XDG_CACHE_HOME", self.root.join("cache-home"));
        command.env("XDG_STATE_HOME", self.path(STATE_HOME));
        Ok(command)
    }

    /// The path of `name` in this site.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Starts `wrt serve --watch` and waits for the first generation of a site's one handler.
    pub(crate) fn serve(&self) -> Result<ServerProcess> {
        self.start_and_ask(&["serve", "--watch"])
    }

    /// Starts `wrt dev` and waits for the same.
    pub(crate) fn dev(&self) -> Result<ServerProcess> {
        self.start_and_ask(&["dev"])
    }

    /// Starts `wrt` with `arguments`; returns when it listens.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<ServerProcess> {
        let mut command = self.wrt(arguments)?;
        command.args(["--listen", "127.0.0.1:0", "--json"]);
        ServerProcess::start(command, Ready::WRT)
    }

    /// Starts `wrt serve` with a control plane and waits for the same.
    pub(crate) fn control(&self) -> Result<ServerProcess> {
        self.start_and_ask(&["serve", "--admin", "127.0.0.1:0"])
    }

    fn start_and_ask(&self, arguments: &[&str]) -> Result<ServerProcess> {
        let server = self.start(arguments)?;
        // A handler is staged when it is called first; how the call goes is not the question.
        Probe::new(server.address()).get("/")?;
        server.wait_for("the first generation", 0, |event| event.is("swapped"))?;
        Ok(server)
    }
}

/// The digest of `component` as events spell it.
pub(crate) fn digest(component: &[u8]) -> String {
    Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first 12 digits of a digest, as the response header has them.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// Replaces the component of `site` and waits until `server` has published it; gives the event and
/// the milliseconds until it was heard.
pub(crate) fn swap(site: &Site, server: &ServerProcess, component: &[u8]) -> Result<(Event, f64)> {
    let (from, digest) = (server.n_events(), digest(component));
    let replaced_at = Instant::now();
    site.replace(component)?;
    let event = published(server, from, &digest)?;
    let heard_after = event.heard_at.saturating_duration_since(replaced_at);
    Ok((event, heard_after.as_secs_f64() * 1e3))
}

/// Waits for the publication of `digest`, told by event number `from` or later.
pub(crate) fn published(server: &ServerProcess, from: usize, digest: &str) -> Result<Event> {
    let event = server.wait_for(&format!("a swap to `{}`", short(digest)), from, |event| {
        event.is("rejected") || event.is("swapped") && event.text("digest") == digest
    })?;
    if event.is("rejected") {
        bail!("the server rejected the new component: {}", event.json);
    }
    Ok(event)
}

/// Waits for the stage of `digest`, told by event number `from` or later.
pub(crate) fn staged(server: &ServerProcess, from: usize, digest: &str) -> Result<Event> {
    server.wait_for(&format!("the stage of `{}`", short(digest)), from, |event| {
        event.is("staged") && event.text("digest") == digest
    })
}
