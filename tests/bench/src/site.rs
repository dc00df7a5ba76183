//! A directory with one built component and its manifest, and the server that watches it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use wrt_test_support::files::WriteStyle;
use wrt_test_support::process::{Event, ServerProcess};

/// The handler's name in every site.
pub(crate) const HANDLER: &str = "measured";

/// The directory; removed when dropped.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    /// A site whose handler is `component`, at every path.
    pub(crate) fn new(component: &[u8]) -> Result<Self> {
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let site = Self { directory };
        let manifest = format!(
            "[host]\nexpose_generation = true\n\n\
             [handler.{HANDLER}]\nsource = \"{HANDLER}.wasm\"\nroute = \"/*\"\n"
        );
        let path = site.directory.path().join("wrt.toml");
        fs::write(&path, manifest).context("failed to write the manifest")?;
        site.replace(component)?;
        Ok(site)
    }

    /// Gives the handler new bytes by a rename, as compilers do.
    pub(crate) fn replace(&self, component: &[u8]) -> Result<()> {
        let path = self.component();
        WriteStyle::Rename
            .write(&path, component)
            .with_context(|| format!("failed to replace `{}`", path.display()))
    }

    /// Starts `wrt serve` on it and waits for the first generation.
    pub(crate) fn serve(&self) -> Result<ServerProcess> {
        let arguments = ["--listen", "127.0.0.1:0", "--watch", "--json"].map(Path::new);
        let arguments = [Path::new("serve"), self.directory.path()].into_iter().chain(arguments);
        let server = ServerProcess::wrt(arguments)?;
        server.wait_for("the first generation", 0, |event| event.is("swapped"))?;
        Ok(server)
    }

    fn component(&self) -> PathBuf {
        self.directory.path().join(format!("{HANDLER}.wasm"))
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
    let event = server.wait_for(&format!("a swap to `{}`", short(&digest)), from, |event| {
        event.is("rejected") || event.is("swapped") && event.text("digest") == digest
    })?;
    if event.is("rejected") {
        bail!("the server rejected the new component: {}", event.json);
    }
    let heard_after = event.heard_at.saturating_duration_since(replaced_at);
    Ok((event, heard_after.as_secs_f64() * 1e3))
}
