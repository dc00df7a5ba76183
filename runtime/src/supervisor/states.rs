//! Earlier states of a handler, for a version that cannot read the state of now.
//!
//! Each hand-over leaves the snapshot that it took. A version that goes back, or that is the first in
//! `wrt dev` to read an older shape again, begins with the latest snapshot that it can read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::id::GenerationNumber;
use crate::snapshot::Snapshot;

/// Shapes of state whose latest snapshot is kept: more than one session of edits has, few enough to
/// try them all while callers are held.
const MAX_SHAPES: usize = 8;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct States {
    /// Latest first, at most one of each shape.
    latest: VecDeque<Earlier>,
}

/// A snapshot that a generation handed over.
#[derive(Debug, Clone)]
pub(super) struct Earlier {
    /// The generation whose state it was.
    pub(super) of: GenerationNumber,
    pub(super) snapshot: Arc<Snapshot>,
}

impl States {
    /// Keeps `snapshot` of generation `of`, in place of an earlier one of the same shape. The oldest
    /// give way where there are too many, or more than `limit` bytes together.
    pub(super) fn keep(&mut self, of: GenerationNumber, snapshot: Snapshot, limit: u64) {
        self.latest.retain(|it| {
            (&it.snapshot.schema, it.snapshot.version) != (&snapshot.schema, snapshot.version)
        });
        self.latest.push_front(Earlier { of, snapshot: Arc::new(snapshot) });
        while self.latest.len() > MAX_SHAPES || self.bytes() > limit {
            self.latest.pop_back();
        }
    }

    /// All of them, latest first.
    pub(super) fn all(&self) -> Vec<Earlier> {
        self.latest.iter().cloned().collect()
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.latest.clear();
    }

    fn bytes(&self) -> u64 {
        self.latest.iter().map(|it| it.snapshot.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(schema: &str, bytes: usize) -> Snapshot {
        Snapshot { schema: schema.to_owned(), version: 1, payload: vec![0; bytes] }
    }

    fn kept(states: &States) -> Vec<(u64, String)> {
        let all = states.all();
        all.iter().map(|it| (it.of.get(), it.snapshot.schema.clone())).collect()
    }

    #[test]
    fn latest_of_each_shape_is_kept() {
        let mut states = States::default();
        for (of, schema) in [(1, "a"), (2, "b"), (3, "b"), (4, "a"), (5, "b")] {
            states.keep(GenerationNumber::new(of), snapshot(schema, 10), 1_000);
        }
        assert_eq!(kept(&states), [(5, "b".to_owned()), (4, "a".to_owned())]);
        states.clear();
        assert!(states.all().is_empty());
    }

    #[test]
    fn number_and_bytes_are_bounded_and_the_latest_stays() {
        let mut states = States::default();
        for of in 1..=20 {
            states.keep(GenerationNumber::new(of), snapshot(&of.to_string(), 1), 100);
        }
        assert_eq!(states.all().len(), MAX_SHAPES);
        states.keep(GenerationNumber::new(21), snapshot("large", 95), 100);
        assert_eq!(kept(&states), [(21, "large".to_owned())]);
    }
}
