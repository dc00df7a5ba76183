//! The versions that a handler ran before, for the way back.

use std::collections::VecDeque;

use crate::artifact::{Candidate, Lease};
use crate::id::{Digest, GenerationNumber};
use crate::snapshot::Snapshot;

/// Versions that can be gone back to by number. The code of the latest is in memory; that of the
/// others is in the cache directory, or is compiled again, for which a component that came without a
/// file stays in memory. So they are few.
const MAX_VERSIONS: usize = 4;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Past {
    /// Latest first.
    versions: VecDeque<Version>,
}

/// A version that was published.
pub(super) struct Version {
    pub(super) number: GenerationNumber,
    pub(super) candidate: Candidate,
    /// Keeps its code in memory.
    pub(super) lease: Option<Lease>,
    /// The state that it handed over, as long as its successor is on trial.
    pub(super) snapshot: Option<Snapshot>,
}

impl Past {
    /// `version` was replaced.
    pub(super) fn push(&mut self, version: Version) {
        if let Some(before) = self.versions.front_mut() {
            (before.lease, before.snapshot) = (None, None);
        }
        self.versions.push_front(version);
        self.versions.truncate(MAX_VERSIONS);
    }

    /// The version of generation `to`, or the latest that was not taken back itself.
    pub(super) fn find(
        &self,
        to: Option<GenerationNumber>,
        is_refused: impl Fn(Digest) -> bool,
    ) -> Option<&Version> {
        let is_wanted = |version: &&Version| match to {
            Some(to) => version.number == to,
            None => !is_refused(version.candidate.digest),
        };
        self.versions.iter().find(is_wanted)
    }

    /// The active generation has proved itself, so that no state is kept for the way back.
    pub(super) fn forget_snapshot(&mut self) {
        if let Some(latest) = self.versions.front_mut() {
            latest.snapshot = None;
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.versions.clear();
    }
}
