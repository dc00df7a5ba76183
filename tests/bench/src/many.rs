//! A site with many handlers, each a component of its own, kept with their compiled code.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::numbered::Numbered;
use crate::report::say;
use crate::site::{Handler, Site};
use crate::work;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Many {
    pub(crate) site: Site,
    /// What `wrt cache stat` says once everything is compiled.
    pub(crate) cached: Value,
    /// Bytes of each component.
    pub(crate) component_len: usize,
}

impl Many {
    /// `n` handlers with a cache that keeps `budget` bytes in memory. Takes some 20 minutes for ten
    /// thousand; what an earlier run has left is not made again.
    pub(crate) fn make(n: usize, budget: u64) -> Result<Self> {
        let site = Site::at(work::directory(&format!("scale-{n}"))?);
        let numbered = Numbered::small()?;
        let names: Vec<_> = (0..n).map(|it| (name(it), route(it))).collect();
        let handlers: Vec<_> =
            names.iter().map(|(name, route)| Handler::new(name, route)).collect();
        let mib = budget >> 20;
        site.write_manifest(
            &handlers,
            &format!("[cache]\nmemory = \"{mib}MiB\"\ndisk = \"16GiB\"\ndir = \"cache\"\n"),
        )?;
        for (number, (name, _)) in names.iter().enumerate() {
            let component = numbered.component(number)?;
            let path = site.component(name);
            // The server remembers files by their times: one that is right stays as it is.
            if !work::read(&path).is_ok_and(|found| found == component) {
                work::write(&path, component)?;
            }
        }
        let cached = compile_all(&site)?;
        Ok(Self { site, cached, component_len: numbered.len() })
    }
}

/// The name of handler `number`.
pub(crate) fn name(number: usize) -> String {
    format!("h{number:05}")
}

/// The path of handler `number`.
pub(crate) fn route(number: usize) -> String {
    format!("/{}", name(number))
}

/// Lets `wrt build` compile what is not on disk yet; gives what `wrt cache stat` says then.
fn compile_all(site: &Site) -> Result<Value> {
    let started_at = Instant::now();
    let status = site
        .wrt(&["build", "--json"])?
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("failed to run `wrt build`")?;
    ensure!(status.success(), "`wrt build` ended with {status}");
    say(&format!("  compiled code is on disk after {:.0} s", started_at.elapsed().as_secs_f64()));
    let output = site.wrt(&["cache", "stat", "--json"])?.output();
    let output = output.context("failed to run `wrt cache stat`")?;
    ensure!(output.status.success(), "`wrt cache stat` ended with {}", output.status);
    serde_json::from_slice(&output.stdout).context("failed to read what `wrt cache stat` said")
}
