//! How long a chain of builds goes on in which only what one build writes starts the next.
//!
//! Handlers may build for one another, and such a chain ends by itself. Two builds that write each
//! other's inputs, a time into them for example, would start each other for ever.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::session::lock;
use crate::id::HandlerName;

/// Builds remembered, beside those that still run.
const KEPT: usize = 64;
/// Kernels stamp files in steps of up to 10 ms, so a file may look older than the build that wrote it.
const STAMP_STEP: Duration = Duration::from_millis(20);

/// Builds that a path's change must have started before, to be no change that people made while others
/// built.
const MIN_STARTED: u32 = 2;
/// Times the longest chain after which it ends although other paths change each time.
const MAX_AT_ALL: u32 = 4;

/// The builds of a session, running ones and the last ones that ended.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    builds: Mutex<VecDeque<Build>>,
}

#[derive(Debug)]
struct Build {
    handler: HandlerName,
    /// Whether it may write anywhere; another one writes none of anybody's inputs.
    may_write: bool,
    from: SystemTime,
    to: Option<SystemTime>,
    depth: u32,
    id: Arc<()>,
}

/// A build under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    lineage: Arc<Lineage>,
    id: Arc<()>,
    /// How many builds before it started each other.
    pub(super) depth: u32,
}

impl Lineage {
    /// A build of `handler` begins now, after `depth` builds that started each other.
    pub(super) fn begin(
        self: &Arc<Self>,
        handler: &HandlerName,
        depth: u32,
        may_write: bool,
    ) -> Turn {
        let id = Arc::new(());
        let mut builds = lock(&self.builds);
        let ended = builds.iter().position(|build| build.to.is_some());
        if let Some(oldest) = ended.filter(|_| builds.len() >= KEPT) {
            builds.remove(oldest);
        }
        let (handler, from) = (handler.clone(), SystemTime::now());
        builds.push_back(Build { handler, may_write, from, to: None, depth, id: id.clone() });
        Turn { lineage: self.clone(), id, depth }
    }

    /// How many builds in a row led to files that were written at `times`, if builds of handlers
    /// other than `handler` were running at all of these; 0 otherwise.
    pub(super) fn depth_of(
        &self,
        handler: &HandlerName,
        times: impl IntoIterator<Item = Option<SystemTime>>,
    ) -> u32 {
        let builds = lock(&self.builds);
        let depth_at = |at: SystemTime| {
            let others = builds.iter().filter(|build| build.may_write && build.handler != *handler);
            others.filter(|build| build.ran_at(at)).map(|build| build.depth + 1).max()
        };
        let depths = times.into_iter().map(|at| depth_at(at?));
        depths.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()).unwrap_or(0)
    }
}

/// The paths whose changes, made while other handlers built, started the last builds of one handler,
/// with how many in a row.
#[derive(Debug, Default)]
pub(super) struct Chain(BTreeMap<PathBuf, u32>);

impl Chain {
    /// Takes down that `paths` changed after `depth` builds in a row, 0 for what people changed. True
    /// when that goes on for ever, and no build is to follow.
    pub(super) fn is_endless(&mut self, paths: &[PathBuf], depth: u32, max_depth: u32) -> bool {
        if depth == 0 {
            self.0.clear();
            return false;
        }
        // A file that somebody saves while others build did not start the builds before.
        let started_before = |path: &PathBuf| self.0.get(path).is_some_and(|n| *n >= MIN_STARTED);
        let is_known = paths.iter().all(started_before);
        self.0.retain(|path, _| paths.contains(path));
        for path in paths {
            *self.0.entry(path.clone()).or_default() += 1;
        }
        depth > max_depth && (is_known || depth > max_depth.saturating_mul(MAX_AT_ALL))
    }
}

impl Build {
    fn ran_at(&self, at: SystemTime) -> bool {
        self.from <= at + STAMP_STEP && self.to.is_none_or(|to| at <= to)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut builds = lock(&self.lineage.builds);
        if let Some(build) = builds.iter_mut().find(|build| Arc::ptr_eq(&build.id, &self.id)) {
            build.to = Some(SystemTime::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_while_others_built_goes_on_with_their_chain() {
        let lineage = Arc::new(Lineage::default());
        let [a, b] = ["a", "b"].map(|name| name.parse::<HandlerName>().unwrap());
        let before = SystemTime::now() - Duration::from_secs(60);
        let turn = lineage.begin(&a, 3, true);
        let now = Some(SystemTime::now());
        assert_eq!(lineage.depth_of(&b, [now, now]), 4);
        assert_eq!(lineage.depth_of(&a, [now]), 0, "its own is not another's");
        assert_eq!(lineage.depth_of(&b, [now, Some(before)]), 0);
        assert_eq!(lineage.depth_of(&b, [None]), 0, "what is gone was removed by anybody");
        drop(turn);
        assert_eq!(lineage.depth_of(&b, [now]), 4);
        let later = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(lineage.depth_of(&b, [Some(later)]), 0);
        let lineage = Arc::new(Lineage::default());
        let _turn = lineage.begin(&a, 3, false);
        assert_eq!(lineage.depth_of(&b, [now]), 0, "it writes nothing");
    }

    #[test]
    fn chain_ends_with_what_started_it_before_and_not_with_a_save() {
        let [a, b] = ["/a", "/b"].map(PathBuf::from);
        let mut chain = Chain::default();
        let (own, saved) = ([a.clone()], [a.clone(), b.clone()]);
        assert!((1..=4).all(|depth| !chain.is_endless(&own, depth, 4)));
        assert!(!chain.is_endless(&saved, 5, 4), "a save is lost");
        assert!(chain.is_endless(&own, 6, 4));
        assert!(!chain.is_endless(&own, 0, 4));
        assert!(!chain.is_endless(&own, 5, 4), "it began anew");
        // Other paths each time.
        let ends = (1..100).find(|n| chain.is_endless(&[format!("/{n}").into()], *n, 4));
        assert_eq!(ends, Some(17));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let lineage = Arc::new(Lineage::default());
        let [a, b] = ["a", "b"].map(|name| name.parse().unwrap());
        let long = lineage.begin(&b, 0, true);
        (0..3 * KEPT).for_each(|_| drop(lineage.begin(&a, 0, true)));
        assert_eq!(lock(&lineage.builds).len(), KEPT);
        // One that still runs may still write.
        assert_eq!(lineage.depth_of(&a, [Some(SystemTime::now())]), 1);
        drop(long);
    }
}
