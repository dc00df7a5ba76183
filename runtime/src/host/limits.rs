//! Memory limit of one store, over all its memories and tables together.

use wasmtime::ResourceLimiter;

/// Bytes one table element takes in the host.
const TABLE_ELEMENT_BYTES: usize = 8;

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
    used: usize,
}

impl Limits {
    /// A store may use `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        // On a 32-bit host the address space is the tighter limit.
        Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), used: 0 }
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> u64 {
        self.used as u64
    }

    /// Bytes that may be used.
    pub(super) fn limit(&self) -> u64 {
        self.limit as u64
    }

    fn grow(&mut self, by: usize) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(by);
        if wanted > self.limit {
            let exceeded = MemoryExceeded { wanted: wanted as u64, limit: self.limit as u64 };
            return Err(wasmtime::Error::new(exceeded));
        }
        self.used = wanted;
        Ok(true)
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

    #[test]
    fn the_limit_holds_over_all_memories_and_tables_together() {
        let mut limits = Limits::new(1000);
        assert!(limits.memory_growing(0, 600, None).unwrap());
        assert!(limits.table_growing(0, 50, None).unwrap());
        let error = limits.memory_growing(0, 1, None).unwrap_err();
        let exceeded = error.downcast_ref::<MemoryExceeded>().expect("it is typed");
        assert_eq!((exceeded.wanted, exceeded.limit), (1001, 1000));
    }
}
