//! Functions survive a process, whoever else saves theirs.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wasmtime::CacheStore as _;

use super::*;

/// A budget that nothing here spends.
const BUDGET: u64 = 1 << 30;

fn nothing_is_pinned(_: &Digest) -> bool {
    false
}

/// A new process's view of the cache in `directory`.
fn store(directory: &tempfile::TempDir, memory: u64) -> FunctionStore {
    let disk = DiskCache::open(&directory.path().join("cache"), BUDGET).unwrap();
    FunctionStore::new(disk, Arc::new(FunctionCache::new(memory)), Bucket::new(1))
}

fn has(store: &FunctionStore, key: &str) -> bool {
    store.functions.get(key.as_bytes()).is_some()
}

/// Saves a segment with the one function `key`, whose code is like no other's.
fn save(store: &FunctionStore, key: &str) {
    let code = [key.as_bytes(), &[7; 100][key.len()..]].concat();
    store.functions.insert(key.as_bytes(), code);
    store.save(&nothing_is_pinned).unwrap();
}

#[test]
fn functions_of_one_process_are_there_in_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory, BUDGET);
    save(&first, "a");
    save(&first, "b");
    first.save(&nothing_is_pinned).unwrap();
    assert_eq!(first.segments().len(), 2, "a save without anything new writes nothing");

    let second = store(&directory, BUDGET);
    second.load();
    assert!(has(&second, "a") && has(&second, "b"));
    second.save(&nothing_is_pinned).unwrap();
    assert_eq!(second.segments().len(), 2, "what was loaded is not saved again");
}

#[test]
fn functions_of_another_engine_are_not_loaded() {
    let directory = tempfile::tempdir().unwrap();
    save(&store(&directory, BUDGET), "a");
    let other = FunctionStore { bucket: Bucket::new(2), ..store(&directory, BUDGET) };
    other.load();
    assert!(!has(&other, "a"));
}

#[test]
fn the_newest_segments_are_loaded_when_not_all_fit() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory, BUDGET);
    for key in ["a", "b", "c"] {
        save(&first, key);
    }
    // Room for two, time after time: loading does not turn the order round.
    for _ in 0..3 {
        let next = store(&directory, 250);
        next.load();
        let found = ["a", "b", "c"].map(|key| has(&next, key));
        assert_eq!(found, [false, true, true]);
    }
}

#[test]
fn many_small_segments_become_one() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory, BUDGET);
    for number in 0..=MAX_SEGMENTS {
        assert_eq!(first.segments().len(), number);
        save(&first, &number.to_string());
    }
    assert_eq!(first.segments().len(), 1);
    let second = store(&directory, BUDGET);
    second.load();
    for number in 0..=MAX_SEGMENTS {
        assert!(has(&second, &number.to_string()), "function {number} was lost");
    }
}

#[test]
fn a_merge_that_makes_one_of_the_segments_again_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory, BUDGET);
    let functions: Vec<_> = (0..MAX_SEGMENTS).map(|number| number.to_string()).collect();
    for key in &functions {
        save(&first, key);
    }
    // A segment with all of them: merged with the others, it is itself.
    let all = functions.iter().map(|key| (key.as_bytes(), &[7; 100][..]));
    first.write(all, &nothing_is_pinned).unwrap();
    first.merge(&nothing_is_pinned).unwrap();
    assert_eq!(first.segments().len(), 1);
    let second = store(&directory, BUDGET);
    second.load();
    assert!(functions.iter().all(|key| has(&second, key)));
}

#[test]
fn processes_that_save_and_merge_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let key = |process: usize, number: usize| format!("{process}/{number}");
    std::thread::scope(|scope| {
        for process in 0..3 {
            let store = store(&directory, BUDGET);
            scope.spawn(move || {
                for number in 0..MAX_SEGMENTS {
                    save(&store, &key(process, number));
                }
            });
        }
    });
    let next = store(&directory, BUDGET);
    next.load();
    for (process, number) in (0..3).flat_map(|it| (0..MAX_SEGMENTS).map(move |n| (it, n))) {
        assert!(has(&next, &key(process, number)), "lost {}", key(process, number));
    }
    assert!(next.segments().len() <= MAX_SEGMENTS + 3, "nobody merged");
}

#[test]
fn a_damaged_segment_costs_its_functions_only() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory, BUDGET);
    save(&first, "a");
    let damaged = first.segments().remove(0).name;
    save(&first, "b");
    let bucket = directory.path().join("cache/v1/functions/0000000000000001");
    std::fs::write(bucket.join(damaged.digest.to_string()), "damaged").unwrap();
    let second = store(&directory, BUDGET);
    second.load();
    assert_eq!((has(&second, "a"), has(&second, "b")), (false, true));
    assert_eq!(second.segments().len(), 1);
}

#[test]
fn chunks_hold_everything_and_are_bounded() {
    let function = |number: u8, bytes: usize| (Arc::from([number]), Arc::from(vec![0; bytes]));
    let third = SEGMENT_BYTES / 3;
    let all: Vec<KeyedCode> = [third, third, third, 10, SEGMENT_BYTES + 1, 10]
        .into_iter()
        .zip(0u8..)
        .map(|(bytes, number)| function(number, bytes))
        .collect();
    let lengths: Vec<_> = chunks(&all).map(<[_]>::len).collect();
    assert_eq!(lengths, [2, 2, 1, 1]);
    assert_eq!(chunks(&[]).count(), 0);
}

proptest! {
    #[test]
    fn a_segment_holds_each_function_once(
        functions in proptest::collection::vec(
            (proptest::collection::vec(0u8..4, 0..4), proptest::collection::vec(any::<u8>(), 0..40)),
            0..20,
        )
    ) {
        let by_key: BTreeMap<_, _> = functions.into_iter().collect();
        let pairs = || by_key.iter().map(|(key, code)| (&key[..], &code[..]));
        // Each twice, and in two orders.
        let segment = encode(pairs().chain(pairs().rev()));
        prop_assert_eq!(decode(&segment).unwrap(), pairs().collect::<Vec<_>>());
        prop_assert_eq!(encode(pairs()), segment);
    }

    #[test]
    fn what_is_cut_short_is_read_up_to_a_function_or_not_at_all(
        codes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..6),
        cut in any::<proptest::sample::Index>(),
    ) {
        let keys: Vec<_> = (0..codes.len()).map(|number| [u8::try_from(number).unwrap()]).collect();
        let pairs: Vec<_> = keys.iter().map(|it| &it[..]).zip(codes.iter().map(|it| &it[..])).collect();
        let segment = encode(pairs.iter().copied());
        match decode(&segment[..cut.index(segment.len())]) {
            None => {}
            Some(read) => prop_assert_eq!(&read[..], &pairs[..read.len()]),
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&FORMAT[..], &bytes].concat());
        let _ = decode(&bytes);
    }
}
