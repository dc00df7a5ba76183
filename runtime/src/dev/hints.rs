//! What file events have said since somebody last looked: one coalesced, bounded set of paths.
//!
//! A set and not a queue, so that an event storm costs no memory and a slow reader loses nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::Notify;

use super::session::lock;

/// Paths kept before the set degrades to "look at everything", which is then the cheaper thing.
const MAX_PATHS: usize = 4096;

/// How far along the writing of a file is, as its events tell; ordered from the most complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Touch {
    /// It was closed after writing, moved or removed: what is there now is meant.
    Complete,
    /// It appeared, by being created or hard-linked; only the first is followed by more events.
    Created,
    /// It was written to and not closed since.
    Open,
}

/// What was heard between two looks.
#[derive(Debug, Default, Clone)]
pub(super) struct Hints {
    /// The latest word on each path.
    pub(super) paths: BTreeMap<PathBuf, Touch>,
    /// Events were lost or are too many: look everywhere.
    pub(super) rescan: bool,
    /// When the first and the last of these events arrived.
    pub(super) span: Option<(Instant, Instant)>,
}

impl Hints {
    /// The hint to look everywhere, given now.
    pub(super) fn everywhere() -> Self {
        let mut hints = Self::default();
        hints.add_rescan(Instant::now());
        hints
    }

    /// Notes that `path` was touched at `now`.
    pub(super) fn add(&mut self, path: &Path, touch: Touch, now: Instant) {
        if self.paths.len() >= MAX_PATHS && !self.paths.contains_key(path) {
            return self.add_rescan(now);
        }
        self.paths.insert(path.to_owned(), touch);
        self.extend_span(now);
    }

    /// Notes at `now` that anything may have changed.
    pub(super) fn add_rescan(&mut self, now: Instant) {
        self.paths.clear();
        self.rescan = true;
        self.extend_span(now);
    }

    /// Adds what `later` says on top of this.
    pub(super) fn merge(&mut self, later: Self) {
        let Some((first, last)) = later.span else { return };
        self.extend_span(first);
        self.extend_span(last);
        self.rescan |= later.rescan;
        self.paths.extend(later.paths);
    }

    /// Whether nothing was heard.
    pub(super) fn is_empty(&self) -> bool {
        self.span.is_none()
    }

    /// The least complete state of any path; `Complete` without paths.
    pub(super) fn least_complete(&self) -> Touch {
        self.paths.values().copied().max().unwrap_or(Touch::Complete)
    }

    fn extend_span(&mut self, now: Instant) {
        let first = self.span.map_or(now, |(first, _)| first.min(now));
        self.span = Some((first, self.span.map_or(now, |(_, last)| last.max(now))));
    }
}

/// Where the watcher's thread leaves hints for one handler's task.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    hints: Mutex<Hints>,
    ready: Notify,
}

impl Inbox {
    /// Notes that `path` was touched.
    pub(super) fn add(&self, path: &Path, touch: Touch) {
        lock(&self.hints).add(path, touch, Instant::now());
        self.ready.notify_one();
    }

    /// Notes that anything may have changed.
    pub(super) fn add_rescan(&self) {
        lock(&self.hints).add_rescan(Instant::now());
        self.ready.notify_one();
    }

    /// Waits until there are hints and takes them.
    ///
    /// Cancel-safe: hints are taken in the same poll that returns them.
    pub(super) async fn next(&self) -> Hints {
        loop {
            let hints = std::mem::take(&mut *lock(&self.hints));
            if !hints.is_empty() {
                return hints;
            }
            self.ready.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_latest_word_on_a_path_counts() {
        let now = Instant::now();
        let mut hints = Hints::default();
        hints.add(Path::new("/a"), Touch::Open, now);
        assert_eq!(hints.least_complete(), Touch::Open);
        hints.add(Path::new("/a"), Touch::Complete, now + Duration::from_millis(5));
        assert_eq!(hints.least_complete(), Touch::Complete);
        assert_eq!(hints.span, Some((now, now + Duration::from_millis(5))));
    }

    #[test]
    fn too_many_paths_become_a_rescan() {
        let mut hints = Hints::default();
        for n in 0..=MAX_PATHS {
            hints.add(Path::new(&n.to_string()), Touch::Complete, Instant::now());
        }
        assert!(hints.rescan);
        assert!(hints.paths.is_empty());
    }

    #[tokio::test]
    async fn an_inbox_hands_out_each_hint_once() {
        let inbox = Inbox::default();
        inbox.add(Path::new("/a"), Touch::Created);
        inbox.add(Path::new("/b"), Touch::Complete);
        assert_eq!(inbox.next().await.paths.len(), 2);
        inbox.add(Path::new("/c"), Touch::Complete);
        assert_eq!(inbox.next().await.paths.into_keys().collect::<Vec<_>>(), [Path::new("/c")]);
    }
}
