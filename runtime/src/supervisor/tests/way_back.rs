//! A generation that fails its trial, what comes in its place, and what can be gone back to.

use super::*;
use crate::history::Outcome;

/// Has a generation fail its trial whose way back waits for a permit of `go`, until that is staged.
async fn condemned(harness: &Harness) {
    harness.go.add_permits(1);
    let _ = harness.swap("slow one").await.unwrap();
    let _ = harness.swap("two").await.unwrap();
    let active = harness.handler.active().current().unwrap();
    for _ in 0..harness.handler.policy().max_failures {
        assert_eq!(harness.answer().await, "two");
        active.tally().failed();
    }
    harness.until_staging(3).await;
}

/// Has what serves fail its trial, and calls what takes its place.
pub(super) async fn fails(harness: &Harness) -> String {
    let active = harness.handler.active().current().unwrap();
    for _ in 0..harness.handler.policy().max_failures {
        harness.answer().await;
        active.tally().failed();
    }
    while harness.handler.serving() == Some(active.serving()) {
        tokio::task::yield_now().await;
    }
    harness.answer().await
}

#[tokio::test]
async fn version_that_never_proved_itself_is_on_trial_again_when_it_comes_back() {
    let harness = harness(2);
    let outcome = |number| {
        let number = GenerationNumber::new(number);
        harness.handle.look(|history| history.find(number).unwrap().outcome.clone())
    };
    let _ = harness.swap("one").await.unwrap();
    assert!(harness.handle.confirm().await.unwrap().is_some());
    for text in ["two", "three"] {
        let _ = harness.swap(text).await.unwrap();
    }
    assert_eq!(fails(&harness).await, "two");
    assert_eq!(outcome(4), Outcome::Published);
    assert!(matches!(outcome(3), Outcome::RolledBack { .. }));
    assert_eq!(fails(&harness).await, "one");
    assert_eq!(outcome(5), Outcome::Confirmed, "it proved itself before");
}

#[tokio::test]
async fn what_comes_back_is_confirmed_where_nothing_ever_proved_itself() {
    let harness = harness(2);
    for text in ["one", "two"] {
        let _ = harness.swap(text).await.unwrap();
    }
    assert_eq!(fails(&harness).await, "one");
    let third = GenerationNumber::new(3);
    let outcome = harness.handle.look(|history| history.find(third).unwrap().outcome.clone());
    assert_eq!(outcome, Outcome::Confirmed, "a restart has something to begin with");
}

#[tokio::test]
async fn component_whose_file_is_written_over_is_kept_and_can_be_gone_back_to() {
    let dir = tempfile::tempdir().unwrap();
    let store = HistoryStore::open(&dir.path().join("history")).unwrap();
    let harness = with_history(2, Some(store));
    let file = dir.path().join("h.wasm");
    let swap = || harness.handle.swap(SwapRequest::new(Source::file(&file), "it changed"));
    std::fs::write(&file, "one").unwrap();
    let _ = swap().await.unwrap();
    std::fs::write(&file, "two").unwrap();
    // Its probation ends when its file is another already.
    assert!(harness.handle.confirm().await.unwrap().is_some());
    assert_eq!(harness.handle.flush().await, None);
    let _ = swap().await.unwrap();
    assert_eq!(harness.answer().await, "two");
    let back = harness.handle.rollback(RollbackRequest::new(None)).await;
    assert_eq!(number(&back), Some(3), "{back:?}");
    assert_eq!(harness.answer().await, "one");
}

#[tokio::test]
async fn whoever_hears_of_the_last_failure_does_not_meet_that_generation_again() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let _ = harness.swap("two").await.unwrap();
    let tally = Arc::clone(harness.handler.active().current().unwrap().tally());
    for _ in 0..harness.handler.policy().max_failures {
        let place = harness.handler.active().try_enter().unwrap();
        assert_eq!(place.serving().generation, GenerationNumber::new(2));
        drop(place);
        tally.failed();
        tally.judged().await;
    }
    let place = harness.handler.active().try_enter();
    assert!(place.is_none_or(|place| place.serving().generation != GenerationNumber::new(2)));
}

#[tokio::test]
async fn callers_of_a_condemned_generation_wait_for_the_one_before() {
    let harness = harness(2);
    condemned(&harness).await;
    assert!(harness.handler.active().try_enter().is_none());
    harness.go.add_permits(1);
    assert_eq!(harness.answer().await, "slow one");
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_condemned_generation_do_not_wait_long() {
    let harness = harness(2);
    condemned(&harness).await;
    let began = tokio::time::Instant::now();
    assert_eq!(harness.answer().await, "two");
    assert_eq!(began.elapsed().as_millis(), 100);
    harness.go.add_permits(1);
    while harness.answer().await == "two" {
        tokio::task::yield_now().await;
    }
    assert_eq!(harness.answer().await, "slow one");
}
