//! Digests of files that have not changed since they were read, over all runs.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use lru::LruCache;

use super::disk::{Bucket, CacheWriteError, DiskCache, EntryKind, EntryName};
use super::fingerprint::Fingerprint;
use crate::id::Digest;

/// Paths that are remembered, the latest ones: ten times the handlers that one host is built for,
/// and some 20 MiB.
const MAX_PATHS: usize = 100_000;

/// How long a file has to have rested. File systems have steps of up to 2 s in their clocks, and a
/// second write within one step does not show in the fingerprint.
const QUIET: Duration = Duration::from_secs(3);

/// First byte of what is saved; another form gets another number.
const FORMAT: u8 = 1;

/// What is known of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    fingerprint: Fingerprint,
    digest: Digest,
}

/// See the [module](self). Paths are absolute: the next run may have another working directory.
#[derive(Debug)]
pub(crate) struct DigestMemo {
    disk: Option<DiskCache>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Latest first.
    by_path: LruCache<PathBuf, Known>,
    is_dirty: bool,
}

impl DigestMemo {
    /// What earlier runs saved on `disk`; without one, a memo for this run. Blocks: 10,000 paths
    /// take some 4 ms.
    pub(crate) fn load(disk: Option<&DiskCache>) -> Self {
        let mut by_path = LruCache::unbounded();
        if let Some(saved) = disk.and_then(|disk| disk.read(&entry_name())) {
            for (path, known) in decode(saved.payload()).unwrap_or_default() {
                by_path.push(path, known);
            }
        }
        Self { disk: disk.cloned(), state: Mutex::new(State { by_path, is_dirty: false }) }
    }

    /// The digest of the file at `path`, if it has the `fingerprint` that it was remembered with.
    pub(crate) fn get(&self, path: &Path, fingerprint: &Fingerprint) -> Option<Digest> {
        let mut state = self.lock();
        let known = state.by_path.get(path)?;
        (known.fingerprint == *fingerprint).then_some(known.digest)
    }

    /// Remembers that the file at `path` has `digest`, unless it changed so shortly before `now`
    /// that another change might not show.
    pub(crate) fn put(
        &self,
        path: &Path,
        fingerprint: Fingerprint,
        digest: Digest,
        now: SystemTime,
    ) {
        if !fingerprint.rested(QUIET, now) {
            return;
        }
        let known = Known { fingerprint, digest };
        let mut state = self.lock();
        if state.by_path.put(path.to_owned(), known) != Some(known) {
            state.is_dirty = true;
        }
        while state.by_path.len() > MAX_PATHS {
            state.by_path.pop_lru();
        }
    }

