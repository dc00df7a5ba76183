//! Compiled code in memory: least recently used out first, under a byte budget.
//!
//! # Invariants
//!
//! 1. Code that somebody leases is never dropped from here; it would be in memory all the same, and
//!    a second copy beside it.
//! 2. Code that nobody leases goes at once: from the cache directory it comes back in milliseconds,
//!    and without one a thousand versions would fill the budget. It stays only until it is written.
//! 3. No tenant is asked anything under the lock, because what it lets go of comes back here.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lru::LruCache;
use wasmtime::component::Component;

use super::tally::{CachedCode, Tally};
use crate::engine::Engine;
use crate::events::Tier;
use crate::id::Digest;

/// What names compiled code: the component and the tier.
pub(super) type CodeKey = (Digest, Tier);

/// Compiled code of one component for one tier. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Artifact {
    code: Arc<Code>,
}

struct Code {
    digest: Digest,
    engine: Engine,
    component: Component,
    /// Bytes of machine code and metadata.
    size: u64,
    /// A [`Backup`].
    backup: AtomicU8,
}

/// Whether the code comes back from the cache directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Backup {
    /// It does not: only the compiler could bring it back.
    None,
    /// It will: it is being written.
    Pending,
    /// It does.
    Saved,
}

impl Artifact {
    pub(super) fn new(digest: Digest, engine: Engine, component: Component) -> Self {
        let image = component.image_range();
        let size = (image.end.addr() - image.start.addr()) as u64 + OVERHEAD;
        let backup = AtomicU8::new(Backup::None as u8);
        Self { code: Arc::new(Code { digest, engine, component, size, backup }) }
    }

    pub(super) fn mark(&self, backup: Backup) {
        // Ordering: a lone mark; a late view keeps the code in memory a little longer.
        self.code.backup.store(backup as u8, Ordering::Relaxed);
    }

    fn has_backup(&self, backup: Backup) -> bool {
        self.code.backup.load(Ordering::Relaxed) == backup as u8
    }

    /// Digest of the component.
    pub(crate) fn digest(&self) -> Digest {
        self.code.digest
    }

    /// The engine that made the code, and the only one that runs it.
    pub(crate) fn engine(&self) -> &Engine {
        &self.code.engine
    }

    /// The code itself.
    pub(crate) fn component(&self) -> &Component {
        &self.code.component
    }

    pub(crate) fn tier(&self) -> Tier {
        self.code.engine.tier()
    }

    pub(super) fn key(&self) -> CodeKey {
        (self.digest(), self.tier())
    }
}

/// Bytes that a handler takes when its code is loaded, beside the image: types, names and tables on
/// the heap, the linked form, initial memory. Measured on 1,500 small handlers: 248 KiB each resident,
/// with images of 164 KiB.
const OVERHEAD: u64 = 84 * 1024;

/// Who runs compiled code and can do without it while nobody calls.
pub(crate) trait Tenant: Send + Sync {
    /// Whether a call came since this was asked last.
    fn was_used(&self) -> bool;

    /// Lets go of the code, unless calls are inside; returns whether it did.
    fn vacate(&self) -> bool;
}

/// See the [module](self).
pub(super) struct Memory {
    entries: Mutex<Entries>,
    budget: u64,
    tally: Arc<Tally>,
}

struct Entries {
    by_key: LruCache<CodeKey, Entry>,
    /// Sum of the entries' sizes.
    bytes: u64,
}

struct Entry {
    artifact: Artifact,
    leases: usize,
    /// Those of the leases that only keep the code at hand for a way back.
    spares: usize,
    tenants: Vec<Weak<dyn Tenant>>,
}

impl Entry {
    fn tenants(&self) -> impl Iterator<Item = Arc<dyn Tenant>> {
        self.tenants.iter().filter_map(Weak::upgrade)
    }
}

impl Entries {
    fn keep(&mut self, artifact: Artifact) -> &mut Entry {
        let (key, size) = (artifact.key(), artifact.code.size);
        let bytes = &mut self.bytes;
        self.by_key.get_or_insert_mut(key, || {
            *bytes += size;
            Entry { artifact, leases: 0, spares: 0, tenants: Vec::new() }
        })
    }

    fn remove(&mut self, key: &CodeKey) -> Option<Entry> {
        let entry = self.by_key.pop(key)?;
        self.bytes -= entry.artifact.code.size;
        Some(entry)
    }
}

impl Memory {
    /// An empty cache of up to `budget` bytes.
    pub(super) fn new(budget: u64, tally: Arc<Tally>) -> Arc<Self> {
        let entries = Entries { by_key: LruCache::unbounded(), bytes: 0 };
        Arc::new(Self { entries: Mutex::new(entries), budget, tally })
    }

    /// Takes the entry out if nobody needs it here. It is dropped by the caller outside of the
    /// lock, since unmapping code takes a while.
    #[must_use]
    fn remove_if_stray(&self, key: &CodeKey) -> Option<Entry> {
        let mut entries = self.lock();
        let entry = entries.by_key.peek(key)?;
        let is_stray = entry.leases == 0 && !entry.artifact.has_backup(Backup::Pending);
        if is_stray { entries.remove(key) } else { None }
    }

    /// The code of `key`, if it is here; it then counts as used.
    pub(super) fn find(&self, key: &CodeKey) -> Option<Artifact> {
        self.lock().by_key.get(key).map(|entry| entry.artifact.clone())
    }

