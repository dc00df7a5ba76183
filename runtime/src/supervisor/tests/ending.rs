//! Whoever waits for a supervisor is answered, however the supervisor or its operation ends.

use super::*;

#[tokio::test]
async fn a_panic_of_the_host_refuses_the_candidate_and_the_next_good_one_swaps_in() {
    let mut harness = harness(2);
    let first = harness.swap("panic 1").await.unwrap_err();
    assert_eq!(first.serving, None);
    let StageError::Panicked { message } = &first.source else { panic!("{:?}", first.source) };
    assert_eq!(message, "the host's own `panic 1`");
    assert_eq!(number(&harness.swap("good").await), Some(2));
    let second = harness.swap("panic 2").await.unwrap_err();
    assert_eq!(second.serving.map(|it| it.generation.get()), Some(2));
    assert_eq!(harness.answer().await, "good");
    assert_eq!(number(&harness.swap("better").await), Some(4));
    let told = harness.kinds().into_iter().filter_map(|kind| match kind {
        EventKind::Rejected { error, hints, .. } => Some((error, hints.len())),
        _ => None,
    });
    let text =
        |n| format!("the host panicked while it staged the candidate: the host's own `panic {n}`");
    assert_eq!(told.collect::<Vec<_>>(), [(text(1), 1), (text(2), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_the_end_of_instances_ends_no_drain_and_no_supervisor() {
    let mut harness = harness(2);
    let _ = harness.swap("one that panics at its end").await.unwrap();
    let held = harness.handler.enter().await.unwrap();
    assert_eq!(number(&harness.swap("two").await), Some(2));
    held.pass.cut().cancelled().await;
    drop(held);
    let cut = loop {
        if let EventKind::Drained { cut, .. } = harness.events.recv().await.unwrap().kind {
            break cut;
        }
    };
    assert_eq!(cut, 1);
    assert_eq!(number(&harness.swap("three").await), Some(3));
}

/// What all further requests are answered with.
async fn without_supervisor(harness: &Harness) -> String {
    let refused = harness.swap("later").await.unwrap_err();
    assert_eq!(refused.serving, harness.handler.serving());
    let back = harness.handle.rollback(RollbackRequest::new(None)).await.unwrap_err();
    let unconfirmed = harness.handle.confirm().await.unwrap_err();
    let reasons = [refused.source, back.source, unconfirmed].map(|error| match error {
        StageError::NoSupervisor { reason } => reason,
        other => panic!("{other:?}"),
    });
    assert!(reasons.iter().all(|reason| *reason == reasons[0]), "{reasons:?}");
    let [reason, ..] = reasons;
    reason
}

#[tokio::test]
async fn a_supervisor_that_panics_answers_with_that_and_calls_go_on() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let running = harness.swap_aside("slow two");
    harness.until_staging(2).await;
    let waiting = harness.swap_aside("three");
    tokio::task::yield_now().await;
    harness.is_broken.store(true, Ordering::Relaxed);
    harness.go.add_permits(1);
    assert_eq!(number(&running.await.unwrap()), Some(2), "it panics after this operation");
    let lost = waiting.await.unwrap().unwrap_err();
    let StageError::NoSupervisor { reason } = lost.source else { panic!("{:?}", lost.source) };
    assert_eq!(reason, "it panicked: a defect");
    assert_eq!(without_supervisor(&harness).await, reason);
    assert_eq!(harness.answer().await, "slow two");
}

#[test]
fn a_supervisor_whose_tokio_runtime_has_ended_answers_with_that_and_calls_go_on() {
    let tokio_runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build();
    let (first, second) = (tokio_runtime().unwrap(), tokio_runtime().unwrap());
    let (harness, running) = first.block_on(async {
        let harness = harness(2);
        let _ = harness.swap("one").await.unwrap();
        let running = harness.swap_aside("slow two");
        harness.until_staging(2).await;
        (harness, running)
    });
    let handle = Arc::clone(&harness.handle);
    let waiting = second.spawn(async move {
        handle.swap(SwapRequest::new(Source::bytes("three"), "a test asked")).await
    });
    second.block_on(tokio::task::yield_now());
    drop(first);
    second.block_on(async {
        let lost = waiting.await.unwrap().unwrap_err();
        assert!(matches!(lost.source, StageError::NoSupervisor { .. }), "{:?}", lost.source);
        let reason = without_supervisor(&harness).await;
        assert_eq!(reason, "the tokio runtime in which the handler was added has ended");
        assert_eq!(harness.answer().await, "one");
    });
    // It ran in the runtime that has ended.
    drop(running);
}

#[tokio::test]
async fn calls_that_wait_for_a_first_generation_go_when_nobody_is_left_to_publish_it() {
    let harness = harness(2);
    harness.is_broken.store(true, Ordering::Relaxed);
    let call = harness.handler.enter();
    let (refused, called) = tokio::join!(harness.swap("bad"), call);
    assert!(refused.is_err() && called.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_removal_can_be_waited_for_and_says_what_it_cut() {
    let mut harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let before = harness.handler.enter().await.unwrap();
    let _ = harness.swap("two").await.unwrap();
    let held = harness.handler.enter().await.unwrap();
    let stuck = harness.swap_aside("slow three");
    harness.until_staging(3).await;
    harness.stop.remove();
    let removed = stuck.await.unwrap().unwrap_err();
    assert!(matches!(removed.source, StageError::Removed), "it is not the runtime that ends");
    let handle = Arc::clone(&harness.handle);
    let over = tokio::spawn(async move { handle.over().await });
    held.pass.cut().cancelled().await;
    before.pass.cut().cancelled().await;
    drop((held, before));
    assert_eq!(over.await.unwrap(), 2);
    assert!(matches!(harness.swap("four").await.unwrap_err().source, StageError::Removed));
    assert!(matches!(harness.kinds().last(), Some(EventKind::Removed)));
}