    /// Saves what is new, together with what other processes saved meanwhile. Blocks.
    ///
    /// # Errors
    ///
    /// [`CacheWriteError`]; the next call tries again.
    pub(crate) fn save(&self, is_pinned: &dyn Fn(&Digest) -> bool) -> Result<(), CacheWriteError> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let ours: Vec<_> = {
            let mut state = self.lock();
            if !state.is_dirty {
                return Ok(());
            }
            // Before it is written: what is put from here on is for the next save.
            state.is_dirty = false;
            state.by_path.iter().map(|(path, known)| (path.clone(), *known)).collect()
        };
        let saved = disk.peek(&entry_name());
        let theirs = saved.and_then(|saved| decode(saved.payload())).unwrap_or_default();
        let payload = encode(&merged(ours, theirs));
        disk.write(&entry_name(), &payload, is_pinned).inspect_err(|_| self.lock().is_dirty = true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // What a panic may leave is a path too many or a save too much.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one entry that holds the memo.
fn entry_name() -> EntryName {
    EntryName { kind: EntryKind::Memo, bucket: Bucket::ANY, digest: Digest::of(b"digest memo") }
}

/// `ours`, latest first, as the latest of both; `theirs` is in the order of [`encode`].
fn merged(ours: Vec<(PathBuf, Known)>, theirs: Vec<(PathBuf, Known)>) -> Vec<(PathBuf, Known)> {
    let mut all = LruCache::unbounded();
    for (path, known) in theirs.into_iter().chain(ours.into_iter().rev()) {
        all.push(path, known);
    }
    while all.len() > MAX_PATHS {
        all.pop_lru();
    }
    // From the least recently used on, as they are read again.
    all.into_iter().collect()
}

/// For each path its length, its bytes, fingerprint and digest; the latest last.
fn encode(entries: &[(PathBuf, Known)]) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    for (path, known) in entries {
        let path = path.as_os_str().as_bytes();
        // The system takes no path that is longer.
        let Ok(length) = u16::try_from(path.len()) else { continue };
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(path);
        bytes.extend_from_slice(&known.fingerprint.encode());
        bytes.extend_from_slice(known.digest.as_bytes());
    }
    bytes
}

/// What [`encode`] wrote; `None` for anything else.
fn decode(bytes: &[u8]) -> Option<Vec<(PathBuf, Known)>> {
    let (&format, mut rest) = bytes.split_first()?;
    if format != FORMAT {
        return None;
    }
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk()?;
        let (path, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
        let (fingerprint, after) = after.split_first_chunk()?;
        let (digest, after) = after.split_first_chunk()?;
        let known = Known {
            fingerprint: Fingerprint::decode(fingerprint),
            digest: Digest::from_bytes(*digest),
        };
        entries.push((PathBuf::from(OsStr::from_bytes(path)), known));
        rest = after;
    }
    Some(entries)
}

/// Reads `bytes` as a saved memo; what could be read is written as it was.
#[cfg(any(feature = "fuzz", all(test, feature = "admin", feature = "dev")))]
pub(super) fn read_and_write(bytes: &[u8]) {
    if let Some(entries) = decode(bytes) {
        assert_eq!(encode(&entries), bytes, "a memo was written as another");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A budget that nothing here spends.
    const BUDGET: u64 = 1 << 30;

    fn nothing_is_pinned(_: &Digest) -> bool {
        false
    }

    /// A cache, and a file whose fingerprint serves for any path.
    fn setup() -> (tempfile::TempDir, DiskCache, Fingerprint) {
        let directory = tempfile::tempdir().unwrap();
        let disk = DiskCache::open(&directory.path().join("cache"), BUDGET).unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "a").unwrap();
        (directory, disk, Fingerprint::of(&std::fs::metadata(&file).unwrap()))
    }

    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_digest_is_known_in_the_next_run_as_long_as_the_file_is_the_same() {
        let (directory, disk, fingerprint) = setup();
        let path = Path::new("/a.wasm");
        let memo = DigestMemo::load(Some(&disk));
        assert_eq!(memo.get(path, &fingerprint), None);
        memo.put(path, fingerprint, Digest::of(b"a"), later());
        memo.save(&nothing_is_pinned).unwrap();

        let memo = DigestMemo::load(Some(&disk));
        assert_eq!(memo.get(path, &fingerprint), Some(Digest::of(b"a")));
        assert_eq!(memo.get(Path::new("/b.wasm"), &fingerprint), None);
        let file = directory.path().join("file");
        std::fs::write(&file, "changed").unwrap();
        let changed = Fingerprint::of(&std::fs::metadata(&file).unwrap());
        assert_eq!(memo.get(path, &changed), None);
    }

    #[test]
    fn a_file_that_changed_just_now_is_not_remembered() {
        let (_directory, disk, fingerprint) = setup();
        let memo = DigestMemo::load(Some(&disk));
        memo.put(Path::new("/a.wasm"), fingerprint, Digest::of(b"a"), SystemTime::now());
        assert_eq!(memo.get(Path::new("/a.wasm"), &fingerprint), None);
        memo.save(&nothing_is_pinned).unwrap();
        assert_eq!(disk.list(), [], "there is nothing to save");
    }

    #[test]
    fn what_is_known_already_is_not_saved_again() {
        let (_directory, disk, fingerprint) = setup();
        let memo = DigestMemo::load(Some(&disk));
        memo.put(Path::new("/a.wasm"), fingerprint, Digest::of(b"a"), later());
        memo.save(&nothing_is_pinned).unwrap();
        disk.remove(&entry_name());
        memo.put(Path::new("/a.wasm"), fingerprint, Digest::of(b"a"), later());
        memo.save(&nothing_is_pinned).unwrap();
        assert_eq!(disk.list(), []);
    }

    #[test]
    fn two_processes_keep_what_the_other_saved() {
        let (_directory, disk, fingerprint) = setup();
        let memos = [DigestMemo::load(Some(&disk)), DigestMemo::load(Some(&disk))];
        let paths = [Path::new("/a.wasm"), Path::new("/b.wasm")];
        for (memo, path) in memos.iter().zip(paths) {
            memo.put(path, fingerprint, Digest::of(b"x"), later());
            memo.save(&nothing_is_pinned).unwrap();
        }
        let memo = DigestMemo::load(Some(&disk));
        for path in paths {
            assert_eq!(memo.get(path, &fingerprint), Some(Digest::of(b"x")), "for {path:?}");
        }
    }

    #[test]
    fn a_save_that_failed_is_made_up_for() {
        let (directory, disk, fingerprint) = setup();
        let memo = DigestMemo::load(Some(&disk));
        memo.put(Path::new("/a.wasm"), fingerprint, Digest::of(b"a"), later());
        // A file where the directory of the entries was.
        let root = directory.path().join("cache");
        std::fs::remove_dir_all(root.join("v1")).unwrap();
        std::fs::write(root.join("v1"), "").unwrap();
        memo.save(&nothing_is_pinned).unwrap_err();
        std::fs::remove_file(root.join("v1")).unwrap();
        memo.save(&nothing_is_pinned).unwrap();
        let memo = DigestMemo::load(Some(&disk));
        assert_eq!(memo.get(Path::new("/a.wasm"), &fingerprint), Some(Digest::of(b"a")));
    }

    #[test]
    fn the_latest_paths_stay_when_there_are_too_many() {
        let (_directory, disk, fingerprint) = setup();
        let path = |number: usize| PathBuf::from(format!("/{number}.wasm"));
        let fill = |numbers: std::ops::Range<usize>| {
            let memo = DigestMemo::load(Some(&disk));
            for number in numbers {
                memo.put(&path(number), fingerprint, Digest::of(b"x"), later());
            }
            memo.save(&nothing_is_pinned).unwrap();
        };
        fill(0..MAX_PATHS);
        fill(MAX_PATHS..MAX_PATHS + 10);
        let memo = DigestMemo::load(Some(&disk));
        assert_eq!(memo.lock().by_path.len(), MAX_PATHS);
        for (number, is_known) in [(0, false), (9, false), (10, true), (MAX_PATHS + 9, true)] {
            let found = memo.get(&path(number), &fingerprint);
            assert_eq!(found.is_some(), is_known, "for path {number}");
        }
    }

    #[test]
    fn only_whole_memos_are_read() {
        let (_directory, _, fingerprint) = setup();
        let known = Known { fingerprint, digest: Digest::of(b"a") };
        let entries =
            [(PathBuf::from("/a"), known), (OsStr::from_bytes(b"/\xff not UTF-8").into(), known)];
        let good = encode(&entries);
        assert_eq!(decode(&good).unwrap(), entries);
        let first = encode(&entries[..1]).len();
        for length in (0..good.len()).filter(|length| ![1, first].contains(length)) {
            assert_eq!(decode(&good[..length]), None, "{length} bytes are enough");
        }
        assert_eq!(decode(&[&[FORMAT + 1][..], &good[1..]].concat()), None);
    }
}
