//! Processes that are killed while they write.

use super::*;
use crate::files::killed::{WRITING, spawn};

/// Names the cache that a killed process writes to.
const CACHE: &str = "WRT_TEST_KILLED_CACHE";

/// Names that are written again and again.
const NAMES: usize = 8;

/// The payload of each write is its number, often enough to fill some pages.
fn payload(number: u32) -> Vec<u8> {
    number.to_le_bytes().repeat(5_000 * (1 + number as usize % 7))
}

/// The part of [`what_a_killed_process_wrote_is_whole`] that is killed; by itself it does nothing.
#[test]
fn writes_until_it_is_killed() {
    let Some(cache) = std::env::var_os(CACHE) else { return };
    let cache = DiskCache::open(Path::new(&cache), AMPLE).unwrap();
    println!("{WRITING}");
    // A number of its own for each process, so that two do not write the same.
    for number in (0..).map(|number: u32| std::process::id().wrapping_add(number)) {
        write(&cache, &code(&(number as usize % NAMES).to_string()), &payload(number));
    }
}

#[test]
fn what_a_killed_process_wrote_is_whole() {
    let home = Home::new();
    let cache = home.open();
    let mut random = Random(7);
    for round in 0..50 {
        let mut writers = [(), ()].map(|()| spawn(&writes_until_it_is_killed, CACHE, &home.path()));
        for writer in &mut writers {
            // Not a wait for anything: at which moment it dies is what is tried out.
            std::thread::sleep(Duration::from_micros(random.below(15_000) as u64));
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
        for name in (0..NAMES).map(|number| code(&number.to_string())) {
            let Some(found) = read(&cache, &name) else { continue };
            let (number, _) = found.split_first_chunk().unwrap();
            assert!(found == payload(u32::from_le_bytes(*number)), "mixed in round {round}");
        }
        // Not even the time of a recompilation is lost: no entry had to be removed.
        assert_eq!(cache.discarded(), 0, "in round {round}");
    }
    assert!(!cache.list().is_empty(), "nobody wrote anything");
    let bucket = cache.path(&code("0")).parent().unwrap().to_owned();
    let names = fs::read_dir(bucket).unwrap().map(|entry| entry.unwrap().file_name());
    let left = names.filter(|name| name.to_string_lossy().starts_with(scan::TEMPORARY)).count();
    assert!(left > 0, "nobody was killed while it wrote");
}
