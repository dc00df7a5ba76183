//! The supervisor on fake guests: outcomes, coalescing, rejection, the bound on draining.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, broadcast};

use super::*;
use crate::config::HandlerConfig;
use crate::events::{CompiledBy, Event, EventKind, Stage, Tier};

/// A guest whose candidates are text: `bad…` is refused, `slow…` waits for a permit of `go`.
struct Fake {
    go: Arc<Semaphore>,
    staged: Arc<AtomicUsize>,
}

impl Guest for Fake {
    type Ready = String;

    async fn stage(
        &self,
        component: ComponentBytes,
        _: GenerationNumber,
        _: &Retirement,
    ) -> Result<Staged<String>, StageError> {
        let text = String::from_utf8(component.bytes.to_vec()).expect("fakes are text");
        self.staged.fetch_add(1, Ordering::Relaxed);
        if text.starts_with("slow") {
            self.go.acquire().await.expect("it stays open").forget();
        }
        if text.starts_with("bad") {
            return Err(StageError::NotAComponent { found: "text" });
        }
        Ok(Staged {
            ready: text,
            bytes: 1,
            compile_time: Duration::ZERO,
            compiled_by: CompiledBy::Compiler,
            tier: Tier::Optimized,
        })
    }
}

struct Harness {
    handle: Arc<SupervisorHandle>,
    handler: Arc<Handler<String>>,
    go: Arc<Semaphore>,
    staged: Arc<AtomicUsize>,
    events: broadcast::Receiver<Event>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn harness(max_draining: usize) -> Harness {
    let name = HandlerName::new("hello").unwrap();
    let config = HandlerConfig::new(name).with_drain(Duration::from_secs(10));
    let handler =
        Arc::new(Handler::new(config, Arc::new(Semaphore::new(100)), Duration::from_secs(5)));
    let (go, staged) = (Arc::new(Semaphore::new(0)), Arc::default());
    let (bus, tasks, stop) = (EventBus::new(), TaskTracker::new(), CancellationToken::new());
    let events = bus.subscribe();
    let guest = Fake { go: Arc::clone(&go), staged: Arc::clone(&staged) };
    let handle = SupervisorHandle::start(
        guest,
        Arc::clone(&handler),
        bus,
        max_draining,
        stop.clone(),
        &tasks,
    );
    Harness { handle: Arc::new(handle), handler, go, staged, events, tasks, stop }
}

impl Harness {
    async fn swap(&self, text: &'static str) -> Answer {
        self.handle.swap(SwapRequest::new(Source::bytes(text), "a test asked")).await
    }

    fn swap_aside(&self, text: &'static str) -> tokio::task::JoinHandle<Answer> {
        let handle = Arc::clone(&self.handle);
        tokio::spawn(async move {
            handle.swap(SwapRequest::new(Source::bytes(text), "a test asked")).await
        })
    }

    async fn answer(&self) -> String {
        self.handler.enter().await.expect("there is room").pass.clone()
    }

    async fn until_staging(&self, n: usize) {
        while self.staged.load(Ordering::Relaxed) < n {
            tokio::task::yield_now().await;
        }
    }

    fn kinds(&mut self) -> Vec<EventKind> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|event| event.kind).collect()
    }
}

fn number(answer: &Answer) -> Option<u64> {
    match answer {
        Ok(Swap::Swapped { serving, .. }) => Some(serving.generation.get()),
        _ => None,
    }
}

