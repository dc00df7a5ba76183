//! The history of one handler: a bounded list of records, without IO.

use serde::{Deserialize, Serialize};

use super::record::{Outcome, Record};
use crate::id::GenerationNumber;

/// Records kept of one handler: some days of a busy handler in `serve`, an hour's work in `dev`, and
/// a file of some 20 KiB that is written whole at each swap.
pub const MAX_RECORDS: usize = 50;

/// Components kept of one handler for later processes: enough to go back over a bad week.
pub(crate) const KEPT: usize = 8;

/// What became of the versions of one handler: a bounded list, newest first, without IO.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HandlerHistory {
    /// Newest first.
    records: Vec<Record>,
}

impl HandlerHistory {
    /// A history without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the newest record. Beyond [`MAX_RECORDS`] the oldest goes, but never the newest eight that
    /// were confirmed nor the newest that was published: however many candidates are rejected, there
    /// are versions to go back to and one to confirm.
    pub fn add(&mut self, record: Record) {
        self.records.insert(0, record);
        self.shrink();
    }

    /// Sets what became of the newest version with this number. Returns whether there is one.
    pub fn set_outcome(&mut self, generation: GenerationNumber, outcome: Outcome) -> bool {
        let found = self.records.iter_mut().find(|record| record.generation == generation);
        found.map(|record| record.outcome = outcome).is_some()
    }

    /// The newest version that was confirmed and not taken back since.
    #[must_use]
    pub fn confirmed(&self) -> Option<&Record> {
        self.records.iter().find(|record| record.outcome == Outcome::Confirmed)
    }

    /// Whether the newest published version that `is_it` was taken back, so that it should not come back
    /// by itself.
    #[must_use]
    pub(crate) fn is_refused(&self, is_it: impl Fn(&Record) -> bool) -> bool {
        let is_published = |record: &&Record| record.outcome.was_published() && is_it(record);
        let newest = self.records.iter().find(is_published);
        newest.is_some_and(|record| matches!(record.outcome, Outcome::RolledBack { .. }))
    }

    /// The highest number that was given out, from which numbering goes on.
    #[must_use]
    pub fn last_number(&self) -> Option<GenerationNumber> {
        self.records.iter().map(|record| record.generation).max()
    }

    /// Every record, newest first.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The newest version with this number.
    #[must_use]
    pub fn find(&self, generation: GenerationNumber) -> Option<&Record> {
        self.records.iter().find(|record| record.generation == generation)
    }

    /// Drops what is beyond the bound; a file may hold more.
    pub(super) fn shrink(&mut self) {
        let mut beyond = self.records.len().saturating_sub(MAX_RECORDS);
        if beyond == 0 {
            return;
        }
        let is_confirmed = |i: &usize| self.records[*i].outcome == Outcome::Confirmed;
        let confirmed: Vec<_> = (0..self.records.len()).filter(is_confirmed).take(KEPT).collect();
        let published = self.records.iter().position(|record| record.outcome.is_good());
        // The oldest first. Far fewer are kept than there are, so there are always enough that go.
        let mut at = self.records.len();
        self.records.reverse();
        self.records.retain(|_| {
            at -= 1;
            let goes = beyond > 0 && Some(at) != published && !confirmed.contains(&at);
            beyond -= usize::from(goes);
            !goes
        });
        self.records.reverse();
    }
}