    /// Whether the code of `key` is here; that is no use of it.
    pub(super) fn has(&self, key: &CodeKey) -> bool {
        self.lock().by_key.contains(key)
    }

    /// Keeps `artifact`, and makes room for it. Returns the one that is kept, which is another when
    /// the same code came here first.
    pub(super) fn keep(&self, artifact: Artifact) -> Artifact {
        let kept = self.lock().keep(artifact).artifact.clone();
        self.make_room();
        kept
    }

    /// The writing of `artifact` has ended, with `backup`.
    pub(super) fn settle(&self, artifact: &Artifact, backup: Backup) {
        artifact.mark(backup);
        drop(self.remove_if_stray(&artifact.key()));
    }

    /// Keeps the code of `artifact` in memory for as long as the lease lives.
    pub(super) fn lease(self: &Arc<Self>, artifact: Artifact) -> Lease {
        let artifact = {
            let mut entries = self.lock();
            // It may have left since it was found.
            let entry = entries.keep(artifact);
            entry.leases += 1;
            entry.artifact.clone()
        };
        Lease { memory: Arc::clone(self), artifact, is_spare: false }
    }

    /// What is here, most recently used first.
    pub(super) fn list(&self) -> Vec<CachedCode> {
        let entries = self.lock();
        let described = entries.by_key.iter().map(|((digest, tier), entry)| {
            let in_use = entry.leases - entry.spares;
            CachedCode {
                digest: *digest,
                tier: *tier,
                bytes: entry.artifact.code.size,
                pinned: match (in_use, entry.spares) {
                    (0, 0) => entry
                        .artifact
                        .has_backup(Backup::Pending)
                        .then_some("it is being written to the cache directory"),
                    (0, _) => Some("it is the way back from a swap"),
                    _ => Some("a generation runs it"),
                },
            }
        });
        described.collect()
    }

    /// Bytes that the entries take.
    pub(super) fn bytes(&self) -> u64 {
        self.lock().bytes
    }

    /// Whether code of `digest` is leased, so that its file must stay too.
    pub(super) fn needs_file(&self, digest: &Digest) -> bool {
        let entries = self.lock();
        let leased = |tier| entries.by_key.peek(&(*digest, tier)).is_some_and(|it| it.leases > 0);
        leased(Tier::Optimized) || leased(Tier::Baseline)
    }

    /// Drops what was not used for longest until the budget is met, or all of it is needed.
    fn make_room(&self) {
        // Each entry is looked at twice at most: the first look may find that it was used.
        let mut looks = 2 * self.lock().by_key.len();
        while looks > 0 {
            looks -= 1;
            let mut entries = self.lock();
            if entries.bytes <= self.budget {
                return;
            }
            let Some((key, entry)) = entries.by_key.peek_lru() else { return };
            let key = *key;
            // Code that is being staged has a lease and no tenant yet.
            let is_needed = entry.spares > 0 || entry.leases > entry.tenants().count();
            let tenants: Vec<_> = entry.tenants().collect();
            entries.by_key.promote(&key);
            if is_needed {
                continue;
            }
            if tenants.is_empty() {
                let evicted = entries.remove(&key);
                drop(entries);
                self.tally.evicted();
                drop(evicted);
                continue;
            }
            if !entries
                .by_key
                .peek(&key)
                .is_some_and(|entry| entry.artifact.has_backup(Backup::Saved))
            {
                continue;
            }
            drop(entries);
            // All are asked, so that each one's mark is taken away.
            let was_used = tenants.iter().fold(false, |used, tenant| tenant.was_used() | used);
            if !was_used && tenants.iter().all(|tenant| tenant.vacate()) {
                // The last lease that ended has taken the entry with it.
                self.tally.evicted();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Nothing between the changes of an entry and of the sum can panic.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps compiled code in memory while it lives.
pub(crate) struct Lease {
    memory: Arc<Memory>,
    artifact: Artifact,
    is_spare: bool,
}

impl Lease {
    /// What is leased.
    pub(super) fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// `tenant` runs the code, and is asked to do without it when memory is short.
    pub(crate) fn moved_in(&self, tenant: Weak<dyn Tenant>) {
        self.with_entry(|entry| {
            // One that moves back in while its last call on the old copy still runs counts once.
            entry.tenants.retain(|it| it.strong_count() > 0 && !it.ptr_eq(&tenant));
            entry.tenants.push(tenant);
        });
    }

    /// A further lease that keeps the code at hand for a way back, and is never asked to end.
    pub(crate) fn spare(&self) -> Self {
        self.with_entry(|entry| {
            entry.leases += 1;
            entry.spares += 1;
        });
        let (memory, artifact) = (Arc::clone(&self.memory), self.artifact.clone());
        Self { memory, artifact, is_spare: true }
    }

    fn with_entry(&self, change: impl FnOnce(&mut Entry)) {
        // By invariant 1 it is there.
        if let Some(entry) = self.memory.lock().by_key.peek_mut(&self.artifact.key()) {
            change(entry);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let is_spare = self.is_spare;
        self.with_entry(|entry| {
            entry.leases -= 1;
            entry.spares -= usize::from(is_spare);
            entry.tenants.retain(|tenant| tenant.strong_count() > 0);
        });
        drop(self.memory.remove_if_stray(&self.artifact.key()));
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = self.artifact.digest();
        f.debug_struct("Lease").field("digest", &digest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
