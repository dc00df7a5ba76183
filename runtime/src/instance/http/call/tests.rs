//! A worker ends with the call that nobody waits for any more, and with no other.

use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

/// Counts how often a worker was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A worker that serves one call at a time.
fn worker() -> Arc<Clock> {
    Arc::new(Clock::start(true))
}

fn ends(worker: &Clock) -> bool {
    worker.poll_abandoned(&Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn call_that_is_abandoned_ends_its_worker() {
    let (worker, call) = (worker(), Call::default());
    call.taken_by(&worker);
    assert!(!ends(&worker));
    call.abandon();
    assert!(ends(&worker));
}

#[test]
fn call_that_was_abandoned_before_it_was_taken_ends_its_worker_too() {
    let (worker, call) = (worker(), Call::default());
    call.abandon();
    call.taken_by(&worker);
    assert!(ends(&worker));
}

#[test]
fn worker_that_sleeps_is_woken_by_the_end_of_its_call() {
    let (worker, call, woken) = (worker(), Call::default(), Arc::new(Woken::default()));
    call.taken_by(&worker);
    let waker = Waker::from(Arc::clone(&woken));
    assert!(worker.poll_abandoned(&Context::from_waker(&waker)).is_pending());
    call.abandon();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn client_that_left_does_not_end_the_next_call_of_its_instance() {
    // It left while the worker was idle already and about to take the next call: the mark is set,
    // and the worker was not polled in between.
    let (worker, before, next) = (worker(), Call::default(), Call::default());
    before.taken_by(&worker);
    before.abandon();
    next.taken_by(&worker);
    assert!(!ends(&worker), "the next call has its client");
    next.abandon();
    assert!(ends(&worker));
}

#[test]
fn client_that_leaves_late_does_not_end_the_next_call_of_its_instance() {
    let (worker, before, next) = (worker(), Call::default(), Call::default());
    before.taken_by(&worker);
    next.taken_by(&worker);
    before.abandon();
    assert!(!ends(&worker), "the next call has its client");
}

#[test]
fn worker_of_several_calls_outlives_each_of_them() {
    let (worker, call) = (Arc::new(Clock::start(false)), Call::default());
    call.taken_by(&worker);
    call.abandon();
    assert!(!ends(&worker));
}