#[tokio::test]
async fn a_swap_answers_with_the_new_generation_and_the_same_bytes_change_nothing() {
    let harness = harness(2);
    assert_eq!(number(&harness.swap("one").await), Some(1));
    assert_eq!(harness.answer().await, "one");
    assert_eq!(number(&harness.swap("two").await), Some(2));
    assert_eq!(harness.answer().await, "two");
    let again = harness.swap("two").await.unwrap();
    assert!(matches!(again, Swap::Unchanged { serving } if serving.generation.get() == 2));
    assert_eq!(harness.staged.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_refused_candidate_leaves_the_active_generation_alone_and_says_so() {
    let mut harness = harness(2);
    let first = harness.swap("bad first").await.unwrap_err();
    assert_eq!(first.serving, None);
    assert_eq!(number(&harness.swap("good").await), Some(2), "numbers are never reused");
    let refused = harness.swap("bad second").await.unwrap_err();
    assert_eq!(refused.serving.map(|it| it.generation.get()), Some(2));
    assert_eq!(harness.answer().await, "good");
    let stages: Vec<_> = harness
        .kinds()
        .into_iter()
        .filter_map(|kind| match kind {
            EventKind::Rejected { stage, serving, .. } => {
                Some((stage, serving.map(|it| it.generation.get())))
            }
            _ => None,
        })
        .collect();
    assert_eq!(stages, [(Stage::Compile, None), (Stage::Compile, Some(2))]);
}

#[tokio::test]
async fn of_many_requests_during_a_stage_only_the_newest_is_staged() {
    let harness = harness(2);
    let running = harness.swap_aside("slow one");
    harness.until_staging(1).await;
    let mut waiting = Vec::new();
    for text in ["two", "three", "four"] {
        // On this single-threaded runtime a new task runs before the yield returns, so each
        // request is in the mailbox before the next one is made.
        waiting.push(harness.swap_aside(text));
        tokio::task::yield_now().await;
    }
    harness.go.add_permits(1);
    assert_eq!(number(&running.await.unwrap()), Some(1));
    let mut answers = Vec::new();
    for answer in waiting {
        answers.push(answer.await.unwrap().unwrap());
    }
    assert_eq!(answers[..2], [Swap::Superseded, Swap::Superseded]);
    assert!(matches!(answers[2], Swap::Swapped { serving, .. } if serving.generation.get() == 2));
    assert_eq!(harness.answer().await, "four");
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_stays_on_its_generation_over_a_swap() {
    let mut harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let entered = harness.handler.enter().await.unwrap();
    let _ = harness.swap("two").await.unwrap();
    assert_eq!(*entered.pass, "one");
    assert!(!entered.pass.cut().is_cancelled());
    assert_eq!(harness.answer().await, "two");
    drop(entered);
    let drained = loop {
        if let EventKind::Drained { cut, .. } = harness.events.recv().await.unwrap().kind {
            break cut;
        }
    };
    assert_eq!(drained, 0);
}

#[tokio::test(start_paused = true)]
async fn a_swap_waits_rather_than_have_too_many_generations_drain_and_the_newest_wins() {
    let harness = harness(1);
    let _ = harness.swap("one").await.unwrap();
    let held = harness.handler.enter().await.unwrap();
    let _ = harness.swap("two").await.unwrap();
    let waiting = harness.swap_aside("three");
    harness.until_staging(3).await;
    assert_eq!(harness.answer().await, "two");
    let newest = harness.swap_aside("four");
    assert_eq!(waiting.await.unwrap().unwrap(), Swap::Superseded);
    drop(held);
    assert_eq!(number(&newest.await.unwrap()), Some(4));
    assert_eq!(harness.answer().await, "four");
}

#[tokio::test(start_paused = true)]
async fn stopping_drains_the_last_generation_and_refuses_further_swaps() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let held = harness.handler.enter().await.unwrap();
    let stuck = harness.swap_aside("slow two");
    harness.until_staging(2).await;
    harness.stop.cancel();
    let refused = stuck.await.unwrap().unwrap_err();
    assert!(matches!(refused.source, StageError::ShuttingDown));
    harness.tasks.close();
    let ended = tokio::spawn({
        let tasks = harness.tasks.clone();
        async move { tasks.wait().await }
    });
    held.pass.cut().cancelled().await;
    drop(held);
    ended.await.unwrap();
    assert!(matches!(harness.swap("three").await.unwrap_err().source, StageError::ShuttingDown));
}
