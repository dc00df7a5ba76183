//! The cache directory: entries come back whole and verified, or not at all.
//!
//! Below the directory, files have mode 0600 and directories 0700:
//!
//! ```text
//! key                           32 random bytes, made once: who has them can write entries
//! v1/<kind>/<bucket>/<digest>   an entry: header, payload, MAC
//! v1/<kind>/<bucket>/.new-…     an entry that is being written, or was when its writer died
//! ```
//!
//! A bucket is one flat directory, since listing it is what the bounds need: 10,000 entries take
//! some 25 ms.
//!
//! # Invariants
//!
//! 1. [`Verified`] is made in one place, from bytes in memory whose header and MAC were checked.
//! 2. An entry's bytes never change: it is written under another name, synced and renamed.
//! 3. Doubt is no error. An entry that is not as it was written counts as absent, and is removed.
//! 4. Processes share the directory without locks. Whatever one does, the others see an entry whole
//!    or not at all, and what they lose by it is time.

mod directory;
mod entry;
mod error;
mod evict;
mod key;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::id::Digest;
use directory::Found;
pub(crate) use entry::Verified;
pub use error::CacheUnavailable;
pub(crate) use error::CacheWriteError;
use evict::Usage;
use key::KeyFile;
pub(crate) use scan::EntryInfo;

/// How long an entry's time of last use may lag behind. It orders evictions, which look back over
/// days; writing it at each hit would cost the disk as much as the hit.
const USED_PRECISION: Duration = Duration::from_secs(60);

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum EntryKind {
    /// Compiled code of one component, named by the component's digest.
    Code,
    /// Compiled functions of many components, named by the digest of the payload.
    Functions,
    /// Digests of files by their fingerprints.
    Memo,
}

impl EntryKind {
    pub(crate) const ALL: [Self; 3] = [Self::Code, Self::Functions, Self::Memo];

    /// Its directory.
    fn folder(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Functions => "functions",
            Self::Memo => "memo",
        }
    }

    /// Its number in the header of an entry.
    fn number(self) -> u32 {
        match self {
            Self::Code => 1,
            Self::Functions => 2,
            Self::Memo => 3,
        }
    }
}

/// What may read an entry: a hash over the version of wasmtime and the settings of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Bucket(u64);

impl Bucket {
    /// For what every version and engine can read.
    pub(crate) const ANY: Self = Self(0);

    /// The bucket of `hash`.
    pub(crate) fn new(hash: u64) -> Self {
        Self(hash)
    }

    /// Reads what [`Display`](fmt::Display) writes.
    fn parse(text: &str) -> Option<Self> {
        let bucket = Self(u64::from_str_radix(text, 16).ok()?);
        // One spelling for each, so that two names are never one bucket.
        (bucket.to_string() == text).then_some(bucket)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Names one entry. All of it is under the MAC, so that no entry passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EntryName {
    pub(crate) kind: EntryKind,
    pub(crate) bucket: Bucket,
    pub(crate) digest: Digest,
}

/// What [`DiskCache::verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verification {
    /// Entries that are as they were written.
    pub(crate) good: usize,
    /// Bytes of the good ones.
    pub(crate) bytes: u64,
    /// Entries that were not, and are gone.
    pub(crate) bad: Vec<EntryName>,
}

/// What an eviction removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

/// See the [module](self). Every method blocks.
#[derive(Debug, Clone)]
pub(crate) struct DiskCache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    key: KeyFile,
    budget: u64,
    usage: Mutex<Usage>,
    claimed: Mutex<BTreeSet<Bucket>>,
    discarded: AtomicU64,
}

enum Lookup {
    Absent,
    Discarded,
    /// With the file, and when it was last used.
    Verified {
        verified: Verified,
        file: File,
        used: Option<SystemTime>,
    },
}

impl DiskCache {
    /// Opens the cache in `dir`, which is made if it is missing, and keeps it below `budget` bytes.
    ///
    /// With several processes writing, the total may pass the budget by a sixteenth for each.
    ///
    /// # Errors
    ///
    /// [`CacheUnavailable`] when the directory cannot be used, or others could write to it.
    pub(crate) fn open(dir: &Path, budget: u64) -> Result<Self, CacheUnavailable> {
        // Without a trailing slash, behind which a symbolic link would be followed.
        let root: PathBuf = dir.components().collect();
        let trust = directory::prepare(&root)?;
        let key = KeyFile::open(root.join("key"), trust)?;
        Ok(Self(Arc::new(Shared {
            root,
            key,
            budget,
            usage: Mutex::new(Usage::UNKNOWN),
            claimed: Mutex::new(BTreeSet::from([Bucket::ANY])),
            discarded: AtomicU64::new(0),
        })))
    }

