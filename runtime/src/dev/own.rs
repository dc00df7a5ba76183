//! Tells what a build writes into its own inputs from what people save while it runs; pure.
//!
//! A system's file events do not name the writer. So a change that may be either is followed by one
//! more build, and a path that changed in every build of a row is taken for one that builds write.
//! No save is lost by that: what is not known to be a build's own is built again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::snapshot::{Contents, changed};

/// Builds in a row that a change of the same path cancels. A person saves a file that often while
/// it is built; the build after that is let run to its end, which also bounds how long somebody who
/// saves all the time waits for an outcome.
const MAX_CANCELLED: u32 = 3;
/// The same bound for builds that touch other paths each time.
const MAX_CANCELLED_AT_ALL: u32 = 10;

/// What it takes to lay changes to builds that went on to their end.
#[derive(Debug, Clone, Copy)]
struct Proof {
    /// Builds in a row that a path must change in to be known as one that builds write.
    min: u32,
    /// The same bound for builds that touch other paths each time.
    max_at_all: u32,
}

/// For builds that may write anywhere.
const PROOF: Proof = Proof { min: 2, max_at_all: 4 };
/// For cargo's builds without a build script. Only an odd macro writes files, so that it is far more
/// likely somebody who saves all the time, or whose editor does.
const PROOF_OF_CARGO: Proof = Proof { min: 8, max_at_all: 16 };

/// What to do with a running build whose inputs changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    /// End it, and start the next one.
    Cancel,
    /// Let it end, and ask [`OwnWrites::ended`] then.
    Wait,
}

/// What to do after a build in which inputs changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its outcome is that of the inputs as they are now. Named are paths that it wrote, and that were
    /// not known for it before.
    Settled(Vec<PathBuf>),
    /// The same, but somebody may have saved each time all the same: one more build reads the last save.
    Learnt(Vec<PathBuf>),
    /// Inputs changed that it may not have read as they are now: build again.
    Again,
}

/// What is known of one handler's builds.
#[derive(Debug, Default)]
pub(super) struct OwnWrites {
    /// Whether the build runs programs that may write anywhere: a command, a build script.
    pub(super) may_write: bool,
    /// Paths that builds write.
    known: BTreeSet<PathBuf>,
    /// Directories that builds make, with all that is in them.
    dirs: BTreeSet<PathBuf>,
    /// Directories that went while the running build ran. It is the build's own doing if they come
    /// back; a checkout of another branch removes some, too.
    gone: BTreeSet<PathBuf>,
    /// By path, how many builds in a row its change cancelled.
    cancelled: BTreeMap<PathBuf, u32>,
    /// By path, in how many builds in a row it changed that went on to their end.
    ended: BTreeMap<PathBuf, u32>,
    /// Builds in a row that were cancelled, and that ended with inputs other than they began with.
    n_cancelled: u32,
    n_ended: u32,
    /// Whether the one more build of [`Ended::Learnt`] has been asked for.
    is_learnt: bool,
}

impl OwnWrites {
    /// Nothing is known of the builds yet, but whether they may write anywhere.
    pub(super) fn new(may_write: bool) -> Self {
        Self { may_write, ..Self::default() }
    }

    /// What to do with a build that began with `before`, now that its inputs are `now`; somebody
    /// still writes to the files `open`, and `is_dir` tells which directories are there now.
    pub(super) fn during(
        &mut self,
        before: &Contents,
        now: &Contents,
        open: &BTreeSet<PathBuf>,
        is_dir: impl Fn(&Path) -> bool,
    ) -> During {
        let changed = changed(before, now);
        if self.may_write {
            let gone = changed.iter().filter_map(|path| path.parent()).filter(|dir| !is_dir(dir));
            self.gone.extend(gone.map(Path::to_owned));
        }
        let may_come_back = |path: &PathBuf| is_in(&self.gone, path);
        let is_open_question = |path: &PathBuf| !self.is_known(path) && !may_come_back(path);
        let changed: Vec<_> = changed.into_iter().filter(is_open_question).collect();
        let may_be_own = |path: &PathBuf| {
            let is_new_or_gone = !before.contains_key(path) || !now.contains_key(path);
            self.ended.contains_key(path)
                || self.cancelled.get(path).is_some_and(|n| *n >= MAX_CANCELLED)
                || (self.may_write && (is_new_or_gone || open.contains(path)))
        };
        if changed.iter().all(may_be_own) || self.n_cancelled >= MAX_CANCELLED_AT_ALL {
            return During::Wait;
        }
        self.n_cancelled += 1;
        self.gone.clear();
        self.cancelled.retain(|path, _| changed.contains(path));
        for path in changed {
            *self.cancelled.entry(path).or_default() += 1;
        }
        During::Cancel
    }

