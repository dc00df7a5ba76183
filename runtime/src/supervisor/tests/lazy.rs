//! First components that wait for a call.

use super::*;

fn lazily(harness: &Harness, text: &'static str) -> tokio::task::JoinHandle<Answer> {
    let handle = Arc::clone(&harness.handle);
    tokio::spawn(async move {
        handle.swap(SwapRequest::new(Source::bytes(text), "the start").lazily()).await
    })
}

#[tokio::test]
async fn a_lazy_request_waits_for_the_first_call() {
    let harness = harness(2);
    let loading = lazily(&harness, "one");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(harness.staged.load(Ordering::Relaxed), 0);
    assert_eq!(harness.answer().await, "one");
    assert_eq!(number(&loading.await.unwrap()), Some(1));
}

#[tokio::test]
async fn a_lazy_request_that_is_refused_fails_its_call_and_is_tried_again_for_the_next() {
    let mut harness = harness(2);
    let loading = lazily(&harness, "bad");
    for attempt in 1..=2 {
        let refused = harness.handler.enter().await.unwrap_err();
        assert!(matches!(refused, crate::handler::EnterError::NothingActive { .. }));
        assert_eq!(harness.staged.load(Ordering::Relaxed), attempt);
    }
    let refused = |kind: &EventKind| matches!(kind, EventKind::Rejected { .. });
    assert_eq!(harness.kinds().iter().filter(|kind| refused(kind)).count(), 2);
    // A newer request takes its place, and it learns why it never came to pass.
    assert_eq!(number(&harness.swap("good").await), Some(3));
    assert!(loading.await.unwrap().is_err());
    assert_eq!(harness.answer().await, "good");
}

#[tokio::test]
async fn a_lazy_request_for_a_handler_that_runs_already_is_a_swap_like_any_other() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    assert_eq!(number(&lazily(&harness, "two").await.unwrap()), Some(2));
}

#[tokio::test]
async fn a_lazy_request_waits_on_while_others_publish_nothing() {
    let harness = harness(2);
    let loading = lazily(&harness, "one");
    tokio::task::yield_now().await;
    assert!(harness.handle.rollback(RollbackRequest::new(None)).await.is_err());
    assert!(harness.swap("bad").await.is_err());
    assert_eq!(harness.handle.confirm().await.unwrap(), None);
    assert!(!loading.is_finished());
    assert_eq!(harness.answer().await, "one");
    assert!(number(&loading.await.unwrap()).is_some());
}

#[tokio::test]
async fn a_lazy_request_gives_way_to_a_version_that_is_published() {
    let harness = harness(2);
    let older = lazily(&harness, "one");
    tokio::task::yield_now().await;
    let newer = lazily(&harness, "two");
    assert_eq!(older.await.unwrap().unwrap(), Swap::Superseded);
    assert!(number(&harness.swap("three").await).is_some());
    assert_eq!(newer.await.unwrap().unwrap(), Swap::Superseded);
    assert_eq!(harness.answer().await, "three");
    assert_eq!(harness.staged.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_lazy_request_whose_file_is_missing_is_a_problem_however_it_was_asked_for() {
    let harness = harness(2);
    let request = SwapRequest::new(Source::file("no/such.wasm"), "the start").lazily();
    let asked = futures::future::poll_immediate(harness.handle.swap(request)).await;
    assert!(asked.is_none() && harness.handle.problem().is_some());
}
