//! The supervisor on fake guests: outcomes, coalescing, rejection, the bound on draining.

mod ending;
mod lazy;
mod settings;
mod simulation;
mod way_back;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::artifact::Tenant as _;
use crate::config::HandlerConfig;
use crate::events::{CompiledBy, EventKind, EventReceiver, Stage, Tier};
use crate::handler::Everywhere;
use crate::history::HistoryStore;

/// A guest whose candidates are text: `bad…` is refused, `slow…` waits for a permit of `go`, the
/// host panics while it stages `panic…`, and `plain…` is staged on baseline code. What is made a second
/// time says so.
struct Fake {
    go: Arc<Semaphore>,
    staged: Arc<AtomicUsize>,
    retired: Arc<Mutex<Vec<String>>>,
    /// How often somebody looked after idle instances.
    tidied: Arc<AtomicUsize>,
    /// Whether the supervisor itself panics when it looks for its next work.
    is_broken: Arc<AtomicBool>,
}

fn staged(ready: String, tier: Tier) -> Staged<String> {
    let (compile_time, compiled_by) = (Duration::ZERO, CompiledBy::Compiler);
    Staged { ready, lease: None, bytes: 1, compile_time, compiled_by, tier }
}

fn text(candidate: &Candidate) -> String {
    String::from_utf8(candidate.bytes().unwrap().to_vec()).expect("fakes are text")
}

impl Guest for Fake {
    type Ready = String;

    async fn stage(
        &self,
        release: &Release,
        _: GenerationNumber,
        _: Retirement,
    ) -> Result<Staged<String>, StageError> {
        let text = text(&release.candidate);
        self.staged.fetch_add(1, Ordering::Relaxed);
        if text.starts_with("slow") {
            self.go.acquire().await.expect("it stays open").forget();
        }
        assert!(!text.starts_with("panic"), "the host's own `{text}`");
        if text.starts_with("bad") {
            return Err(StageError::NotAComponent { found: "text" });
        }
        let tier = if text.starts_with("plain") { Tier::Baseline } else { Tier::Optimized };
        Ok(staged(text, tier))
    }

    async fn restage(
        &self,
        release: &Release,
        _: GenerationNumber,
        _: Retirement,
        goal: Goal,
    ) -> Result<Staged<String>, StageError> {
        self.staged.fetch_add(1, Ordering::Relaxed);
        let how = if goal == Goal::Best { "optimized" } else { "again" };
        Ok(staged(format!("{} {how}", text(&release.candidate)), Tier::Optimized))
    }

    async fn save(&self, _: &String) -> Result<Snapshot, HandOverError> {
        unreachable!("these fakes keep nothing")
    }

    async fn restore(&self, _: &String, _: &Snapshot) -> Result<Restored, HandOverError> {
        unreachable!("these fakes keep nothing")
    }

    fn retire(&self, ready: &String) {
        assert!(ready != "one that panics at its end", "so it does");
        self.retired.lock().unwrap().push(ready.clone());
    }

    fn tidy_every(&self, _: &Settings) -> Option<Duration> {
        assert!(!self.is_broken.load(Ordering::Relaxed), "a defect");
        Some(Duration::from_secs(1))
    }

    fn tidy(&self, _: &String) {
        self.tidied.fetch_add(1, Ordering::Relaxed);
    }
}

struct Harness {
    handle: Arc<SupervisorHandle>,
    handler: Arc<Handler<String>>,
    go: Arc<Semaphore>,
    staged: Arc<AtomicUsize>,
    retired: Arc<Mutex<Vec<String>>>,
    tidied: Arc<AtomicUsize>,
    is_broken: Arc<AtomicBool>,
    events: EventReceiver,
    tasks: TaskTracker,
    stop: Stop,
}

fn harness(max_draining: usize) -> Harness {
    with_history(max_draining, None)
}

