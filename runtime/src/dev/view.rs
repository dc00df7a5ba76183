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
        for path in hints.paths.keys() {
            hints.rescan |= self.subscription.forget(path);
        }
        hints.paths.retain(|path, _| self.snapshot.concern(path) != Concern::None);
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::dev::Source;
    use crate::dev::hints::Touch;

    #[test]
    fn a_directory_that_is_gone_is_watched_anew_whatever_else_changed() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().canonicalize().unwrap().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("a.txt"), "1").unwrap();
        let source = Source::Command {
            command: "true".to_owned(),
            dir: dir.path().to_owned(),
            output: "out.wasm".into(),
            watch: vec!["inner/a.txt".into()],
        };
        let mut view = View::new(Arc::new(Hub::new(false)), Inputs::of(&source, None));
        view.look(&Hints::everywhere());
        let mut hints = Hints::default();
        for path in [&inner, &inner.join("a.txt")] {
            hints.add(path, Touch::Complete, Instant::now());
        }
        let relevant = view.relevant(hints);
        assert!(!view.subscription.forget(&inner), "it is still taken for watched");
        view.look(&relevant);
        assert!(view.subscription.forget(&inner), "nobody watches it");
    }
}
