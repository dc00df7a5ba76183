//! Looks whether the manifest was written to while the host runs, which applies none of that.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// Pause between two looks: nobody saves a file and expects to be told of it sooner.
const EVERY: Duration = Duration::from_secs(1);

/// The manifest of a host that watches what it serves.
pub(super) struct ManifestFile {
    path: Option<PathBuf>,
    seen: Option<Stamp>,
    looks: Interval,
}

/// What tells one version of a file from another, as far as this needs to.
type Stamp = (SystemTime, u64);

impl ManifestFile {
    /// Looks from now on at the file at `path`, if there is one.
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        let seen = path.as_ref().and_then(stamp);
        let mut looks = interval(EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { path, seen, looks }
    }

    /// Ready when the file was written since it was looked at last; for ever without one.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when this is dropped.
    pub(super) async fn written(&mut self) {
        loop {
            self.looks.tick().await;
            let Some(path) = &self.path else { return std::future::pending().await };
            // One that is missing is being replaced, or is missed at the next start.
            let Some(now) = stamp(path) else { continue };
            if self.seen.replace(now) != Some(now) {
                return;
            }
        }
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_writing_is_told_once() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("wrt.toml");
        fs::write(&path, "one").unwrap();
        let mut file = ManifestFile::new(Some(path.clone()));
        let looks = 10 * EVERY;
        assert!(tokio::time::timeout(looks, file.written()).await.is_err());
        fs::remove_file(&path).unwrap();
        assert!(tokio::time::timeout(looks, file.written()).await.is_err());
        fs::write(&path, "another").unwrap();
        file.written().await;
        assert!(tokio::time::timeout(looks, file.written()).await.is_err());
        let mut nothing = ManifestFile::new(None);
        assert!(tokio::time::timeout(looks, nothing.written()).await.is_err());
    }
}
