//! What is not as it was written is never returned, and makes room for what is.

use std::os::unix::fs::symlink;

use super::*;

/// The entry at `name` was `damaged`: it is not returned, is gone, and can be written again.
#[track_caller]
fn check(cache: &DiskCache, name: &EntryName, damage: &str) {
    let discarded = cache.discarded();
    assert_eq!(read(cache, name), None, "returned after {damage}");
    assert_eq!(cache.discarded(), discarded + 1, "not counted after {damage}");
    assert!(fs::symlink_metadata(cache.path(name)).is_err(), "still there after {damage}");
    write(cache, name, b"again");
    assert_eq!(read(cache, name).unwrap(), b"again", "not replaced after {damage}");
}

#[test]
fn a_damaged_file_is_never_returned() {
    let home = Home::new();
    let (cache, name) = (home.open(), code("a"));
    let path = cache.path(&name);
    let payload: Vec<u8> = (0u8..=255).cycle().take(5000).collect();
    write(&cache, &name, &payload);
    let good = fs::read(&path).unwrap();
    let mut random = Random(1);
    for round in 0..200 {
        let mut bad = good.clone();
        let damage = match round % 4 {
            0 => {
                // Half of them near the header, which is a small part of the file.
                let range = if round % 8 == 0 { entry::OVERHEAD } else { bad.len() };
                let (at, bit) = (random.below(range), random.below(8));
                bad[at] ^= 1 << bit;
                format!("flipping bit {bit} of byte {at}")
            }
            1 => {
                bad.truncate(random.below(good.len()));
                format!("truncating to {} bytes", bad.len())
            }
            2 => {
                let longer = 1 + random.below(1000);
                bad.extend((0..longer).map(|_| u8::try_from(random.below(256)).unwrap()));
                format!("adding {longer} bytes")
            }
            _ => {
                let (from, to) = (random.below(good.len()), random.below(good.len()));
                let range = from.min(to)..from.max(to) + 1;
                // Shifted, so that no byte stays as it was.
                bad[range.clone()].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                format!("overwriting bytes {range:?}")
            }
        };
        fs::write(&path, &bad).unwrap();
        check(&cache, &name, &damage);
    }
    fs::write(&path, "").unwrap();
    check(&cache, &name, "emptying it");
    // What was good stays good, wherever it was meanwhile.
    fs::write(&path, &good).unwrap();
    assert_eq!(read(&cache, &name).unwrap(), payload);
}

#[test]
fn an_entry_under_another_name_is_not_returned() {
    let home = Home::new();
    let cache = home.open();
    let a = code("a");
    let others = [
        code("b"),
        EntryName { bucket: Bucket::new(2), ..a },
        EntryName { kind: EntryKind::Functions, ..a },
    ];
    for other in others {
        write(&cache, &a, b"code of a");
        write(&cache, &other, b"something else");
        fs::rename(cache.path(&a), cache.path(&other)).unwrap();
        check(&cache, &other, "renaming another entry to it");
    }
}

#[test]
fn an_entry_of_another_cache_is_not_returned() {
    let homes = [Home::new(), Home::new()];
    let caches = homes.each_ref().map(Home::open);
    let name = code("a");
    for cache in &caches {
        write(cache, &name, b"code");
    }
    fs::copy(caches[0].path(&name), caches[1].path(&name)).unwrap();
    check(&caches[1], &name, "copying it from another cache");
}

#[test]
fn what_is_no_file_of_ours_is_not_opened() {
    let home = Home::new();
    let (cache, name, other) = (home.open(), code("a"), code("b"));
    let path = cache.path(&name);
    write(&cache, &other, b"other");
    write(&cache, &name, b"code");
    let aside = home.0.path().join("aside");

    // Even to the very bytes that were there: who made the link can turn it.
    fs::rename(&path, &aside).unwrap();
    symlink(&aside, &path).unwrap();
    assert!(!cache.has(&name));
    check(&cache, &name, "a symbolic link");
    assert!(aside.exists(), "only the link goes");

    fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    check(&cache, &name, "a pipe that nobody writes to");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("file"), "").unwrap();
    check(&cache, &name, "a directory");

    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
        check(&cache, &name, "another owner");
    }
    assert_eq!(read(&cache, &other).unwrap(), b"other");
}

#[test]
fn verifying_removes_what_is_damaged_and_nothing_else() {
    let home = Home::new();
    let cache = home.open();
    let names: Vec<_> = (0..10).map(|number| code(&number.to_string())).collect();
    for name in &names {
        write(&cache, name, &[1; 100]);
    }
    let bytes = entry::OVERHEAD as u64 + 100;
    assert_eq!(cache.verify(), Verification { good: 10, bytes: 10 * bytes, bad: vec![] });
    for name in &names[..2] {
        fs::write(cache.path(name), "damaged").unwrap();
    }
    let mut found = cache.verify();
    found.bad.sort();
    let mut bad = names[..2].to_vec();
    bad.sort();
    assert_eq!(found, Verification { good: 8, bytes: 8 * bytes, bad });
    assert_eq!(cache.verify().good, 8);
    assert_eq!(cache.list().len(), 8);
    // Found without asking for them, and counted like the others.
    assert_eq!(cache.discarded(), 2);
}

#[test]
fn a_write_that_fails_leaves_nothing_behind() {
    let home = Home::new();
    let (cache, name) = (home.open(), code("a"));
    let path = cache.path(&name);
    write(&cache, &name, b"code");
    fs::remove_file(&path).unwrap();
    // No file can be renamed to a directory.
    fs::create_dir(&path).unwrap();
    let error = cache.write(&name, b"code", &nothing_is_pinned).unwrap_err();
    assert!(matches!(error, CacheWriteError::Write { .. }), "{error:?}");
    fs::remove_dir(&path).unwrap();
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 0);
}

/// Makes the file at `path` as long as that without its blocks, as anybody can who may write there.
fn stretch(path: &Path, bytes: u64) {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .unwrap()
        .set_len(bytes)
        .unwrap();
}

#[test]
fn a_file_that_is_too_large_is_removed_unread() {
    let home = Home::new();
    let (cache, name) = (home.open(), code("a"));
    write(&cache, &name, b"x");
    // Read whole, this would not fit any memory.
    stretch(&cache.path(&name), 100 << 30);
    check(&cache, &name, "stretching it to 100 GiB");
    stretch(&cache.path(&name), AMPLE + 1);
    check(&cache, &name, "stretching it beyond the budget");
    // Within the budget, its header gives it away: nothing but that is read.
    stretch(&cache.path(&name), AMPLE);
    check(&cache, &name, "stretching it to the budget");
    fs::remove_file(cache.path(&name)).unwrap();
    stretch(&cache.path(&name), AMPLE);
    check(&cache, &name, "making it of zeros alone");
}

#[test]
fn a_file_that_is_too_large_pushes_no_entry_out() {
    let home = Home::new();
    let budget = 1 << 20;
    let cache = DiskCache::open(&home.path(), budget).unwrap();
    let good: Vec<_> = (0..5).map(|number| code(&format!("good {number}"))).collect();
    for name in &good {
        write(&cache, name, &[7; 1000]);
    }
    let large = code("large");
    stretch(&cache.path(&large), 100 << 30);
    // The next process looks at the disk with its first write.
    let next = DiskCache::open(&home.path(), budget).unwrap();
    write(&next, &code("next"), b"x");
    assert!(fs::symlink_metadata(next.path(&large)).is_err(), "it is still there");
    for name in &good {
        assert!(next.has(name), "{name:?} was pushed out");
    }
    assert_eq!(next.discarded(), 1);
}
