//! Several processes on one directory, without locks.

use std::sync::Barrier;
use std::thread;

use super::*;

/// A payload that shows which entry it belongs to and whether it is whole.
fn payload(number: usize) -> Vec<u8> {
    vec![u8::try_from(number % 251).unwrap(); 1000 + number * 997]
}

#[test]
fn two_processes_see_whole_entries_of_each_other() {
    const ENTRIES: usize = 20;
    let home = Home::new();
    let name = |number: usize| code(&number.to_string());
    let caches = [home.open(), home.open()];
    thread::scope(|scope| {
        for cache in &caches {
            for seed in 0..2 {
                scope.spawn(move || {
                    let mut random = Random(seed);
                    for _ in 0..100 {
                        let number = random.below(ENTRIES);
                        write(cache, &name(number), &payload(number));
                        let number = random.below(ENTRIES);
                        let found = read(cache, &name(number));
                        assert!(found.is_none_or(|it| it == payload(number)), "entry {number}");
                    }
                });
            }
        }
    });
    // No entry was ever half there for anybody.
    assert_eq!(caches.each_ref().map(DiskCache::discarded), [0, 0]);
    let next = home.open();
    assert_eq!(next.verify().bad, []);
    for number in 0..ENTRIES {
        assert_eq!(read(&next, &name(number)).unwrap(), payload(number));
    }
}

#[test]
fn processes_that_make_the_cache_at_once_get_one_key() {
    const PROCESSES: usize = 8;
    for _ in 0..20 {
        let home = Home::new();
        let barrier = Barrier::new(PROCESSES);
        let name = |process: usize| code(&process.to_string());
        let caches: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..PROCESSES)
                .map(|process| {
                    let (home, barrier) = (&home, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let cache = home.open();
                        write(&cache, &name(process), b"code");
                        cache
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (cache, process) in caches.iter().zip(0..) {
            for other in 0..PROCESSES {
                let found = read(cache, &name(other));
                assert!(found.is_some(), "{process} does not accept the entry of {other}");
            }
        }
    }
}

#[test]
fn a_cache_that_is_removed_under_a_process_is_one_cache_again() {
    let home = Home::new();
    let old = home.open();
    write(&old, &code("a"), b"code");
    fs::remove_dir_all(home.path()).unwrap();
    assert_eq!(read(&old, &code("a")), None);
    let new = home.open();
    write(&new, &code("b"), b"of the new one");
    assert_eq!(read(&old, &code("b")).unwrap(), b"of the new one");
    write(&old, &code("c"), b"of the old one");
    assert_eq!(read(&new, &code("c")).unwrap(), b"of the old one");

    // And where the old one is first to come back.
    fs::remove_dir_all(home.path()).unwrap();
    write(&old, &code("a"), b"code");
    assert_eq!(read(&home.open(), &code("a")).unwrap(), b"code");
}
