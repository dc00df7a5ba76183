//! Histories and components in a directory.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use super::*;
use crate::error::Hint as _;
use crate::files::TEMPORARY;

/// A directory for a store that is gone when the test ends.
fn home() -> (tempfile::TempDir, std::path::PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state/history");
    (home, dir)
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart_and_private() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    assert_eq!(store.load(&name("a")).unwrap(), HandlerHistory::new());
    let (first, latest) =
        (history([Outcome::Published]), history([Outcome::Confirmed, rejected()]));
    store.save(&name("a"), &first);
    store.save(&name("a"), &latest);
    store.save(&name("b"), &first);
    store.flush().await.unwrap();
    drop(store);
    let store = HistoryStore::open(&dir).unwrap();
    assert_eq!((store.load(&name("a")).unwrap(), store.load(&name("b")).unwrap()), (latest, first));
    let mode = |path: &str| fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("handlers"), mode("components")), (0o700, 0o700, 0o700));
    assert_eq!(mode("handlers/a.json"), 0o600);
}

#[tokio::test]
async fn damaged_history_begins_anew_and_is_set_aside() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    store.save(&name("a"), &history([Outcome::Confirmed]));
    store.flush().await.unwrap();
    let file = dir.join("handlers/a.json");
    let whole = fs::read(&file).unwrap();
    for damaged in [&whole[..whole.len() / 2], b"", b"\xff\0garbage", b"{}"] {
        fs::write(&file, damaged).unwrap();
        let error = store.load(&name("a")).unwrap_err();
        assert!(!file.exists(), "{damaged:?} is still there");
        let aside = error.aside.as_ref().unwrap();
        assert_eq!(fs::read(aside).unwrap(), damaged);
        assert!(error.hints()[0].contains(aside.to_str().unwrap()), "{:?}", error.hints());
    }
    let kept = [".damaged", ".damaged-2", ".damaged-3", ".damaged-4"];
    assert!(
        kept.iter().all(|it| dir.join(format!("handlers/a.json{it}")).exists()),
        "none gives way"
    );
    fs::write(&file, &whole).unwrap();
    assert_eq!(store.load(&name("a")).unwrap(), history([Outcome::Confirmed]));
}

#[tokio::test]
async fn what_is_no_history_by_its_kind_or_size_is_set_aside_unread() {
    let (home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    let file = dir.join("handlers/a.json");
    let makers: [&dyn Fn(); 4] = [
        &|| File::create(&file).unwrap().set_len(100 << 30).unwrap(),
        // Nobody writes to it.
        &|| rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RUSR).unwrap(),
        &|| std::os::unix::fs::symlink("/dev/zero", &file).unwrap(),
        &|| std::os::unix::fs::symlink(home.path(), &file).unwrap(),
    ];
    for make in makers {
        make();
        let error = store.load(&name("a")).unwrap_err();
        assert!(fs::symlink_metadata(&file).is_err(), "it is still there");
        fs::symlink_metadata(error.aside.unwrap()).unwrap();
    }
    store.save(&name("a"), &history([Outcome::Confirmed]));
    store.flush().await.unwrap();
    assert_eq!(store.load(&name("a")).unwrap(), history([Outcome::Confirmed]));
}

#[tokio::test]
async fn file_with_too_many_records_is_cut_to_the_bound() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    let records: Vec<_> = (1..=80).rev().map(|i| record(i, Outcome::Published)).collect();
    fs::write(dir.join("handlers/a.json"), serde_json::to_vec(&records).unwrap()).unwrap();
    assert_eq!(store.load(&name("a")).unwrap().records(), &records[..MAX_RECORDS]);
    // As many as fit a file, none of which is better than another.
    let records: Vec<_> = (1..=25_000).rev().map(|i| record(i, rejected())).collect();
    fs::write(dir.join("handlers/a.json"), serde_json::to_vec(&records).unwrap()).unwrap();
    assert_eq!(store.load(&name("a")).unwrap().records(), &records[..MAX_RECORDS]);
}