fn with_history(max_draining: usize, store: Option<HistoryStore>) -> Harness {
    configured(max_draining, store, Settings::default())
}

fn configured(max_draining: usize, store: Option<HistoryStore>, settings: Settings) -> Harness {
    let name = HandlerName::new("hello").unwrap();
    let mut config = HandlerConfig::new(name)
        .with_drain(Duration::from_secs(10))
        .with_probation(Duration::from_secs(3600), 3);
    config.settings = settings;
    let handler = Arc::new(Handler::new(config, Everywhere::new(100), Duration::from_secs(5)));
    let (go, staged, retired) = (Arc::new(Semaphore::new(0)), Arc::default(), Arc::default());
    let (tidied, is_broken) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
    let (bus, tasks, stop) =
        (EventBus::new(), TaskTracker::new(), Stop::of(&CancellationToken::new()));
    let events = bus.subscribe();
    let guest = Fake {
        go: Arc::clone(&go),
        staged: Arc::clone(&staged),
        retired: Arc::clone(&retired),
        tidied: Arc::clone(&tidied),
        is_broken: Arc::clone(&is_broken),
    };
    let mismatch = Mismatch::Refuse;
    let book = Book::open(handler.name().clone(), store, true);
    let orders = Orders { bus, max_draining, mismatch, book, usage: None, stop: stop.clone() };
    let handle = SupervisorHandle::start(guest, Arc::clone(&handler), orders, &tasks);
    Harness {
        handle: Arc::new(handle),
        handler,
        go,
        staged,
        retired,
        tidied,
        is_broken,
        events,
        tasks,
        stop,
    }
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
    harness.stop.handler.cancel();
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

#[tokio::test(start_paused = true)]
async fn last_drain_counts_from_the_beginning_of_the_end_and_lets_calls_in_until_then() {
    let mut harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let held = harness.handler.enter().await.unwrap();
    harness.handler.begin_ending();
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(harness.answer().await, "one");
    harness.stop.handler.cancel();
    held.pass.cut().cancelled().await;
    drop(held);
    harness.tasks.close();
    harness.tasks.wait().await;
    let drained = harness.kinds().into_iter().find_map(|kind| match kind {
        EventKind::Drained { cut, waited_ms, .. } => Some((cut, waited_ms)),
        _ => None,
    });
    // Eight seconds before the stop, and two after it.
    assert_eq!(drained, Some((1, 10_000.0)));
}

#[tokio::test(start_paused = true)]
async fn request_that_waits_for_a_first_call_is_ended_without_a_word() {
    let mut harness = harness(2);
    let request = SwapRequest::new(Source::bytes("one"), "a test asked").lazily();
    let answer = harness.handle.swap_aside(request);
    tokio::task::yield_now().await;
    harness.stop.handler.cancel();
    harness.tasks.close();
    harness.tasks.wait().await;
    let refused = answer.await.map(|answer| answer.map_err(|rejected| rejected.source));
    assert!(!matches!(refused, Ok(Ok(_))), "nobody called");
    assert!(harness.kinds().is_empty(), "the end of the host is no news of a candidate");
}

#[tokio::test(start_paused = true)]
async fn baseline_code_is_replaced_in_place_while_calls_keep_what_they_began_with() {
    let mut harness = harness(2);
    let _ = harness.swap("plain").await.unwrap();
    let entered = harness.handler.enter().await.unwrap();
    let (generation, took) = loop {
        if let EventKind::Optimized { generation, compile_ms } =
            harness.events.recv().await.unwrap().kind
        {
            break (generation.get(), compile_ms);
        }
    };
    assert_eq!((generation, took), (1, 0.0));
    assert_eq!(*entered.pass, "plain");
    assert_eq!(harness.answer().await, "plain optimized");
    assert_eq!(entered.pass.serving(), harness.handler.serving().unwrap());
    assert_eq!(*harness.retired.lock().unwrap(), ["plain"], "though a call is with it");
}

#[tokio::test(start_paused = true)]
async fn optimized_code_of_a_generation_that_was_replaced_meanwhile_goes_nowhere() {
    let harness = harness(2);
    let _ = harness.swap("plain one").await.unwrap();
    let _ = harness.swap("two").await.unwrap();
    // Far beyond the pause before an optimization, on the paused clock.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(harness.answer().await, "two");
    assert_eq!(harness.staged.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn code_that_left_memory_is_made_once_for_all_who_want_it_again() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let active = harness.handler.active().current().unwrap();
    let held = harness.handler.enter().await.unwrap();
    assert!(!active.vacate(), "a call is inside");
    drop(held);
    assert!(active.was_used() && !active.was_used(), "the mark is taken by looking");
    assert!(active.vacate());
    let answers = futures::future::join_all((0..64).map(|_| harness.answer())).await;
    assert!(answers.iter().all(|answer| answer == "one again"), "{answers:?}");
    assert_eq!(harness.staged.load(Ordering::Relaxed), 2);
    assert!(active.was_used());
}

#[tokio::test(start_paused = true)]
async fn looking_after_idle_instances_is_no_use_of_the_code() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    let active = harness.handler.active().current().unwrap();
    assert!(active.was_used());
    // Several rounds of it, on the paused clock.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!active.was_used());
}

#[tokio::test(start_paused = true)]
async fn idle_instances_are_looked_after_whatever_else_happens() {
    let harness = harness(2);
    let _ = harness.swap("one").await.unwrap();
    // More often than they are looked after, on the paused clock.
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(harness.handle.confirm().await.is_ok());
    }
    assert!(harness.tidied.load(Ordering::Relaxed) >= 4);
}

