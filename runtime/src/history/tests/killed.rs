//! Processes that are killed while they write histories.

use std::path::Path;

use super::*;
use crate::files::killed::{WRITING, spawn};

/// Names the directory that a killed process writes to.
const DIRECTORY: &str = "WRT_TEST_KILLED_HISTORY";

/// Handlers that are written again and again.
const HANDLERS: [&str; 3] = ["a", "b", "c"];

/// A history that tells whether all of it is from one write: number and length go together.
fn nth(i: u64) -> HandlerHistory {
    let mut history = HandlerHistory::new();
    for _ in 0..=i % 40 {
        history.add(record(i, Outcome::Confirmed));
    }
    history
}

/// The part of [`killed_process_leaves_whole_histories`] that is killed; by itself it does nothing.
#[tokio::test]
async fn writes_histories_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIRECTORY) else { return };
    let store = HistoryStore::open(Path::new(&dir)).unwrap();
    println!("{WRITING}");
    for i in 1.. {
        for handler in HANDLERS {
            store.save(&name(handler), &nth(i));
        }
        let bytes = i.to_le_bytes().repeat(5000);
        store.keep(&Digest::of(&bytes), &bytes).unwrap();
        store.flush().await.unwrap();
    }
}

#[test]
fn killed_process_leaves_whole_histories() {
    let home = tempfile::tempdir().unwrap();
    let mut random: u64 = 7;
    for round in 0..40 {
        let mut writer = spawn(&writes_histories_until_it_is_killed, DIRECTORY, home.path());
        // A linear congruential generator, whose high bits are random enough.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Not a wait for anything: at which moment it dies is what is tried out.
        std::thread::sleep(Duration::from_micros((random >> 33) % 15_000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        let store = HistoryStore::open(home.path()).unwrap();
        for handler in HANDLERS {
            let found = store.load(&name(handler)).unwrap();
            let Some(newest) = found.last_number() else { continue };
            assert_eq!(found, nth(newest.get()), "mixed in round {round}");
        }
        let files = std::fs::read_dir(home.path().join("components")).unwrap();
        for path in files.map(|file| file.unwrap().path()).filter(|it| it.extension().is_some()) {
            let found = Digest::of(&std::fs::read(&path).unwrap()).to_string();
            assert_eq!(path.file_stem().unwrap().to_str(), Some(found.as_str()));
        }
    }
    let entries = std::fs::read_dir(home.path().join("handlers")).unwrap();
    let names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.ends_with(".damaged")), "{names:?}");
    assert!(names.iter().any(|name| name.ends_with(".json")), "nobody wrote anything: {names:?}");
}
