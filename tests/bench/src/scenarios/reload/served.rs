//! `wrt serve --watch` on a directory whose one artifact is replaced.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Result;
use wrt_test_support::process::{Event, ServerProcess};

use crate::numbered::Numbered;
use crate::probe::Probe;
use crate::scenarios::settled;
use crate::site::{Site, digest, staged};

/// The server, at first with the artifact of number 0.
pub(super) struct Served {
    // Dropped in this order: the server goes before the directory that it watches.
    server: ServerProcess,
    site: Site,
    numbered: Numbered,
    probe: Probe,
}

impl Served {
    /// Starts it; `probe` makes who asks for its answers.
    pub(super) fn start(numbered: Numbered, probe: fn(SocketAddr) -> Probe) -> Result<Self> {
        let site = Site::new(&numbered.component(0)?)?;
        let server = site.serve()?;
        let probe = probe(server.address());
        Ok(Self { server, site, numbered, probe })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Size of each artifact in bytes.
    pub(super) fn len(&self) -> usize {
        self.numbered.len()
    }

    /// Replaces the artifact by that of `number`; gives the milliseconds until it answers.
    pub(super) fn replace(&mut self, number: usize) -> Result<f64> {
        let component = self.numbered.component(number)?;
        let replaced_at = Instant::now();
        self.site.replace(&component)?;
        let answered_at = self.probe.wait_for("/", &Numbered::words(number))?;
        Ok((answered_at - replaced_at).as_secs_f64() * 1e3)
    }

    /// The same, and how it was staged. Returns when the server has nothing more to do about it.
    pub(super) fn replace_and_settle(&mut self, number: usize) -> Result<(f64, Event)> {
        let from = self.server.n_events();
        let ms = self.replace(number)?;
        let staged = staged(&self.server, from, &digest(&self.numbered.component(number)?))?;
        // What is compiled once more, better, is not to slow down the next one.
        settled(&self.server)?;
        Ok((ms, staged))
    }
}
