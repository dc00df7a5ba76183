//! How long a chain of builds goes on in which only what one build writes starts the next.
//!
//! Handlers may build for one another, and such a chain ends by itself. Two builds that write each
//! other's inputs, a time into them for example, would start each other for ever.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use super::session::lock;
use crate::id::HandlerName;

/// Builds remembered: far more than run at about the same time.
const KEPT: usize = 64;
/// Kernels stamp files in steps of up to 10 ms, so a file may look older than the build that wrote it.
const STAMP_STEP: Duration = Duration::from_millis(20);

/// The builds of a session, running ones and the last ones that ended.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    builds: Mutex<VecDeque<Build>>,
}

#[derive(Debug)]
struct Build {
    handler: HandlerName,
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
    pub(super) fn begin(self: &Arc<Self>, handler: &HandlerName, depth: u32) -> Turn {
        let id = Arc::new(());
        let mut builds = lock(&self.builds);
        if builds.len() >= KEPT {
            builds.pop_front();
        }
        let (handler, from) = (handler.clone(), SystemTime::now());
        builds.push_back(Build { handler, from, to: None, depth, id: id.clone() });
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
            let others = builds.iter().filter(|build| build.handler != *handler);
            others.filter(|build| build.ran_at(at)).map(|build| build.depth + 1).max()
        };
        let depths = times.into_iter().map(|at| depth_at(at?));
        depths.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()).unwrap_or(0)
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
        let turn = lineage.begin(&a, 3);
        let now = Some(SystemTime::now());
        assert_eq!(lineage.depth_of(&b, [now, now]), 4);
        assert_eq!(lineage.depth_of(&a, [now]), 0, "its own is not another's");
        assert_eq!(lineage.depth_of(&b, [now, Some(before)]), 0);
        assert_eq!(lineage.depth_of(&b, [None]), 0, "what is gone was removed by anybody");
        drop(turn);
        assert_eq!(lineage.depth_of(&b, [now]), 4);
        let later = SystemTime::now() + Duration::from_secs(60);
        assert_eq!(lineage.depth_of(&b, [Some(later)]), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let lineage = Arc::new(Lineage::default());
        let name = "a".parse().unwrap();
        (0..3 * KEPT).for_each(|_| drop(lineage.begin(&name, 0)));
        assert_eq!(lock(&lineage.builds).len(), KEPT);
    }
}
