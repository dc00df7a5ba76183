//! One of those that are measured in turns: it is changed, and asked until it answers anew.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::Result;

use crate::peers::Peer;
use crate::probe::Probe;
use crate::project::Project;
use crate::report::Figure;
use crate::stats::Samples;

/// Makes change number N and gives the milliseconds until it answers.
type Reload = Box<dyn FnMut(usize) -> Result<f64>>;

/// A side with its measurements.
pub(super) struct Side {
    /// Names it in the figure, for people.
    pub(super) name: &'static str,
    /// What it is; empty where nothing needs to be said.
    pub(super) version: String,
    /// Where it listens, if it does.
    pub(super) address: Option<SocketAddr>,
    pub(super) ms: Samples,
    reload: Reload,
}

impl Side {
    /// A server whose text is edited. Returns when it answers for the first time.
    pub(super) fn edited(name: &'static str, peer: Peer, mut probe: Probe) -> Result<Self> {
        probe.wait_for("/", "<h1>")?;
        let (version, address) = (peer.version().to_owned(), Some(peer.address()));
        let reload = move |number| {
            let greeting = format!("edit {number}");
            let saved_at = Instant::now();
            peer.edit(&greeting)?;
            let answered_at = probe.wait_for("/", &format!("<h1>{greeting}</h1>"))?;
            Ok((answered_at - saved_at).as_secs_f64() * 1e3)
        };
        Ok(Self { version, ..Self::new(name, address, reload) })
    }

    /// No server: a plain build of the edited project. Returns when all of it is built.
    pub(super) fn built(name: &'static str, project: Project) -> Result<Self> {
        project.build()?;
        Ok(Self::new(name, None, move |number| {
            let saved_at = Instant::now();
            project.edit(&format!("edit {number}"))?;
            project.build()?;
            Ok(saved_at.elapsed().as_secs_f64() * 1e3)
        }))
    }

    /// Any other one.
    pub(super) fn new(
        name: &'static str,
        address: Option<SocketAddr>,
        reload: impl FnMut(usize) -> Result<f64> + 'static,
    ) -> Self {
        let (version, ms) = (String::new(), Samples::default());
        Self { name, version, address, ms, reload: Box::new(reload) }
    }

    /// Makes change `number` and keeps how long it took to answer.
    pub(super) fn reload(&mut self, number: usize) -> Result<()> {
        let ms = (self.reload)(number)?;
        self.ms.push(ms);
        Ok(())
    }
}

/// Starts a peer; one that does not start is absent from `figure`.
pub(super) fn start(
    figure: &mut Figure,
    name: &'static str,
    start: impl FnOnce() -> Result<Side>,
) -> Option<Side> {
    match start() {
        Ok(side) => Some(side),
        Err(error) => {
            figure.absent(name, &error);
            None
        }
    }
}

/// Reloads each side once, in an order that changes with `number`, so that nobody always follows
/// the same other one. A peer that fails is absent from then on.
pub(super) fn round(
    figure: &mut Figure,
    number: usize,
    ours: &mut Side,
    peers: &mut Vec<Side>,
) -> Result<()> {
    let n_before = number % (peers.len() + 1);
    let mut failed = vec![];
    for (i, peer) in peers.iter_mut().enumerate() {
        if i == n_before {
            ours.reload(number)?;
        }
        if let Err(error) = peer.reload(number) {
            figure.absent(peer.name, &error);
            failed.push(i);
        }
    }
    if n_before == peers.len() {
        ours.reload(number)?;
    }
    for i in failed.into_iter().rev() {
        drop(peers.remove(i));
    }
    Ok(())
}
