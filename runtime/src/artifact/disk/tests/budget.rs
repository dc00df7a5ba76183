//! The disk that a cache takes is bounded, whoever writes.

use std::thread;

use super::*;

const ENTRY: u64 = 1000;
const BUDGET: u64 = 20 * ENTRY;

fn open(home: &Home) -> DiskCache {
    DiskCache::open(&home.path(), BUDGET).unwrap()
}

/// Writes an entry of [`ENTRY`] bytes in all.
fn write(cache: &DiskCache, name: &EntryName, is_pinned: &dyn Fn(&Digest) -> bool) {
    let payload = vec![1; usize::try_from(ENTRY).unwrap() - entry::OVERHEAD];
    cache.write(name, &payload, is_pinned).unwrap();
}

fn numbered(number: u64) -> EntryName {
    code(&number.to_string())
}

/// Entry `number` was last used `number` seconds after the first of them, long ago.
fn set_used_in_order(cache: &DiskCache, number: u64) {
    let start = SystemTime::now() - Duration::from_secs(100_000);
    set_used(cache, &numbered(number), start + Duration::from_secs(number));
}

fn total(cache: &DiskCache) -> u64 {
    cache.list().iter().map(|entry| entry.bytes).sum()
}

/// The numbers below `bound` whose entries are there.
fn left(cache: &DiskCache, bound: u64) -> Vec<u64> {
    (0..bound).filter(|number| cache.has(&numbered(*number))).collect()
}

#[test]
fn the_least_recently_used_entries_go_when_the_budget_is_spent() {
    let home = Home::new();
    let cache = open(&home);
    for number in 0..20 {
        write(&cache, &numbered(number), &nothing_is_pinned);
        set_used_in_order(&cache, number);
    }
    assert_eq!(left(&cache, 20).len(), 20, "the budget is there to be used");
    // Hits keep two of the oldest.
    for number in [0, 1] {
        cache.read(&numbered(number)).unwrap();
    }
    write(&cache, &numbered(20), &nothing_is_pinned);
    // 21 were too many, and down to 90 % of the budget there is room for 18.
    let expected: Vec<_> = [0, 1].into_iter().chain(5..21).collect();
    assert_eq!(left(&cache, 21), expected);
}

#[test]
fn the_next_process_keeps_to_the_budget_too() {
    let home = Home::new();
    for number in 0..30 {
        let cache = open(&home);
        write(&cache, &numbered(number), &nothing_is_pinned);
        set_used_in_order(&cache, number);
        assert!(total(&cache) <= BUDGET);
    }
    assert!(open(&home).has(&numbered(29)));
}

#[test]
fn pinned_entries_stay_whatever_the_budget() {
    let home = Home::new();
    let cache = open(&home);
    let pinned: BTreeSet<_> = (0..25).map(|number| numbered(number).digest).collect();
    let is_pinned = |digest: &Digest| pinned.contains(digest);
    for number in 0..60 {
        write(&cache, &numbered(number), &is_pinned);
        set_used_in_order(&cache, number);
    }
    assert_eq!(left(&cache, 25).len(), 25);
    // Others come and go; at the last look there was the one just written at most, and looks are
    // a sixteenth of the budget apart.
    assert!(left(&cache, 60).len() <= 25 + 1 + 2, "left {:?}", left(&cache, 60));

    let pruned = cache.prune(0, &is_pinned);
    assert_eq!(left(&cache, 60), Vec::from_iter(0..25));
    assert_eq!(pruned.bytes, pruned.entries as u64 * ENTRY);
    assert_eq!(cache.prune(0, &nothing_is_pinned), Pruned { entries: 25, bytes: 25 * ENTRY });
    assert_eq!(cache.list(), []);
}

#[test]
fn entries_of_other_versions_go_first() {
    let home = Home::new();
    let cache = open(&home);
    let foreign = |number: u64| EntryName { bucket: Bucket::new(2), ..numbered(number) };
    cache.claim(Bucket::new(1));
    for number in 0..10 {
        write(&cache, &numbered(number), &nothing_is_pinned);
        set_used_in_order(&cache, number);
        write(&cache, &foreign(number), &nothing_is_pinned);
    }
    write(&cache, &numbered(10), &nothing_is_pinned);
    assert_eq!(left(&cache, 11).len(), 11, "all of the claimed bucket are there");
    assert_eq!(cache.list_bucket(EntryKind::Code, Bucket::new(2)).len(), 7);
    // As a command does it that wants them gone altogether.
    cache.prune(11 * ENTRY, &nothing_is_pinned);
    assert_eq!(left(&cache, 11).len(), 11);
    assert_eq!(cache.list().len(), 11);
}

#[test]
fn an_entry_that_would_evict_all_others_is_not_written() {
    let home = Home::new();
    let cache = open(&home);
    write(&cache, &numbered(0), &nothing_is_pinned);
    let fitting = usize::try_from(BUDGET / 10 * 9).unwrap() - entry::OVERHEAD;
    let error = cache.write(&code("large"), &vec![1; fitting + 1], &nothing_is_pinned).unwrap_err();
    assert!(matches!(error, CacheWriteError::TooLarge { .. }), "{error:?}");
    assert_eq!(left(&cache, 1), [0]);
    cache.write(&code("large"), &vec![1; fitting], &nothing_is_pinned).unwrap();
    assert!(cache.has(&code("large")));
}

#[test]
fn concurrent_writers_keep_to_the_budget_together() {
    const PROCESSES: u64 = 3;
    let home = Home::new();
    // What one process writes unseen by the others; one entry is more than a sixteenth of that
    // here, so that each may have two.
    let slack = PROCESSES * 2 * ENTRY;
    thread::scope(|scope| {
        for process in 0..PROCESSES {
            let cache = open(&home);
            scope.spawn(move || {
                for number in 0..50 {
                    write(&cache, &numbered(process * 1000 + number), &nothing_is_pinned);
                    let total = total(&cache);
                    assert!(total <= BUDGET + slack, "{total} bytes");
                }
            });
        }
    });
    let cache = open(&home);
    write(&cache, &numbered(0), &nothing_is_pinned);
    assert!(total(&cache) <= BUDGET);
    assert_eq!(cache.verify().bad, []);
}

#[test]
fn what_a_dead_writer_left_goes_after_an_hour() {
    let home = Home::new();
    let cache = open(&home);
    write(&cache, &numbered(0), &nothing_is_pinned);
    let bucket = cache.path(&numbered(0)).parent().unwrap().to_owned();
    let leave = |folder: &Path, name: &str, minutes: u64| {
        let path = folder.join(name);
        fs::write(&path, "half").unwrap();
        let modified = SystemTime::now() - Duration::from_secs(minutes * 60);
        File::open(&path).unwrap().set_modified(modified).unwrap();
        path
    };
    let old = [leave(&bucket, ".new-a", 61), leave(&home.path(), ".new-b", 61)];
    let stays = [leave(&bucket, ".new-c", 59), leave(&bucket, "notes", 1000)];
    // The first write of a process looks at the disk.
    write(&open(&home), &numbered(1), &nothing_is_pinned);
    assert_eq!(old.map(|path| path.exists()), [false, false]);
    assert_eq!(stays.map(|path| path.exists()), [true, true]);
    assert_eq!(cache.list().len(), 2, "neither is an entry");
}
