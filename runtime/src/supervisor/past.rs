//! The versions that a handler ran before, for the way back, and those that must not come back.

use std::collections::VecDeque;

use crate::artifact::{Candidate, Lease};
use crate::id::{Digest, GenerationNumber};
use crate::snapshot::Snapshot;

/// Versions that can be gone back to by number. The code of the latest is in memory; that of the
/// others is in the cache directory, or is compiled again.
const MAX_VERSIONS: usize = 10;

/// Digests that are refused, latest last; as many as anybody tries in turn.
const MAX_REFUSED: usize = 16;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Past {
    /// Latest first.
    versions: VecDeque<Version>,
    refused: VecDeque<Digest>,
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

    /// The version of generation `to`, or the latest.
    pub(super) fn find(&self, to: Option<GenerationNumber>) -> Option<&Version> {
        match to {
            Some(to) => self.versions.iter().find(|version| version.number == to),
            None => self.versions.front(),
        }
    }

    /// The active generation has proved itself, so that no state is kept for the way back.
    pub(super) fn forget_snapshot(&mut self) {
        if let Some(latest) = self.versions.front_mut() {
            latest.snapshot = None;
        }
    }

    /// `digest` was taken back.
    pub(super) fn refuse(&mut self, digest: Digest) {
        self.allow(digest);
        self.refused.push_back(digest);
        if self.refused.len() > MAX_REFUSED {
            self.refused.pop_front();
        }
    }

    /// `digest` was asked for by name, and so is welcome again.
    pub(super) fn allow(&mut self, digest: Digest) {
        self.refused.retain(|it| *it != digest);
    }

    /// Whether `digest` was taken back.
    pub(super) fn is_refused(&self, digest: Digest) -> bool {
        self.refused.contains(&digest)
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.versions.clear();
    }
}
