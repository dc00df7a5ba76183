//! What the layers of the cache did and hold, in figures for people.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::events::{CompiledBy, Tier};
use crate::id::Digest;

/// What the cache of compiled code holds and did, since the runtime began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CacheReport {
    /// Code in memory, most recently used first.
    pub memory: Vec<CachedCode>,
    /// Bytes that it takes.
    pub memory_bytes: u64,
    /// Bytes that it may take.
    pub memory_budget: u64,
    /// Where code came from.
    pub counts: LayerCounts,
}

/// Compiled code in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CachedCode {
    /// Digest of the component.
    pub digest: Digest,
    /// How it was compiled.
    pub tier: Tier,
    /// Bytes of machine code and metadata.
    pub bytes: u64,
    /// Why it stays whatever the budget says; `None` when it may go.
    pub pinned: Option<&'static str>,
}

/// How often each layer had what was asked for, and what happened to entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LayerCounts {
    /// Found in memory.
    pub memory_hits: u64,
    /// Not in memory, found in the cache directory.
    pub disk_hits: u64,
    /// Compiled, with most functions from earlier compilations.
    pub functions_hits: u64,
    /// Compiled, with fewer of them or none.
    pub compilations: u64,
    /// Idle code that left memory because the budget was spent.
    pub evictions: u64,
    /// Files of the cache directory that were not as they were written, and are gone.
    pub discarded: u64,
}

/// Counts while things happen.
#[derive(Debug, Default)]
pub(super) struct Tally {
    memory: AtomicU64,
    disk: AtomicU64,
    functions: AtomicU64,
    compiler: AtomicU64,
    evictions: AtomicU64,
}

impl Tally {
    pub(super) fn had(&self, by: CompiledBy) {
        let counter = match by {
            CompiledBy::Memory => &self.memory,
            CompiledBy::Disk => &self.disk,
            CompiledBy::Functions => &self.functions,
            CompiledBy::Compiler => &self.compiler,
        };
        // Ordering, here and below: figures for people.
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self) {
        self.evictions.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts so far; `discarded` is the cache directory's own.
    pub(super) fn counts(&self, discarded: u64) -> LayerCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LayerCounts {
            memory_hits: read(&self.memory),
            disk_hits: read(&self.disk),
            functions_hits: read(&self.functions),
            compilations: read(&self.compiler),
            evictions: read(&self.evictions),
            discarded,
        }
    }
}
