//! The cache directory under everything that can happen to it.

mod budget;
mod corruption;
mod killed;
mod setup;
mod sharing;

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::*;

/// A budget that nothing here spends.
const AMPLE: u64 = 1 << 30;

fn nothing_is_pinned(_: &Digest) -> bool {
    false
}

/// A directory for one cache, which [`Home::open`] makes.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    /// The view of another process.
    fn open(&self) -> DiskCache {
        DiskCache::open(&self.path(), AMPLE).unwrap()
    }
}

/// The entry of code that is called `text`.
fn code(text: &str) -> EntryName {
    EntryName { kind: EntryKind::Code, bucket: Bucket::new(1), digest: Digest::of(text.as_bytes()) }
}

fn write(cache: &DiskCache, name: &EntryName, payload: &[u8]) {
    cache.write(name, payload, &nothing_is_pinned).unwrap();
}

fn read(cache: &DiskCache, name: &EntryName) -> Option<Vec<u8>> {
    cache.read(name).map(|verified| verified.payload().to_vec())
}

/// Sets the time of last use.
fn set_used(cache: &DiskCache, name: &EntryName, used: SystemTime) {
    File::open(cache.path(name)).unwrap().set_modified(used).unwrap();
}

/// Numbers that look random and are the same in each run: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

#[test]
fn an_entry_is_there_in_the_next_process() {
    let home = Home::new();
    let (a, b) = (code("a"), code("b"));
    let cache = home.open();
    assert_eq!((read(&cache, &a), cache.has(&a)), (None, false));
    write(&cache, &a, b"compiled");

    let next = home.open();
    let verified = next.read(&a).unwrap();
    assert_eq!((verified.payload(), *verified.name()), (&b"compiled"[..], a));
    assert!(next.has(&a) && !next.has(&b));
    assert_eq!(next.discarded(), 0);
}

#[test]
fn an_entry_is_replaced_under_readers_that_keep_theirs() {
    let cache = Home::new();
    let (cache, name) = (cache.open(), code("a"));
    write(&cache, &name, b"first");
    let before = cache.read(&name).unwrap();
    write(&cache, &name, b"second");
    assert_eq!(before.payload(), b"first");
    assert_eq!(read(&cache, &name).unwrap(), b"second");
    assert_eq!(cache.list().len(), 1);
}

#[test]
fn entries_of_each_kind_and_bucket_are_apart() {
    let home = Home::new();
    let cache = home.open();
    let digest = Digest::of(b"a");
    let mut names: Vec<_> = EntryKind::ALL
        .into_iter()
        .flat_map(|kind| [1, 2].map(|hash| (kind, Bucket::new(hash))))
        .map(|(kind, bucket)| EntryName { kind, bucket, digest })
        .collect();
    names.sort();
    for (name, payload) in names.iter().zip(0u8..) {
        write(&cache, name, &[payload]);
    }
    for (name, payload) in names.iter().zip(0u8..) {
        assert_eq!(read(&cache, name).unwrap(), [payload]);
    }
    let mut listed: Vec<_> = cache.list().into_iter().map(|entry| entry.name).collect();
    listed.sort();
    assert_eq!(listed, names);
    let one = cache.list_bucket(EntryKind::Functions, Bucket::new(2));
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].bytes, entry::OVERHEAD as u64 + 1);

    cache.remove(&names[0]);
    assert_eq!(cache.list().len(), names.len() - 1);
}

#[test]
fn a_hit_counts_as_use_and_a_peek_does_not() {
    let home = Home::new();
    let (cache, name) = (home.open(), code("a"));
    write(&cache, &name, b"x");
    let used = || cache.list()[0].used;
    let now = SystemTime::now();
    let old = now - Duration::from_secs(3600);
    set_used(&cache, &name, old);
    cache.peek(&name).unwrap();
    assert_eq!(cache.verify().good, 1);
    assert_eq!(used(), old);
    cache.read(&name).unwrap();
    assert!(used() >= now - Duration::from_secs(1), "used {:?}", used());

    // Used less than a minute ago: the disk is spared.
    let recent = SystemTime::now() - Duration::from_secs(20);
    set_used(&cache, &name, recent);
    cache.read(&name).unwrap();
    assert_eq!(used(), recent);
    cache.touch(&name);
    assert!(used() > recent);

    // A clock that was wrong for a while does not keep an entry for as long.
    let future = SystemTime::now() + Duration::from_secs(3600);
    set_used(&cache, &name, future);
    cache.read(&name).unwrap();
    assert!(used() < future);
}

#[test]
fn everything_is_private() {
    let home = Home::new();
    write(&home.open(), &code("a"), b"x");
    let mut paths = vec![home.path()];
    let mut files = 0;
    while let Some(path) = paths.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.mode() & 0o7777, mode, "mode of {}", path.display());
        if metadata.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            files += 1;
        }
    }
    assert_eq!(files, 2, "the key and the entry");
}
