//! The versions that a handler ran before, for the way back.

use std::collections::VecDeque;

use crate::artifact::{Lease, Release};
use crate::id::GenerationNumber;

/// Versions that can be gone back to without a state directory. The code of the latest is in memory; that of the
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
    pub(super) release: Release,
    /// What its calls bring, in words, where wrt makes them.
    pub(super) kind: Option<&'static str>,
    /// Whether later processes find its component, once it is confirmed.
    pub(super) is_kept: bool,
    /// Keeps its code in memory.
    pub(super) lease: Option<Lease>,
}

impl Past {
    /// `version` was replaced; it takes the place of an earlier one of the same release.
    pub(super) fn push(&mut self, version: Version) {
        if let Some(before) = self.versions.front_mut() {
            before.lease = None;
        }
        self.versions.retain(|it| it.release.digest != version.release.digest);
        self.versions.push_front(version);
        self.versions.truncate(MAX_VERSIONS);
    }

    /// The latest version whose release is wanted.
    pub(super) fn find(&self, is_wanted: impl Fn(&Release) -> bool) -> Option<&Version> {
        self.versions.iter().find(|version| is_wanted(&version.release))
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.versions.clear();
    }
}