#[tokio::test]
async fn disk_that_refuses_stops_nothing_and_is_told_by_the_flush() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    // Refused for whoever may write everywhere too: a directory is in the file's place.
    let file = dir.join("handlers/a.json");
    fs::create_dir(&file).unwrap();
    store.save(&name("a"), &history([Outcome::Published]));
    store.save(&name("b"), &history([Outcome::Published]));
    let error = store.flush().await.unwrap_err();
    assert_eq!(error.path, file);
    assert!(error.to_string().starts_with("failed to write `"), "{error}");
    assert_eq!(
        store.load(&name("b")).unwrap(),
        history([Outcome::Published]),
        "the others are written"
    );
    let problem = store.problem(&name("a")).unwrap();
    assert!(problem.to_string().contains("is not kept for the next start"), "{problem}");
    assert_eq!(store.problem(&name("b")), None);
    assert!(store.flush().await.is_err(), "it is tried again, and fails again");
    fs::remove_dir(dir.join("handlers/a.json")).unwrap();
    store.flush().await.unwrap();
    assert_eq!(store.problem(&name("a")), None);
    assert_eq!(
        store.load(&name("a")).unwrap(),
        history([Outcome::Published]),
        "what failed is not lost"
    );
    let names = fs::read_dir(dir.join("handlers")).unwrap().map(|it| it.unwrap().file_name());
    let left = names.filter(|it| it.to_string_lossy().starts_with(TEMPORARY)).count();
    assert_eq!(left, 0, "half-written files are left");
}

#[tokio::test]
async fn what_is_queued_is_written_after_the_store_is_gone() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    store.save(&name("a"), &history([Outcome::Published]));
    drop(store);
    // The thread holds nothing that could be waited for, so its file is.
    let (file, started) = (dir.join("handlers/a.json"), std::time::Instant::now());
    while !file.exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain for the file");
        std::thread::yield_now();
    }
    let store = HistoryStore::open(&dir).unwrap();
    assert_eq!(store.load(&name("a")).unwrap(), history([Outcome::Published]));
}

#[test]
fn components_are_kept_by_their_digests_until_the_last_one_lets_go() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    let components: Vec<Vec<u8>> = (1..=3).map(|i| vec![i; 1000]).collect();
    let digests: Vec<_> = components.iter().map(|bytes| Digest::of(bytes)).collect();
    for (digest, bytes) in digests.iter().zip(&components) {
        assert!(store.component(digest).is_none());
        store.keep(digest, bytes).unwrap();
        store.keep(digest, bytes).unwrap();
        assert_eq!(fs::read(store.component(digest).unwrap()).unwrap(), *bytes);
    }
    // Cut short by something else than wrt: the next one to keep it mends it.
    fs::write(store.component(&digests[0]).unwrap(), b"short").unwrap();
    store.keep(&digests[0], &components[0]).unwrap();
    assert_eq!(fs::read(store.component(&digests[0]).unwrap()).unwrap(), components[0]);
    fs::write(dir.join("components/README"), "not a component").unwrap();
    // Kept twice each, and the first one three times.
    let release_all =
        |n: usize| (0..n).for_each(|_| digests.iter().for_each(|it| store.release(it)));
    release_all(2);
    let left: Vec<_> = digests.iter().map(|digest| store.component(digest).is_some()).collect();
    assert_eq!(left, [true, false, false]);
    release_all(5);
    assert!(store.component(&digests[0]).is_none() && !store.claim(&digests[0]));
    assert!(dir.join("components/README").exists());

    // What an earlier process has left is nobody's until it is claimed.
    store.keep(&digests[1], &components[1]).unwrap();
    drop(store);
    let next = HistoryStore::open(&dir).unwrap();
    next.release(&digests[1]);
    assert!(next.claim(&digests[1]));
    next.release(&digests[1]);
    assert!(next.component(&digests[1]).is_none());
}

#[test]
fn component_that_was_not_kept_is_nobodys() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    let digest = Digest::of(b"a component");
    let path = dir.join(format!("components/{digest}.wasm"));
    fs::create_dir(&path).unwrap();
    store.keep(&digest, b"a component").unwrap_err();
    assert!(!store.claim(&digest));
    fs::remove_dir(&path).unwrap();
    store.keep(&digest, b"a component").unwrap();
    store.release(&digest);
    assert!(store.component(&digest).is_none(), "one release takes back the one that was kept");
    store.keep(&digest, b"a component").unwrap();
    store.disclaim(&digest);
    store.release(&digest);
    assert!(store.claim(&digest), "it is as if an earlier process had left it");
    store.release(&digest);
    assert!(!store.claim(&digest));
}

