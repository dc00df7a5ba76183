//! How often what happened to each handler: exact, since each event is counted where it is emitted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::EventKind;
use crate::id::HandlerName;

/// What happened to one handler, since its runtime began, or since it was added again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "admin"), allow(dead_code, reason = "the control plane shows them"))]
pub(crate) struct HandlerCounts {
    /// Generations that were published.
    pub(crate) swaps: u64,
    /// Candidates that were refused.
    pub(crate) rejections: u64,
    /// Calls that failed, by their outcome.
    pub(crate) failures: BTreeMap<&'static str, u64>,
    /// Calls that a drain deadline cut.
    pub(crate) cut: u64,
    /// Log lines that came faster than the handler may write.
    pub(crate) lines_left_out: u64,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<BTreeMap<HandlerName, HandlerCounts>>);

impl Counts {
    /// Counts an event of `handler`.
    pub(super) fn count(&self, handler: &HandlerName, kind: &EventKind) {
        match kind {
            EventKind::Swapped { .. } => self.change(handler, |counts| counts.swaps += 1),
            EventKind::Rejected { .. } => self.change(handler, |counts| counts.rejections += 1),
            EventKind::CallFailed { outcome, .. } => {
                self.change(handler, |counts| *counts.failures.entry(outcome).or_default() += 1);
            }
            EventKind::Drained { cut, .. } if *cut > 0 => {
                self.change(handler, |counts| counts.cut += *cut as u64);
            }
            // A handler of the same name begins anew.
            EventKind::Removed => drop(self.lock().remove(handler)),
            _ => {}
        }
    }

    /// So many log lines of `handler` were left out.
    pub(super) fn left_out(&self, handler: &HandlerName, lines: u64) {
        self.change(handler, |counts| counts.lines_left_out += lines);
    }

    /// The figures of each handler to which anything happened.
    #[cfg(any(feature = "admin", test))]
    pub(super) fn all(&self) -> BTreeMap<HandlerName, HandlerCounts> {
        self.lock().clone()
    }

    fn change(&self, handler: &HandlerName, change: impl FnOnce(&mut HandlerCounts)) {
        let mut counts = self.lock();
        match counts.get_mut(handler) {
            Some(counts) => change(counts),
            None => change(counts.entry(handler.clone()).or_default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<HandlerName, HandlerCounts>> {
        // Each figure is changed in one step, so a panic elsewhere leaves them sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
