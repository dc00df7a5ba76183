//! Component files that somebody else writes: reported whole, once per content, however written.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::{Bench, component, save};
use crate::dev::notice::NoticeKind;
use crate::dev::{Options, Source};

/// Pause of a slow writer; part of what is simulated.
const PAUSE: Duration = Duration::from_millis(50);

/// A directory with `x.wasm` in it, and a session that follows that file.
async fn start(content: &[u8]) -> (TempDir, PathBuf, Bench) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.wasm");
    fs::write(&path, component(content)).unwrap();
    let mut bench = follow(&path);
    let (_, notice, built) = bench.built().await;
    assert_eq!((notice.cause.as_str(), &built.path), ("first load", &path));
    (dir, path, bench)
}

fn follow(path: &Path) -> Bench {
    Bench::start(Source::Wasm { path: path.to_owned() }, Options::default())
}

/// Expects that nothing is under way: replaces the file, and that is the next notice.
async fn fence(path: &Path, bench: &mut Bench) {
    save(path, component(b"fence"));
    let (_, notice, _) = bench.built().await;
    assert_eq!(notice.cause, "`x.wasm` was replaced");
    assert_eq!(fs::read(path).unwrap(), component(b"fence"));
    // The next fence must differ.
    save(path, component(b"fence, again"));
    bench.built().await;
}

#[tokio::test]
async fn each_replacement_is_reported_once() {
    let (dir, path, mut bench) = start(b"1").await;
    save(&path, component(b"2"));
    bench.built().await;
    fs::write(&path, component(b"3")).unwrap();
    bench.built().await;
    // As cargo does it: deleted, then hard-linked.
    fs::write(dir.path().join("deps"), component(b"4")).unwrap();
    fs::remove_file(&path).unwrap();
    fs::hard_link(dir.path().join("deps"), &path).unwrap();
    bench.built().await;
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn the_same_bytes_are_not_reported_again() {
    let (_dir, path, mut bench) = start(b"1").await;
    save(&path, component(b"1"));
    fs::write(&path, component(b"1")).unwrap();
    File::open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn new_bytes_with_the_old_time_and_size_are_reported() {
    let (_dir, path, mut bench) = start(b"1").await;
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = File::options().write(true).open(&path).unwrap();
    file.write_all(&component(b"2")).unwrap();
    file.set_modified(modified).unwrap();
    drop(file);
    bench.built().await;
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn a_slow_write_is_reported_once_at_its_end() {
    let (_dir, path, mut bench) = start(b"1").await;
    let bytes = component(&[7; 640 * 1024]);
    let mut file = File::create(&path).unwrap();
    for block in bytes.chunks(64 * 1024) {
        file.write_all(block).unwrap();
        tokio::time::sleep(PAUSE).await;
    }
    drop(file);
    bench.built().await;
    assert_eq!(fs::read(&path).unwrap(), bytes);
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn a_write_in_separate_appends_is_reported_once_at_its_end() {
    let (_dir, path, mut bench) = start(b"1").await;
    let bytes = component(&[7; 300 * 1024]);
    fs::write(&path, "").unwrap();
    for block in bytes.chunks(64 * 1024) {
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(block).unwrap();
        drop(file);
        tokio::time::sleep(PAUSE).await;
    }
    bench.built().await;
    assert_eq!(fs::metadata(&path).unwrap().len(), bytes.len() as u64);
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn a_file_that_stays_cut_is_passed_on_to_be_rejected() {
    let (_dir, path, mut bench) = start(b"1").await;
    let bytes = component(&[7; 1000]);
    for len in [0, 4, 8 + 1, 500, bytes.len() - 1] {
        save(&path, &bytes[..len]);
        bench.built().await;
        assert_eq!(fs::metadata(&path).unwrap().len(), len as u64);
    }
    save(&path, "<html>");
    bench.built().await;
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn a_deleted_file_is_reported_once_and_found_again() {
    let (dir, path, mut bench) = start(b"1").await;
    fs::remove_file(&path).unwrap();
    let (_, notice) = bench.outcome().await;
    let NoticeKind::Unavailable { message, .. } = notice.kind else { panic!("{notice:?}") };
    assert_eq!(message, format!("`{}` does not exist", path.display()));
    save(&path, component(b"2"));
    let (_, notice, _) = bench.built().await;
    assert_eq!(notice.cause, "`x.wasm` appeared");
    fence(&path, &mut bench).await;

    fs::remove_dir_all(dir.path()).unwrap();
    let (_, notice) = bench.outcome().await;
    assert!(matches!(notice.kind, NoticeKind::Unavailable { .. }), "{notice:?}");
    fs::create_dir(dir.path()).unwrap();
    save(&path, component(b"3"));
    bench.built().await;
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn what_is_no_component_by_its_kind_or_size_is_told_unread() {
    let (dir, path, mut bench) = start(b"1").await;
    // Nobody writes to the pipe; the file is longer than any memory.
    let pipe = dir.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    let long = dir.path().join("long");
    File::create(&long).unwrap().set_len(100 << 30).unwrap();
    for (other, what) in [(pipe, "it is no regular file"), (long, "more than a component")] {
        fs::rename(&other, &path).unwrap();
        let (_, notice) = bench.outcome().await;
        let NoticeKind::Unavailable { message, .. } = notice.kind else { panic!("{notice:?}") };
        assert!(message.contains(what), "{message}");
        save(&path, component(what.as_bytes()));
        bench.built().await;
    }
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn a_file_that_comes_later_is_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("target/out/x.wasm");
    let mut bench = follow(&path);
    let (_, notice) = bench.outcome().await;
    assert!(matches!(notice.kind, NoticeKind::Unavailable { .. }), "{notice:?}");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    save(&path, component(b"1"));
    bench.built().await;
    fence(&path, &mut bench).await;
}

#[tokio::test]
async fn a_swapped_directory_link_is_a_replacement() {
    let dir = tempfile::tempdir().unwrap();
    for version in ["v1", "v2"] {
        fs::create_dir(dir.path().join(version)).unwrap();
        fs::write(dir.path().join(version).join("x.wasm"), component(version.as_bytes())).unwrap();
    }
    // The layout of a Kubernetes volume.
    symlink("v1", dir.path().join("..data")).unwrap();
    symlink("..data/x.wasm", dir.path().join("x.wasm")).unwrap();
    let mut bench = follow(&dir.path().join("x.wasm"));
    bench.built().await;
    symlink("v2", dir.path().join("..data_tmp")).unwrap();
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    bench.built().await;
    fs::write(dir.path().join("v2/x.wasm"), component(b"v2b")).unwrap();
    bench.built().await;
}

#[tokio::test]
async fn polling_finds_replacements_without_events() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.wasm");
    fs::write(&path, component(b"1")).unwrap();
    let options = Options { poll: true, ..Options::default() };
    let mut bench = Bench::start(Source::Wasm { path: path.clone() }, options);
    bench.built().await;
    save(&path, component(b"2"));
    bench.built().await;
    fence(&path, &mut bench).await;
}