    /// What to do after a build that began with `before`, and in which the inputs became `now`.
    pub(super) fn ended(&mut self, before: &Contents, now: &Contents) -> Ended {
        let gone = std::mem::take(&mut self.gone);
        self.dirs.extend(
            gone.into_iter().filter(|dir| now.keys().any(|path| is_directly_in(path, dir))),
        );
        let dirs: BTreeSet<_> = before.keys().filter_map(|path| path.parent()).collect();
        // A directory that was not there, or had no input in it, is the build's own.
        let is_in_new_dir = |path: &Path| {
            self.may_write && path.parent().is_some_and(|parent| !dirs.contains(parent))
        };
        let (mut own, mut doubtful) = (Vec::new(), Vec::new());
        for path in changed(before, now) {
            if self.is_known(&path) {
                continue;
            }
            let is_own = is_in_new_dir(&path) && now.contains_key(&path);
            if is_own { own.push(path) } else { doubtful.push(path) }
        }
        self.cancelled.clear();
        self.n_cancelled = 0;
        self.n_ended += 1;
        self.ended.retain(|path, _| doubtful.contains(path));
        for path in &doubtful {
            *self.ended.entry(path.clone()).or_default() += 1;
        }
        let proof = if self.may_write { PROOF } else { PROOF_OF_CARGO };
        let is_proved = |path: &PathBuf| self.ended.get(path).is_some_and(|n| *n >= proof.min);
        if !doubtful.iter().all(is_proved) && self.n_ended < proof.max_at_all {
            return Ended::Again;
        }
        let may_be_saved = doubtful.iter().any(|path| before.contains_key(path));
        own.append(&mut doubtful);
        self.ended.clear();
        self.n_ended = 0;
        for path in &own {
            if let Some(dir) = path.parent().filter(|_| is_in_new_dir(path)) {
                self.dirs.insert(dir.to_owned());
            }
        }
        self.known.extend(own.iter().cloned());
        // Once, so that builds come to an end that write other paths each time.
        match may_be_saved && !std::mem::replace(&mut self.is_learnt, true) {
            true => Ended::Learnt(own),
            false => Ended::Settled(own),
        }
    }

    /// Whether builds are known to write `path`.
    pub(super) fn is_known(&self, path: &Path) -> bool {
        self.known.contains(path) || is_in(&self.dirs, path)
    }

    /// The inputs `changed` did so while no build ran: what follows has nothing to do with what was
    /// before, and what builds were known to write, somebody else writes, too.
    pub(super) fn changed_by_others(&mut self, changed: &[PathBuf]) {
        self.known.retain(|path| !changed.contains(path));
        self.dirs.retain(|dir| !changed.iter().any(|path| is_directly_in(path, dir)));
        self.gone.clear();
        self.cancelled.clear();
        self.ended.clear();
        self.n_cancelled = 0;
        self.n_ended = 0;
        self.is_learnt = false;
    }
}

/// Whether `path` is an entry of one of `dirs`.
fn is_in(dirs: &BTreeSet<PathBuf>, path: &Path) -> bool {
    path.parent().is_some_and(|dir| dirs.contains(dir))
}

