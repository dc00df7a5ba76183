//! The cache directory from outside of a runtime: what is in it, whether it is sound, making it smaller.
//!
//! A [`Runtime`](crate::Runtime) keeps its own [`cache_dir`](crate::RuntimeConfig::cache_dir) in
//! order; this is for people and their tools. Every method blocks.

use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use crate::artifact::{CacheUnavailable, DiskCache, EntryInfo, EntryKind};
use crate::id::Digest;

/// A cache directory. Safe to use while any number of processes use it.
#[derive(Debug, Clone)]
pub struct CacheDirectory(DiskCache);

/// One file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheEntry {
    /// What it holds.
    pub kind: CacheEntryKind,
    /// Stands for the version of wasmtime and the settings that can read it; 16 hexadecimal digits.
    pub bucket: String,
    /// For code the component's digest, otherwise the content's.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Last use, to the minute.
    pub used: SystemTime,
}

/// What a file of the cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum CacheEntryKind {
    /// Compiled code of one component.
    Code,
    /// Single functions that later compilations take over.
    Functions,
    /// Digests of files that have not changed since.
    Memo,
}

/// What [`CacheDirectory::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheVerification {
    /// Files that are as they were written.
    pub good: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// Digests of those that were not, and are gone; they are made again when they are needed.
    pub removed: Vec<Digest>,
}

impl CacheDirectory {
    /// Opens the cache in `dir`, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// [`CacheUnavailable`] when the directory cannot be used.
    pub fn open(dir: &Path) -> Result<Self, CacheUnavailable> {
        // Nothing is written through this, so there is no budget to keep.
        DiskCache::open(dir, u64::MAX).map(Self)
    }

    /// Its files, most recently used first.
    #[must_use]
    pub fn entries(&self) -> Vec<CacheEntry> {
        let mut entries: Vec<_> = self.0.list().into_iter().map(entry).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
        entries
    }

    /// Reads and checks every file, and removes those that are not as they were written.
    #[must_use]
    pub fn verify(&self) -> CacheVerification {
        let found = self.0.verify();
        let removed = found.bad.into_iter().map(|name| name.digest).collect();
        CacheVerification { good: found.good, bytes: found.bytes, removed }
    }

    /// Removes files, the least recently used first, until at most `to` bytes are left. Returns how
    /// many went, and their size in bytes.
    pub fn prune(&self, to: u64) -> (usize, u64) {
        let pruned = self.0.prune(to, &|_| false);
        (pruned.entries, pruned.bytes)
    }
}

impl From<EntryKind> for CacheEntryKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Code => Self::Code,
            EntryKind::Functions => Self::Functions,
            EntryKind::Memo => Self::Memo,
        }
    }
}

fn entry(info: EntryInfo) -> CacheEntry {
    CacheEntry {
        kind: info.name.kind.into(),
        bucket: info.name.bucket.to_string(),
        digest: info.name.digest,
        bytes: info.bytes,
        used: info.used,
    }
}