    /// Declares that this process reads `bucket`: entries of buckets that nobody claimed are
    /// evicted before any of those that somebody did.
    pub(crate) fn claim(&self, bucket: Bucket) {
        // A panic under this lock cannot leave the set half changed.
        self.0.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(bucket);
    }

    /// The entry, if it is there and as it was written; marks it as used.
    pub(crate) fn read(&self, name: &EntryName) -> Option<Verified> {
        let Lookup::Verified { verified, file, used } = self.look_up(name) else {
            return None;
        };
        let now = SystemTime::now();
        let age = used.and_then(|used| now.duration_since(used).ok());
        // A time in the future is corrected too; it would keep the entry for as long.
        if age.is_none_or(|age| age >= USED_PRECISION) {
            mark_used(&file, now);
        }
        Some(verified)
    }

    /// Like [`read`](Self::read), without a mark.
    pub(crate) fn peek(&self, name: &EntryName) -> Option<Verified> {
        match self.look_up(name) {
            Lookup::Verified { verified, .. } => Some(verified),
            Lookup::Absent | Lookup::Discarded => None,
        }
    }

    /// Marks the entry as used now.
    pub(crate) fn touch(&self, name: &EntryName) {
        if let Ok(Found::File { file, .. }) = directory::open(&self.path(name)) {
            mark_used(&file, SystemTime::now());
        }
    }

    /// Whether the entry is there; it is not looked at.
    pub(crate) fn has(&self, name: &EntryName) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok_and(|metadata| metadata.is_file())
    }

    /// Writes the entry, in place of one of the same name, and evicts others if the budget is
    /// spent, never those that `is_pinned` holds on to.
    ///
    /// # Errors
    ///
    /// [`CacheWriteError`] when the entry is too large or the disk refuses it; nothing of it is left.
    pub(crate) fn write(
        &self,
        name: &EntryName,
        payload: &[u8],
        is_pinned: &dyn Fn(&Digest) -> bool,
    ) -> Result<(), CacheWriteError> {
        let bytes = (entry::OVERHEAD + payload.len()) as u64;
        let limit = evict::target(self.0.budget);
        if bytes > limit {
            return Err(CacheWriteError::TooLarge { bytes, limit });
        }
        let (header, mac) = entry::seal(&self.0.key.current(), name, payload);
        directory::write(&self.path(name), &[&header, payload, &mac])
            .map_err(|source| CacheWriteError::new(&self.0.root, source))?;
        // Held while the disk is looked at, so that other writers wait instead of doing the same.
        // A panic leaves an estimate, which is what it is anyway.
        let mut usage = self.0.usage.lock().unwrap_or_else(PoisonError::into_inner);
        if usage.grow(bytes) {
            let is_kept = |entry: &EntryName| entry == name || is_pinned(&entry.digest);
            let (left, _) = self.shrink(self.0.budget, limit, &is_kept);
            usage.correct(left, self.0.budget);
        }
        Ok(())
    }

    /// Removes the entry, if it is there.
    pub(crate) fn remove(&self, name: &EntryName) {
        directory::remove(&self.path(name));
    }

    /// Every entry, in no order. None is looked at.
    pub(crate) fn list(&self) -> Vec<EntryInfo> {
        scan::all(&self.0.root)
    }

    /// The entries of one kind and bucket.
    pub(crate) fn list_bucket(&self, kind: EntryKind, bucket: Bucket) -> Vec<EntryInfo> {
        scan::bucket(&self.0.root, kind, bucket)
    }

    /// Reads and checks every entry, and removes those that are not as they were written.
    pub(crate) fn verify(&self) -> Verification {
        let mut found = Verification::default();
        for info in self.list() {
            match self.look_up(&info.name) {
                // Evicted meanwhile.
                Lookup::Absent => {}
                Lookup::Discarded => found.bad.push(info.name),
                Lookup::Verified { .. } => {
                    found.good += 1;
                    found.bytes += info.bytes;
                }
            }
        }
        found
    }

    /// Evicts entries until at most `to` bytes are left, pinned ones aside.
    pub(crate) fn prune(&self, to: u64, is_pinned: &dyn Fn(&Digest) -> bool) -> Pruned {
        let mut usage = self.0.usage.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, pruned) = self.shrink(to, to, &|entry| is_pinned(&entry.digest));
        usage.correct(left, self.0.budget);
        pruned
    }

    /// Entries that this handle and its clones removed because they were not as they were written.
    pub(crate) fn discarded(&self) -> u64 {
        // Ordering: a figure for people.
        self.0.discarded.load(Ordering::Relaxed)
    }

    fn path(&self, name: &EntryName) -> PathBuf {
        scan::folder(&self.0.root, name.kind, name.bucket).join(name.digest.to_string())
    }

    fn look_up(&self, name: &EntryName) -> Lookup {
        let path = self.path(name);
        let (file, metadata) = match directory::open(&path) {
            Ok(Found::File { file, metadata }) => (file, metadata),
            Ok(Found::Absent) => return Lookup::Absent,
            Ok(Found::Other(what)) => return self.discard(&path, what),
            // It says nothing about the entry: too many open files, for one.
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "failed to open a cache entry");
                return Lookup::Absent;
            }
        };
        if metadata.len() > self.largest() {
            return self.discard(&path, "it is larger than any entry");
        }
        let bytes = match read_headed(&file, &metadata, name) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return self.discard(&path, "it has another header"),
            Err(error) => {
                tracing::debug!(%error, path = %path.display(), "failed to read a cache entry");
                return Lookup::Absent;
            }
        };
        match entry::verify(&self.0.key.current(), name, bytes) {
            Ok(verified) => Lookup::Verified { verified, file, used: metadata.modified().ok() },
            Err(doubt) => self.discard(&path, doubt),
        }
    }

    /// Bytes of the largest file that can be an entry: none that is written is larger than the budget.
    fn largest(&self) -> u64 {
        self.0.budget.min(entry::MAX_BYTES)
    }

    fn discard(&self, path: &Path, why: &str) -> Lookup {
        tracing::debug!(path = %path.display(), why, "removed a cache entry");
        // Ordering: a figure for people.
        self.0.discarded.fetch_add(1, Ordering::Relaxed);
        directory::remove(path);
        Lookup::Discarded
    }

    /// Evicts down to `to` bytes if there are more than `above`; bytes left, and what went.
    fn shrink(&self, above: u64, to: u64, is_kept: &dyn Fn(&EntryName) -> bool) -> (u64, Pruned) {
        scan::sweep(&self.0.root, SystemTime::now());
        let mut entries = self.list();
        // What nobody wrote as an entry goes first: it would push out all those that are.
        entries.retain(|entry| {
            let is_too_large = entry.bytes > self.largest();
            if is_too_large {
                self.discard(&self.path(&entry.name), "it is larger than any entry");
            }
            !is_too_large
        });
        let total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let mut pruned = Pruned::default();
        if total > above {
            let claimed = self.0.claimed.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for victim in evict::victims(entries, to, &claimed, is_kept) {
                self.remove(&victim.name);
                pruned.entries += 1;
                pruned.bytes += victim.bytes;
            }
            tracing::debug!(pruned.entries, pruned.bytes, "evicted cache entries");
        }
        (total - pruned.bytes, pruned)
    }
}

