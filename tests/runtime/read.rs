//! Component files that change or vanish while they are read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wrt::events::Stage;
use wrt::{Digest, Hint as _, Source, Swap, chain};
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;

use crate::fixture::{Fixture, guest, swapped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_is_replaced_all_the_time_is_staged_whole() {
    let component = guest("trap");
    let versions = [1, 2].map(|number| guests::variant(&component, number));
    let digests = [Digest::of(&versions[0]), Digest::of(&versions[1])];
    let (fixture, handler) = Fixture::serving(&component).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("handler.wasm");
    std::fs::write(&path, &versions[0]).unwrap();

    let done = AtomicBool::new(false);
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            // Ordering: only a sign to stop.
            while !done.load(Ordering::Relaxed) {
                for version in &versions {
                    WriteStyle::Rename.write(&path, version).unwrap();
                    // A writer without a pause would starve the reader, whatever the reader does.
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        let seen = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let mut seen = Vec::new();
                for _ in 0..20 {
                    match handler.swap(Source::file(&path), "replaced").await {
                        Ok(Swap::Swapped { serving, .. } | Swap::Unchanged { serving }) => {
                            seen.push(serving.digest);
                        }
                        other => panic!("expected a swap, found {other:?}"),
                    }
                }
                seen
            })
        });
        done.store(true, Ordering::Relaxed);
        seen
    });
    assert!(seen.iter().all(|digest| digests.contains(digest)), "{seen:?} are not {digests:?}");
    assert_eq!(fixture.get("/").await.text(), "ok");
}

#[tokio::test]
async fn deleted_file_is_refused_by_name_and_read_again_when_it_is_back() {
    let component = guest("trap");
    let (fixture, handler) = Fixture::serving(&component).await;
    let serving = handler.serving();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("handler.wasm");

    let rejected = handler.swap(Source::file(&path), "deleted").await.unwrap_err();
    assert_eq!(rejected.source.stage(), Stage::Read);
    assert_eq!(rejected.serving, serving);
    let text = chain(&rejected);
    assert!(text.contains("`h`") && text.contains(&*path.to_string_lossy()), "{text}");
    assert!(!rejected.source.hints().is_empty());
    assert_eq!(fixture.get("/").await.text(), "ok");

    std::fs::write(&path, guests::variant(&component, 1)).unwrap();
    let next = swapped(handler.swap(Source::file(&path), "back").await);
    assert_eq!(next.digest, Digest::of(&std::fs::read(&path).unwrap()));
}

#[tokio::test]
async fn directory_in_place_of_a_file_is_refused() {
    let (_fixture, handler) = Fixture::serving(&guest("trap")).await;
    let directory = tempfile::tempdir().unwrap();
    let rejected = handler.swap(Source::file(directory.path()), "odd").await.unwrap_err();
    assert_eq!(rejected.source.stage(), Stage::Read);
    assert!(chain(&rejected).contains("directory"), "{}", chain(&rejected));
}
