//! Memory limit of one store, over all its memories and tables and what the host keeps for it.

use std::sync::Arc;

use wasmtime::ResourceLimiter;

use super::budget::{GuestMemory, Places};

/// Bytes one table element takes in the host.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Bytes that the host keeps for each store without charging them: what an ordinary call makes it
/// keep, with room, so that a handler needs no larger limit for being called. With 100 calls at once
/// they are 50 MiB.
pub(super) const FREE: usize = 512 * 1024;

/// Core instances, memories and tables of one store; a component that declares more is a mistake
/// or an attack. Composed components of a dozen parts stay below.
const MAX_ITEMS: usize = 200;

/// A store asked for more memory than its handler's limit; ends the store.
///
/// A trap rather than a failed `memory.grow`: guests turn the latter into an abort that nobody can
/// tell from any other.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("wanted {wanted} bytes of memory, more than the limit of {limit}")]
pub(crate) struct MemoryExceeded {
    pub(crate) wanted: u64,
    pub(crate) limit: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Limits {
    limit: usize,
    /// Bytes of memories and tables.
    used: usize,
    /// Bytes that the host keeps for the guest.
    kept: usize,
    /// Knows what it keeps for requests that are under way.
    outgoing: Places,
    everyone: Arc<GuestMemory>,
}

impl Drop for Limits {
    fn drop(&mut self) {
        self.everyone.give(self.used as u64);
    }
}

impl Limits {
    /// A store may use `limit` bytes.
    pub(super) fn new(limit: u64, outgoing: Places, everyone: Arc<GuestMemory>) -> Self {
        // On a 32-bit host the address space is the tighter limit.
        Self {
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            used: 0,
            kept: 0,
            outgoing,
            everyone,
        }
    }

    /// Bytes of memories and tables in use.
    pub(super) fn used(&self) -> u64 {
        self.used as u64
    }

    /// Bytes that may be used.
    pub(super) fn limit(&self) -> u64 {
        self.limit as u64
    }

    fn grow(&mut self, by: usize) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(by);
        self.check(used)?;
        self.everyone.take(by as u64, used as u64).map_err(wasmtime::Error::new)?;
        self.used = used;
        Ok(true)
    }

    /// What the host kept of something took `before` bytes and takes `after`.
    pub(super) fn keep(&mut self, before: usize, after: usize) -> wasmtime::Result<()> {
        self.kept = self.kept.saturating_sub(before).saturating_add(after);
        if after > before { self.check(self.used) } else { Ok(()) }
    }

    fn check(&self, used: usize) -> wasmtime::Result<()> {
        let kept = self.kept.saturating_add(self.outgoing.kept());
        let wanted = used.saturating_add(kept.saturating_sub(FREE));
        if wanted <= self.limit {
            return Ok(());
        }
        let exceeded = MemoryExceeded { wanted: wanted as u64, limit: self.limit as u64 };
        Err(wasmtime::Error::new(exceeded))
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grow(desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT_BYTES))
    }

    fn instances(&self) -> usize {
        MAX_ITEMS
    }

    fn tables(&self) -> usize {
        MAX_ITEMS
    }

    fn memories(&self) -> usize {
        MAX_ITEMS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RuntimeConfig;
    use crate::host::budget::{Budget, Outgoing};
    use crate::limit::Limit;

    fn limits(limit: u64) -> Limits {
        let budget = Budget::new(&RuntimeConfig::default());
        let places = Outgoing::new(&budget, Arc::new(Limit::new(1))).of_store();
        Limits::new(limit, places, Arc::clone(budget.memory()))
    }

    #[test]
    fn the_limit_holds_over_all_memories_and_tables_together() {
        let mut limits = limits(1000);
        assert!(limits.memory_growing(0, 600, None).unwrap());
        assert!(limits.table_growing(0, 50, None).unwrap());
        let error = limits.memory_growing(0, 1, None).unwrap_err();
        let exceeded = error.downcast_ref::<MemoryExceeded>().expect("it is typed");
        assert_eq!((exceeded.wanted, exceeded.limit), (1001, 1000));
    }

    #[test]
    fn what_the_host_keeps_counts_beyond_what_is_free_and_is_given_back() {
        let mut limits = limits(1000);
        limits.keep(0, FREE + 400).unwrap();
        assert!(limits.memory_growing(0, 600, None).unwrap());
        assert!(limits.memory_growing(0, 1, None).is_err());
        limits.keep(300, 200).unwrap();
        assert!(limits.memory_growing(0, 100, None).unwrap());
        let error = limits.keep(0, 1).unwrap_err();
        let exceeded = error.downcast_ref::<MemoryExceeded>().expect("it is typed");
        assert_eq!((exceeded.wanted, exceeded.limit), (1001, 1000));
    }
}
