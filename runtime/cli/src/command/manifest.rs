//! Looks whether the manifest was written to while the host runs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

/// Pause between two looks at a manifest that no event tells of: in a directory that is mounted over the
/// network, or behind a symbolic link that leads elsewhere now.
const EVERY: Duration = Duration::from_millis(100);

/// Time for which a file that was closed has to stay the same: a script may write it in several steps, and
/// people take what comes so soon for immediate.
const SETTLES: Duration = Duration::from_millis(10);

/// The manifest of a host that watches what it serves.
pub(super) struct ManifestFile {
    path: Option<PathBuf>,
    seen: Option<Stamp>,
    /// What was there at the last look, and is another version than the one that was told of.
    newer: Option<Stamp>,
    looks: Interval,
    /// Whether a process has the file open for writing, as far as the system reports that.
    is_open: Arc<AtomicBool>,
    /// When the file is looked at again after it was closed.
    look_at: Option<Instant>,
    /// Told when somebody has replaced the file, or closed it after writing to it.
    whole: Arc<Notify>,
    /// `None` where the system tells nothing.
    _watcher: Option<RecommendedWatcher>,
}

/// What tells one version of a file from another, as far as this needs to: time, size and inode.
type Stamp = (SystemTime, u64, u64);

impl ManifestFile {
    /// Looks from now on at the file at `path`, if there is one.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let whole = Arc::default();
        let is_open = Arc::default();
        let watcher = path.as_deref().and_then(|path| watch(path, &whole, &is_open));
        let (seen, newer, look_at) = (None, None, None);
        Self { path, seen, newer, looks, whole, is_open, look_at, _watcher: watcher }
    }

    /// Ready when the file is another one than when this was ready last, and is the same at two looks:
    /// whoever writes to it may not have done so yet. Ready once for the file that is there at first, which
    /// may have been written since it was read. For ever without a file.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when this is dropped.
    pub(super) async fn written(&mut self) {
        let Some(path) = &self.path else { return std::future::pending().await };
        loop {
            let soon = self.look_at;
            // Cancel-safe: a permit that is not taken stays, and a tick that is lost is followed by another.
            tokio::select! {
                () = self.whole.notified() => self.look_at = Some(Instant::now() + SETTLES),
                () = until(soon) => self.look_at = None,
                _ = self.looks.tick() => {}
            }
            // Ordering, here and below: a mark that guards no other data.
            if self.is_open.load(Ordering::Relaxed) {
                continue;
            }
            // One that is missing is being replaced, or is missed at the next start.
            let Some(now) = stamp(path) else { continue };
            if Some(now) == self.seen {
                self.newer = None;
            } else if self.newer == Some(now) && self.look_at.is_none() {
                (self.seen, self.newer) = (Some(now), None);
                return;
            } else {
                self.newer = Some(now);
            }
        }
    }
}

/// Waits until then; for ever without a time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Has `whole` told of the file at `path`; `None` where the system cannot.
fn watch(
    path: &Path,
    whole: &Arc<Notify>,
    is_open: &Arc<AtomicBool>,
) -> Option<RecommendedWatcher> {
    let path = std::path::absolute(path).ok()?;
    let (dir, name) = (path.parent()?, path.file_name()?.to_owned());
    let (whole, is_open) = (Arc::clone(whole), Arc::clone(is_open));
    // The directory, as the file itself is another one after it was replaced.
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let Ok(event) = event else { return };
        if event.paths.iter().all(|path| path.file_name() != Some(&name)) {
            return;
        }
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_) => {
                is_open.store(false, Ordering::Relaxed);
                whole.notify_one();
            }
            EventKind::Modify(ModifyKind::Data(_)) => is_open.store(true, Ordering::Relaxed),
            _ => {}
        }
    });
    let mut watcher = watcher.ok()?;
    watcher.watch(dir, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    async fn is_told(file: &mut ManifestFile) -> bool {
        tokio::time::timeout(10 * EVERY, file.written()).await.is_ok()
    }

    #[tokio::test]
    async fn each_writing_is_told_once() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("wrt.toml");
        fs::write(&path, "one").unwrap();
        let mut file = ManifestFile::new(Some(path.clone()));
        assert!(is_told(&mut file).await, "it may have been written since it was read");
        assert!(!is_told(&mut file).await);
        fs::remove_file(&path).unwrap();
        assert!(!is_told(&mut file).await);
        fs::write(&path, "another").unwrap();
        file.written().await;
        assert!(!is_told(&mut file).await);
        // As editors do: the same size, and perhaps the same time.
        let new = temp.path().join("new");
        fs::write(&new, "replace").unwrap();
        fs::rename(&new, &path).unwrap();
        file.written().await;
        assert!(!is_told(&mut file).await);
        assert!(!is_told(&mut ManifestFile::new(None)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn without_events_a_file_is_told_when_it_stays_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("wrt.toml");
        fs::write(&path, "one").unwrap();
        let mut file = ManifestFile::new(Some(path.clone()));
        (file.whole, file.is_open, file._watcher) = (Arc::default(), Arc::default(), None);
        file.written().await;
        assert!(!is_told(&mut file).await);
        let mut writer = fs::File::create(&path).unwrap();
        writer.write_all(b"a longer one").unwrap();
        file.written().await;
        assert!(!is_told(&mut file).await);
    }
}
