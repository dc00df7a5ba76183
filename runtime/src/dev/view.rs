//! Keeps a build's inputs in sight: what they contain, and the watches that tell of changes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::git;
use super::hints::Hints;
use super::hub::{Hub, Subscription};
use super::inputs::Inputs;
use super::snapshot::{Concern, Contents, Snapshot};

/// Scans in a row. New directories make one more necessary, because files may have come into them
/// before their watch; more than a few means that somebody creates directories faster than that,
/// and then their events start the next look anyway.
const MAX_SCANS: usize = 8;

/// The inputs, and the watches on them.
#[derive(Debug)]
pub(super) struct View {
    pub(super) inputs: Inputs,
    pub(super) subscription: Subscription,
    pub(super) snapshot: Snapshot,
    /// The git directory of the work tree that the inputs are in.
    pub(super) git_dir: Option<PathBuf>,
}

/// What a look at the inputs showed.
#[derive(Debug)]
pub(super) struct Look {
    /// Their content.
    pub(super) contents: Contents,
    /// Whether what every build needs is there.
    pub(super) is_available: bool,
    /// What to tell people about watches that the system refused.
    pub(super) limit: Option<String>,
}

impl View {
    /// A view of `inputs` that has not looked yet.
    pub(super) fn new(hub: Arc<Hub>, inputs: Inputs) -> Self {
        let (subscription, snapshot) = (Subscription::new(hub), Snapshot::default());
        Self { inputs, subscription, snapshot, git_dir: None }
    }

    /// Leaves of `hints` what concerns the inputs.
    pub(super) fn relevant(&mut self, mut hints: Hints) -> Hints {
        // A watched directory with an event of its own is gone or another one: the watch is on what
        // it was.
        let n_gone = hints.paths.keys().filter(|path| self.subscription.forget(path)).count();
        hints.paths.retain(|path, _| self.snapshot.concern(path) != Concern::None);
        hints.rescan |= n_gone > 0 && hints.paths.is_empty();
        if hints.paths.is_empty() && !hints.rescan { Hints::default() } else { hints }
    }

    /// Looks where `hints` point, or everywhere if they touch more than known files. Blocks.
    pub(super) fn look(&mut self, hints: &Hints) -> Look {
        let mut limit = None;
        let is_plain = |path: &PathBuf| {
            self.snapshot.concern(path) == Concern::File
                // A file that became a directory or a link is no longer that file.
                && fs::symlink_metadata(path).map_or(true, |data| data.is_file())
        };
        if !hints.rescan && hints.paths.keys().all(is_plain) {
            self.snapshot.reread(hints.paths.keys());
        } else {
            let hinted: BTreeSet<_> = hints.paths.keys().cloned().collect();
            for _ in 0..MAX_SCANS {
                let before = std::mem::take(&mut self.snapshot);
                self.snapshot = Snapshot::scan(&self.inputs, before, &hinted);
                let watched = self.subscription.watch_only(&self.snapshot.dirs());
                limit = limit.or(watched.limit);
                if !watched.has_new {
                    break;
                }
            }
            self.git_dir = git::git_dir(&self.inputs.base);
        }
        Look {
            contents: self.snapshot.contents(),
            is_available: self.inputs.anchor.exists(),
            limit,
        }
    }
}