/// The bytes of the entry of that name in `file`; `None` where it does not begin like that. A file that
/// somebody made as large as they liked is not read further than that.
fn read_headed(
    mut file: &File,
    metadata: &fs::Metadata,
    name: &EntryName,
) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; entry::HEADER];
    match file.read_exact(&mut head) {
        Ok(()) if entry::begins(name, metadata.len(), &head) => {}
        Ok(()) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut bytes = head.to_vec();
    // One more byte shows that the file is longer than it was.
    let rest = metadata.len() - entry::HEADER as u64 + 1;
    bytes.reserve_exact(usize::try_from(rest).unwrap_or(0));
    file.take(rest).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Failure is ignored: the entry may be evicted sooner, and that is all.
fn mark_used(file: &File, now: SystemTime) {
    let _ = file.set_modified(now);
}

/// Whether `bytes` pass as the entry of `name`, although nobody sealed them.
#[cfg(any(feature = "fuzz", all(test, feature = "admin", feature = "dev")))]
pub(super) fn passes_unsealed(name: &EntryName, bytes: &[u8]) -> bool {
    entry::verify(&key::MacKey::new([1; 32]), name, bytes.to_vec()).is_ok()
}

/// Whether the entry of `name` with the payload `bytes` passes as that.
#[cfg(any(feature = "fuzz", all(test, feature = "admin", feature = "dev")))]
pub(super) fn passes_sealed(name: &EntryName, bytes: &[u8]) -> bool {
    let key = key::MacKey::new([1; 32]);
    let (header, mac) = entry::seal(&key, name, bytes);
    let sealed = [&header[..], bytes, &mac].concat();
    entry::verify(&key, name, sealed).is_ok_and(|verified| verified.payload() == bytes)
}
