//! Tells whether git is changing a work tree right now, so that a checkout becomes one build.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::hub::{Stamp, stamp};

mod index;

/// How long after git wrote its index or head its work may still be followed by more, as in a
/// rebase: the next step starts well within this.
const RECENT: Duration = Duration::from_secs(1);

/// What git is doing with a work tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GitState {
    /// Nothing.
    Idle,
    /// It finished something moments ago.
    Recent,
    /// It holds the lock on the index.
    Locked,
}

/// The git directory that `dir` belongs to, if any; of a linked work tree, its own.
pub(super) fn git_dir(dir: &Path) -> Option<PathBuf> {
    let found = dir.ancestors().map(|dir| dir.join(".git")).find(|path| path.exists())?;
    if found.is_dir() {
        return Some(found);
    }
    // In a linked work tree and in a submodule it is a file: `gitdir: PATH`.
    let text = fs::read_to_string(&found).ok()?;
    let target = text.trim().strip_prefix("gitdir:")?.trim();
    Some(found.with_file_name(target))
}

/// The directory whose files the repository around `dir` tracks, if there is one.
pub(super) fn work_tree(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().find(|dir| dir.join(".git").exists()).map(Path::to_owned)
}

/// Largest index that is read: one of a million files takes less.
const MAX_INDEX: u64 = 256 * 1024 * 1024;

/// The files that git tracks, as last read.
#[derive(Debug, Default)]
pub(super) struct Index {
    path: PathBuf,
    stamp: Option<Stamp>,
    tracked: Vec<PathBuf>,
}

impl Index {
    /// The files that git tracks in `work_tree`, under it; `None` where its index is not understood.
    /// Blocks.
    pub(super) fn tracked(&mut self, work_tree: &Path) -> Option<&[PathBuf]> {
        let path = git_dir(work_tree)?.join("index");
        let stamp = stamp(&path);
        if self.path != path || self.stamp != stamp {
            let size = fs::metadata(&path).ok()?.len();
            let bytes = (size <= MAX_INDEX).then(|| fs::read(&path).ok()).flatten()?;
            // Rules alone are a good guess where it is not understood.
            let names = index::names(&bytes).unwrap_or_default();
            self.tracked = names.into_iter().map(|name| work_tree.join(name)).collect();
            (self.path, self.stamp) = (path, stamp);
        }
        Some(&self.tracked)
    }
}

/// What git is doing as of `now`.
pub(super) fn state(git_dir: &Path, now: SystemTime) -> GitState {
    if git_dir.join("index.lock").exists() {
        return GitState::Locked;
    }
    let is_recent = |name| {
        let modified = fs::metadata(git_dir.join(name)).and_then(|data| data.modified());
        // A time in the future is a clock that jumped: taken as recent, it costs a moment.
        modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age < RECENT) || at > now)
    };
    if is_recent("index") || is_recent("HEAD") { GitState::Recent } else { GitState::Idle }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_and_the_age_of_the_index_tell() {
        let dir = tempfile::tempdir().unwrap();
        let git = dir.path().join(".git");
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::create_dir(&git).unwrap();
        assert_eq!(git_dir(&dir.path().join("a/b")), Some(git.clone()));
        let now = SystemTime::now();
        assert_eq!(state(&git, now), GitState::Idle);
        fs::write(git.join("index"), "").unwrap();
        assert_eq!(state(&git, now), GitState::Recent);
        assert_eq!(state(&git, now + Duration::from_secs(60)), GitState::Idle);
        fs::write(git.join("index.lock"), "").unwrap();
        assert_eq!(state(&git, now), GitState::Locked);
    }

    #[test]
    fn a_linked_work_tree_is_resolved() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".git"), "gitdir: main/.git/worktrees/x\n").unwrap();
        assert_eq!(git_dir(dir.path()), Some(dir.path().join("main/.git/worktrees/x")));
    }
}
