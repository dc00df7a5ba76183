//! Cranelift's function cache: a recompiled component reuses the code of unchanged functions.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use lru::LruCache;
use wasmtime::CacheStore;

/// Compiled functions by the compiler's own key, least recently used out first.
#[derive(Debug)]
pub(super) struct FunctionCache {
    entries: Mutex<Entries>,
    hits: AtomicUsize,
}

#[derive(Debug)]
struct Entries {
    by_key: LruCache<Box<[u8]>, Box<[u8]>>,
    bytes: usize,
    budget: usize,
}

impl FunctionCache {
    /// An empty cache that keeps up to `budget` bytes of keys and code. The debug build of a small
    /// handler takes some 4 MiB and that of a large one some 40 MiB.
    pub(super) fn new(budget: u64) -> Self {
        // On a 32-bit host the address space is the tighter limit.
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        let entries = Entries { by_key: LruCache::unbounded(), bytes: 0, budget };
        Self { entries: Mutex::new(entries), hits: AtomicUsize::new(0) }
    }

    /// Functions found so far.
    pub(super) fn hits(&self) -> usize {
        // Ordering: a figure for people.
        self.hits.load(Ordering::Relaxed)
    }
}

impl Entries {
    fn insert(&mut self, key: &[u8], value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        if let Some((key, old)) = self.by_key.push(key.into(), value.into()) {
            self.bytes -= key.len() + old.len();
        }
        while self.bytes > self.budget {
            let Some((key, value)) = self.by_key.pop_lru() else { break };
            self.bytes -= key.len() + value.len();
        }
    }
}

impl CacheStore for FunctionCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        // A panic under the lock cannot leave the map half changed in a way that matters: an
        // entry is only bytes that the compiler checks against its key.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let value = entries.by_key.get(key)?.to_vec();
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(Cow::Owned(value))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key, value);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: usize = 3000;

    #[test]
    fn the_least_recently_used_functions_leave_when_the_budget_is_spent() {
        let cache = FunctionCache::new(BUDGET as u64);
        // Two fit beside their keys, and three do not.
        let third = vec![0; BUDGET / 3];
        for key in [b"a", b"b"] {
            cache.insert(key, third.clone());
        }
        assert!(cache.get(b"a").is_some());
        cache.insert(b"c", third.clone());
        assert!(cache.get(b"b").is_none(), "the least recently used one left");
        assert!(cache.get(b"c").is_some());
        assert!(cache.entries.lock().unwrap().bytes <= BUDGET);
    }

    #[test]
    fn a_function_stored_twice_counts_once() {
        let cache = FunctionCache::new(BUDGET as u64);
        for _ in 0..3 {
            cache.insert(b"key", vec![0; 100]);
        }
        assert_eq!(cache.entries.lock().unwrap().bytes, 103);
    }
}