#[test]
fn directory_that_cannot_be_used_says_why_and_what_to_do() {
    let (home, dir) = home();
    let check = |path: &std::path::Path, expected: &str| {
        let error = HistoryStore::open(path).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.hints().len(), 1);
    };
    fs::write(home.path().join("file"), "").unwrap();
    check(&home.path().join("file"), "found no directory");
    check(&home.path().join("file/below"), "failed to make the history directory");
    HistoryStore::open(&dir).unwrap();
    std::os::unix::fs::symlink(&dir, home.path().join("link")).unwrap();
    check(&home.path().join("link/"), "found a symbolic link");
}

#[test]
fn others_lose_their_rights_and_dead_writers_their_files() {
    let (_home, dir) = home();
    HistoryStore::open(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let leftover = |name: &str| dir.join("handlers").join(format!("{TEMPORARY}{name}"));
    File::create(leftover("just now")).unwrap();
    let store = HistoryStore::open(&dir).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!leftover("just now").exists(), "nobody else writes here");
    // Of a directory in use nothing is touched.
    File::create(leftover("of the one that has it")).unwrap();
    HistoryStore::open(&dir).unwrap_err();
    assert!(leftover("of the one that has it").exists());
    drop(store);
}

#[tokio::test]
async fn one_store_at_a_time_writes_to_a_directory_and_others_read_it() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    store.save(&name("a"), &history([Outcome::Confirmed]));
    store.keep(&digest(1), b"a component").unwrap();
    store.flush().await.unwrap();
    let refused = HistoryStore::open(&dir).unwrap_err();
    let HistoryUnavailable::InUse { holder, .. } = refused else { panic!("{refused}") };
    assert_eq!(holder, Some(std::process::id()));
    assert!(refused.to_string().contains("another runtime of this process"), "{refused}");
    assert!(refused.hints()[0].contains("state_dir"), "{:?}", refused.hints());

    let reader = HistoryStore::reading(&dir, refused).unwrap();
    assert_eq!(reader.load(&name("a")).unwrap(), history([Outcome::Confirmed]));
    assert!(reader.claim(&digest(1)));
    reader.release(&digest(1));
    reader.save(&name("a"), &history([rolled_back()]));
    reader.keep(&digest(2), b"another").unwrap();
    reader.flush().await.unwrap();
    assert!(reader.problem(&name("a")).unwrap().reason.contains("in use by"));
    let found = [1, 2].map(|it| store.component(&digest(it)).is_some());
    assert_eq!(
        (store.load(&name("a")).unwrap(), found),
        (history([Outcome::Confirmed]), [true, false])
    );

    // The end of the last one who uses it lets the next one in, though somebody reads on.
    let usage = store.usage();
    let usage = [Arc::clone(&usage), usage];
    store.save(&name("a"), &history([Outcome::Published]));
    drop(usage);
    // A process that another test starts at this moment has the lock until its program begins.
    let mut next = HistoryStore::open(&dir);
    for _ in 0..2000 {
        if next.is_ok() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        next = HistoryStore::open(&dir);
    }
    let next = next.unwrap();
    assert_eq!(next.load(&name("a")).unwrap(), history([Outcome::Published]), "what was queued");
    store.save(&name("a"), &history([rolled_back()]));
    store.flush().await.unwrap();
    assert_eq!(next.load(&name("a")).unwrap(), history([Outcome::Published]), "another's now");
}

#[tokio::test]
async fn unreadable_history_that_cannot_be_set_aside_is_not_written_over() {
    let (_home, dir) = home();
    let store = HistoryStore::open(&dir).unwrap();
    let file = dir.join("handlers/a.json");
    fs::write(&file, "damaged").unwrap();
    for n in 1..=9 {
        let number = if n == 1 { String::new() } else { format!("-{n}") };
        let aside = dir.join(format!("handlers/a.json.damaged{number}"));
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join("in the way"), "").unwrap();
    }
    let error = store.load(&name("a")).unwrap_err();
    assert_eq!(error.aside, None);
    store.save(&name("a"), &history([Outcome::Confirmed]));
    store.flush().await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"damaged");
    assert!(store.problem(&name("a")).unwrap().reason.contains("failed to read"));
}