fn is_directly_in(path: &Path, dir: &Path) -> bool {
    path.parent() == Some(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;

    fn contents(files: &[(&str, &str)]) -> Contents {
        let digest = |text: &str| Some(Digest::of(text.as_bytes()));
        files.iter().map(|(path, text)| (PathBuf::from(path), digest(text))).collect()
    }

    fn during(own: &mut OwnWrites, before: &Contents, now: &Contents) -> During {
        own.during(before, now, &BTreeSet::new(), |_| true)
    }

    fn command() -> OwnWrites {
        OwnWrites::new(true)
    }

    #[test]
    fn a_save_cancels_and_its_build_settles() {
        let mut own = command();
        let (one, two) = (contents(&[("/s/a", "1")]), contents(&[("/s/a", "2")]));
        assert_eq!(during(&mut own, &one, &two), During::Cancel);
        assert_eq!(own.ended(&two, &two), Ended::Settled(vec![]));
    }

    #[test]
    fn what_appears_in_a_directory_of_its_own_is_the_builds() {
        let mut own = command();
        let before = contents(&[("/p/src/a", "1")]);
        let now = contents(&[("/p/src/a", "1"), ("/p/dist/x.o", "1")]);
        assert_eq!(during(&mut own, &before, &now), During::Wait);
        assert_eq!(own.ended(&before, &now), Ended::Settled(vec!["/p/dist/x.o".into()]));
        // Known from then on, also where the directory is there already.
        let later = contents(&[("/p/src/a", "1"), ("/p/dist/x.o", "2")]);
        assert_eq!(during(&mut own, &now, &later), During::Wait);
        assert_eq!(own.ended(&now, &later), Ended::Settled(vec![]));
    }

    #[test]
    fn what_is_in_a_directory_that_builds_remake_is_the_builds() {
        let mut own = command();
        let before = contents(&[("/p/src/a", "1"), ("/p/dist/x.o", "1")]);
        let gone = contents(&[("/p/src/a", "1")]);
        let found = own.during(&before, &gone, &BTreeSet::new(), |dir| dir.ends_with("src"));
        assert_eq!(found, During::Wait);
        assert_eq!(own.ended(&before, &before), Ended::Settled(vec![]));
        let now = contents(&[("/p/src/a", "1"), ("/p/dist/x.o", "2"), ("/p/dist/y.o", "1")]);
        assert_eq!(during(&mut own, &before, &now), During::Wait);
        assert_eq!(own.ended(&before, &now), Ended::Settled(vec![]));
        // A directory in which a file is missing for a moment is nobody's but the author's.
        let (before, gone) = (contents(&[("/p/src/a", "1")]), contents(&[]));
        assert_eq!(during(&mut own, &before, &gone), During::Wait);
        assert_eq!(during(&mut own, &before, &contents(&[("/p/src/a", "2")])), During::Cancel);
    }

    #[test]
    fn what_appears_beside_sources_is_built_once_more() {
        let mut own = command();
        let before = contents(&[("/s/a", "1")]);
        let now = contents(&[("/s/a", "1"), ("/s/new", "1")]);
        assert_eq!(during(&mut own, &before, &now), During::Wait);
        assert_eq!(own.ended(&before, &now), Ended::Again);
        // A person's: nothing changes in the second build.
        assert_eq!(own.ended(&now, &now), Ended::Settled(vec![]));
    }

    #[test]
    fn what_is_in_a_directory_that_somebody_removes_is_not_the_builds() {
        let mut own = command();
        let before = contents(&[("/p/src/a", "1"), ("/p/src/foo/b", "1")]);
        let without = contents(&[("/p/src/a", "1")]);
        let found = own.during(&before, &without, &BTreeSet::new(), |dir| dir.ends_with("src"));
        assert_eq!(found, During::Wait);
        assert_eq!(own.ended(&before, &without), Ended::Again);
        assert_eq!(own.ended(&without, &without), Ended::Settled(vec![]));
        own.changed_by_others(&["/p/src/foo/b".into()]);
        let later = contents(&[("/p/src/a", "1"), ("/p/src/foo/b", "2")]);
        assert_eq!(during(&mut own, &before, &later), During::Cancel);
    }

    #[test]
    fn what_changes_in_each_build_is_the_builds() {
        for (may_write, proof) in [(true, PROOF), (false, PROOF_OF_CARGO)] {
            let mut own = OwnWrites::new(may_write);
            let stamp = |n: u32| contents(&[("/s/a", "1"), ("/s/stamp", &n.to_string())]);
            let n_cancelled = (0..)
                .take_while(|n| during(&mut own, &stamp(*n), &stamp(n + 1)) == During::Cancel)
                .count();
            assert_eq!(n_cancelled, MAX_CANCELLED as usize);
            for n in 1..proof.min {
                assert_eq!(own.ended(&stamp(n), &stamp(n + 1)), Ended::Again);
                assert_eq!(during(&mut own, &stamp(n + 1), &stamp(n + 2)), During::Wait);
            }
            let found = own.ended(&stamp(50), &stamp(51));
            assert_eq!(found, Ended::Learnt(vec!["/s/stamp".into()]));
            assert_eq!(own.ended(&stamp(51), &stamp(52)), Ended::Settled(vec![]));
            // A save beside it counts as ever.
            let saved = contents(&[("/s/a", "2"), ("/s/stamp", "53")]);
            assert_eq!(during(&mut own, &stamp(52), &saved), During::Cancel);
            // Somebody writes it while nothing is built, and so may do it at other times.
            own.changed_by_others(&["/s/stamp".into()]);
            assert_eq!(during(&mut own, &stamp(54), &stamp(55)), During::Cancel);
        }
    }

    #[test]
    fn builds_that_write_another_path_each_time_come_to_an_end() {
        let mut own = command();
        let mut now = contents(&[("/s/a", "1")]);
        let mut n_ended = 0;
        loop {
            let before = now.clone();
            now.insert(format!("/s/tmp{n_ended}").into(), None);
            n_ended += 1;
            assert_eq!(during(&mut own, &before, &now), During::Wait);
            if own.ended(&before, &now) != Ended::Again {
                break;
            }
        }
        assert_eq!(n_ended, PROOF.max_at_all);
        // Also where they remove what the build before wrote.
        let mut own = command();
        let file = |n: u32| contents(&[(&format!("/s/tmp{n}"), "1")]);
        let is_over = |n: &u32| matches!(own.ended(&file(*n), &file(n + 1)), Ended::Settled(_));
        assert_eq!((1..100).find(is_over), Some(2 * PROOF.max_at_all));
        let mut own = OwnWrites::default();
        let n_cancelled = (0..).take_while(|n| {
            let file = |n: u32| contents(&[(&format!("/s/{n}"), "1")]);
            during(&mut own, &file(*n), &file(n + 1)) == During::Cancel
        });
        assert_eq!(n_cancelled.count(), MAX_CANCELLED_AT_ALL as usize);
    }

    #[test]
    fn a_file_that_is_being_written_is_waited_for() {
        let mut own = command();
        let (before, now) = (contents(&[("/s/x.o", "whole")]), contents(&[("/s/x.o", "")]));
        let open = [PathBuf::from("/s/x.o")].into();
        assert_eq!(own.during(&before, &now, &open, |_| true), During::Wait);
        assert_eq!(own.ended(&before, &before), Ended::Settled(vec![]));
    }

    #[test]
    fn saves_far_apart_are_never_taken_for_a_builds() {
        let mut own = command();
        for n in 0..20 {
            let before = contents(&[("/s/a", &n.to_string())]);
            let now = contents(&[("/s/a", &(n + 1).to_string())]);
            assert_eq!(during(&mut own, &before, &now), During::Cancel);
            assert_eq!(own.ended(&now, &now), Ended::Settled(vec![]));
            own.changed_by_others(&["/s/a".into()]);
        }
    }

    #[test]
    fn nothing_of_cargos_own_writes_sources() {
        let mut own = OwnWrites::default();
        let before = contents(&[("/s/a", "1")]);
        let now = contents(&[("/s/a", "1"), ("/s/gen/b", "1")]);
        assert_eq!(during(&mut own, &before, &now), During::Cancel);
        assert_eq!(own.ended(&before, &now), Ended::Again);
    }
}