#[tokio::test(start_paused = true)]
async fn optimized_code_is_made_of_the_bytes_that_were_published() {
    let mut harness = harness(2);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "plain").unwrap();
    let request = SwapRequest::new(Source::file(file.path()), "a test asked");
    let _ = harness.handle.swap(request).await.unwrap();
    std::fs::write(file.path(), "the next build").unwrap();
    loop {
        if matches!(harness.events.recv().await.unwrap().kind, EventKind::Optimized { .. }) {
            break;
        }
    }
    assert_eq!(harness.answer().await, "plain optimized");
}

#[tokio::test(start_paused = true)]
async fn disk_that_does_not_answer_keeps_nobody_from_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let store = HistoryStore::open(&dir.path().join("history")).unwrap();
    let mut harness = with_history(2, Some(store.clone()));
    let standstill = store.standstill();
    assert!(harness.swap("bad").await.is_err());
    let told = harness.kinds().into_iter().find_map(|kind| match kind {
        EventKind::HistoryNotKept { error, .. } => Some(error),
        _ => None,
    });
    assert!(told.unwrap().contains("the disk has not answered"));
    harness.stop.handler.cancel();
    harness.tasks.close();
    harness.tasks.wait().await;
    drop(standstill);
}

#[tokio::test]
async fn a_refused_first_candidate_answers_calls_at_once_and_the_next_attempt_is_waited_for() {
    let harness = harness(2);
    assert!(harness.swap("bad").await.is_err());
    for _ in 0..2 {
        let refused = harness.handler.enter().await.unwrap_err();
        let crate::handler::EnterError::NothingActive { why: Some(why), .. } = refused else {
            panic!("expected the reason, found {refused:?}")
        };
        assert!(!why.error.is_empty(), "{why:?}");
    }
    // Somebody mends it: calls wait again.
    harness.handler.active().mend();
    let handler = Arc::clone(&harness.handler);
    let waiting = tokio::spawn(async move { handler.enter().await.is_ok() });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert!(harness.swap("good").await.is_ok());
    assert!(waiting.await.unwrap());
    // Once something serves, what is refused matters to no call.
    assert!(harness.swap("bad").await.is_err());
    assert_eq!(harness.answer().await, "good");
}
