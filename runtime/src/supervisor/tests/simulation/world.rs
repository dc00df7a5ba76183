//! One world: a handler, its callers, an operator, and a model of what the callers must see.

use std::collections::BTreeSet;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wrt_test_support::history::{ConnectionLog, End, History, Milestone, Outcome, ServedBy};

use super::Random;
use super::guest::{Alive, Begun, Counting, Node, Plan, Turn};
use crate::config::{HandlerConfig, InstanceMode};
use crate::events::{EventKind, EventReceiver, StateOutcome};
use crate::handler::{Entered, Everywhere};
use crate::snapshot::Keeps;
use crate::supervisor::*;

/// Longer than any wait that ends: what takes this long hangs.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

const CALLERS: usize = 3;
const MAX_DRAINING: usize = 2;
const HAND_OVER: Duration = Duration::from_millis(200);
const DRAIN: Duration = Duration::from_secs(1);

/// What was seen, to know that everything was.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    seen: BTreeSet<String>,
    calls: usize,
}

impl Summary {
    fn see(&mut self, what: impl Into<String>) {
        self.seen.insert(what.into());
    }

    /// Whether all that can happen did.
    pub(super) fn is_everything_seen(&self) -> bool {
        let all = [
            "swapped None",
            "swapped Carried",
            "swapped Reset",
            "swapped Reverted",
            "resumed with an earlier state",
            "resumed from nothing",
            "unchanged",
            "superseded",
            "rejected Compile",
            "rejected Init",
            "rejected Save",
            "rejected Restore",
            "rejected Check",
            "rolled back",
            "taken back",
            "confirmed",
            "cut",
            "failed call",
            "cancelled",
        ];
        self.calls > 0 && all.iter().all(|it| self.seen.contains(*it))
    }
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.seen.extend(other.seen);
        self.calls += other.calls;
    }
}

/// What the count must be, by what the handler told of its swaps.
struct Model {
    events: EventReceiver,
    /// The last generation that was published.
    number: u64,
    /// `None` when only the next call can tell.
    count: Option<u64>,
    n_lost: usize,
    summary: Summary,
}

impl Model {
    /// Takes in what was told and lost since.
    fn catch_up(&mut self, n_lost: usize) {
        if n_lost > self.n_lost {
            self.n_lost = n_lost;
            self.count = Some(0);
        }
        let mut is_swap = false;
        while let Ok(event) = self.events.try_recv() {
            let was_swap = std::mem::take(&mut is_swap);
            match event.kind {
                EventKind::Swapped { generation, state, .. } => {
                    assert!(generation.get() > self.number, "numbers only grow");
                    self.number = generation.get();
                    match state {
                        StateOutcome::None | StateOutcome::Reset => self.count = Some(0),
                        StateOutcome::Reverted => self.count = None,
                        StateOutcome::Carried | StateOutcome::Migrated => {}
                    }
                    self.summary.see(format!("swapped {state:?}"));
                    is_swap = true;
                }
                EventKind::StateReverted { .. } => {
                    self.count = None;
                    // Without a swap it is the old generation, whose save ended its instance.
                    if !was_swap {
                        self.summary.see("resumed with an earlier state");
                    }
                }
                EventKind::StateLost { .. } => {
                    self.count = Some(0);
                    if !was_swap {
                        self.summary.see("resumed from nothing");
                    }
                }
                EventKind::Unchanged { .. } => self.summary.see("unchanged"),
                EventKind::Rejected { stage, .. } => {
                    self.summary.see(format!("rejected {stage:?}"))
                }
                EventKind::RolledBack { .. } => match event.cause.as_deref() {
                    Some("asked") => self.summary.see("rolled back"),
                    _ => self.summary.see("taken back"),
                },
                EventKind::Confirmed { .. } => self.summary.see("confirmed"),
                _ => {}
            }
        }
    }

    /// A call on generation `number` found `before`, and left the count as `after`.
    fn called(&mut self, number: u64, before: u64, after: u64) {
        // A generation that drains counts for itself alone.
        if number != self.number {
            assert!(number < self.number, "a call on a generation that nobody was told of");
            return;
        }
        if let Some(count) = self.count {
            assert_eq!(before, count, "generation {number} lost or doubled a call");
        }
        self.count = Some(after);
    }
}

/// What callers and operator share.
struct Shared {
    handler: Arc<Handler<Node>>,
    handle: SupervisorHandle,
    model: Mutex<Model>,
    alive: Alive,
    n_lost: Arc<AtomicUsize>,
    is_done: AtomicBool,
    is_stateful: bool,
}

pub(super) struct World {
    random: Random,
    bug: Option<Bug>,
}

impl World {
    pub(super) fn new(seed: u64, bug: Option<Bug>) -> Self {
        Self { random: Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)), bug }
    }

    pub(super) async fn run(mut self) -> Summary {
        let random = &mut self.random;
        let is_stateful = random.one_in(2);
        let mode = if is_stateful { InstanceMode::Singleton } else { InstanceMode::Fresh };
        let probation = Duration::from_millis([0, 100, 400][random.below(3) as usize]);
        let config = HandlerConfig::new(HandlerName::new("h").expect("it is a name"))
            .with_instances(mode)
            .with_queue(100, FOR_EVER)
            .with_drain(DRAIN)
            .with_hand_over(HAND_OVER, 1024)
            .with_probation(probation, 2);
        let handler = Arc::new(Handler::new(config, Everywhere::new(100), FOR_EVER));
        let (bus, tasks, stop) = (EventBus::new(), TaskTracker::new(), CancellationToken::new());
        let (alive, n_lost) = (Alive::default(), Arc::default());
        let model = Model {
            events: bus.subscribe(),
            number: 0,
            count: Some(0),
            n_lost: 0,
            summary: Summary::default(),
        };
        let guest = Counting {
            random: Mutex::new(Random(random.next())),
            alive: alive.clone(),
            hand_over: HAND_OVER,
            n_lost: Arc::clone(&n_lost),
        };
        let mismatch = if random.one_in(2) { Mismatch::Refuse } else { Mismatch::Reset };
        let book = Book::open(handler.name().clone(), None, true);
        let stopped = Stop::of(&stop);
        let orders =
            Orders { bus, max_draining: MAX_DRAINING, mismatch, book, usage: None, stop: stopped };
        let handle =
            SupervisorHandle::start_with(self.bug, guest, Arc::clone(&handler), orders, &tasks);
        let shared = Arc::new(Shared {
            handler,
            handle,
            model: Mutex::new(model),
            alive,
            n_lost,
            is_done: AtomicBool::new(false),
            is_stateful,
        });
        let callers: Vec<_> =
            (0..CALLERS).map(|_| tokio::spawn(Caller::new(&shared, random.next()).run())).collect();

        let mut operator = Operator::new(&shared, random.next());
        operator.work().await;
        shared.is_done.store(true, Ordering::Relaxed);
        operator.end_well().await;

        stop.cancel();
        tasks.close();
        within("the end of all tasks", tasks.wait()).await;
        let mut history = History { connections: Vec::new(), milestones: operator.milestones };
        for caller in callers {
            history.connections.push(within("a caller", caller).await.expect("it did not panic"));
        }
        let report = history.check();
        assert_eq!(report.n_violations, 0, "{report}");
        assert_eq!(shared.alive.count(), 0, "versions outlive their handler");
        let mut model = shared.model.lock().expect("nobody panicked with it");
        model.catch_up(shared.n_lost.load(Ordering::Relaxed));
        model.summary.calls += report.n_calls;
        model.summary.clone()
    }
}

/// Waits for what must come to an end.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(FOR_EVER, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} never came"),
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

fn served_by(serving: Serving) -> ServedBy {
    let digest = serving.digest.short().into();
    ServedBy { handler: "h".into(), generation: serving.generation.get(), digest }
}

impl Shared {
    fn told(&self) -> std::sync::MutexGuard<'_, Model> {
        let mut model = self.model.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        model.catch_up(self.n_lost.load(Ordering::Relaxed));
        model
    }
}

struct Caller {
    shared: Arc<Shared>,
    random: Random,
    log: ConnectionLog,
}

impl Caller {
    fn new(shared: &Arc<Shared>, seed: u64) -> Self {
        Self { shared: Arc::clone(shared), random: Random(seed), log: ConnectionLog::default() }
    }

    async fn run(mut self) -> ConnectionLog {
        while !self.shared.is_done.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(self.random.below(40))).await;
            let id = self.log.begin("call", now());
            // The first candidate is always good, so only the end of the world refuses a call.
            let Ok(entered) = self.shared.handler.enter().await else {
                let outcome = Outcome::Failed("the handler is gone".into());
                let end = End { at: now(), outcome, served_by: None, also_served_by: None };
                self.log.end(id, end);
                break;
            };
            let by = served_by(entered.pass.serving());
            let outcome = self.call(entered).await;
            let end = End { at: now(), outcome, served_by: Some(by), also_served_by: None };
            self.log.end(id, end);
        }
        self.log
    }

    /// One call, which reads the count, takes its time, and writes it.
    async fn call(&mut self, entered: Entered<Node>) -> Outcome {
        let node: &Node = &entered.pass;
        let before = {
            let mut instance = node.instance();
            assert_ne!(instance.begun, Begun::No, "a call before the beginning");
            if instance.begun == Begun::Gone {
                instance.begun = Begun::Anew;
            }
            assert!(!self.shared.is_stateful || !instance.is_busy, "two calls at once");
            instance.is_busy = true;
            instance.count
        };
        let is_stuck = self.random.one_in(25);
        let takes = Duration::from_millis(self.random.below(15));
        let is_cut = if is_stuck {
            within("the cut", entered.pass.cut().cancelled()).await;
            true
        } else {
            tokio::select! {
                biased;
                () = entered.pass.cut().cancelled() => true,
                () = tokio::time::sleep(takes) => false,
            }
        };
        let fails = match node.plan.fails_one_in {
            0 => false,
            n => self.random.one_in(n),
        };
        let mut instance = node.instance();
        instance.is_busy = false;
        // Its instance is gone, and the next one begins anew.
        let is_lost = is_cut || fails;
        if node.plan.keeps != Keeps::Nothing {
            assert_eq!(instance.count, before, "somebody else wrote during a call");
            instance.count = if is_lost { 0 } else { before + 1 };
            instance.has_lost |= is_lost;
            self.shared.told().called(node.number.get(), before, instance.count);
        }
        drop(instance);
        let mut told = self.shared.told();
        if is_cut {
            told.summary.see("cut");
            Outcome::Failed("cut".into())
        } else if fails {
            told.summary.see("failed call");
            entered.pass.tally().failed();
            Outcome::Failed("the plan says so".into())
        } else {
            Outcome::Answered(200)
        }
    }
}

struct Operator {
    shared: Arc<Shared>,
    random: Random,
    milestones: Vec<Milestone>,
    serial: u64,
    last: String,
}

impl Operator {
    fn new(shared: &Arc<Shared>, seed: u64) -> Self {
        let (milestones, last) = (Vec::new(), String::new());
        Self { shared: Arc::clone(shared), random: Random(seed), milestones, serial: 0, last }
    }

    /// A candidate whose phases all go well.
    fn good(&mut self) -> SwapRequest {
        self.serial += 1;
        let keeps = if self.shared.is_stateful { Keeps::State } else { Keeps::Nothing };
        let [stage, init, probe, save, restore] = [Turn::Ok; 5];
        let serial = self.serial;
        let plan = Plan { serial, keeps, stage, init, probe, save, restore, fails_one_in: 0 };
        self.request(plan)
    }

    fn any(&mut self) -> SwapRequest {
        self.serial += 1;
        let plan = Plan::draw(self.serial, self.shared.is_stateful, &mut self.random);
        self.request(plan)
    }

    fn request(&mut self, plan: Plan) -> SwapRequest {
        self.last = plan.text();
        SwapRequest::new(Source::bytes(self.last.clone()), "an operator")
    }

    async fn work(&mut self) {
        let first = self.good();
        self.swap(first).await;
        for _ in 0..4 + self.random.below(8) {
            tokio::time::sleep(Duration::from_millis(self.random.below(150))).await;
            match self.random.below(12) {
                0 => self.storm().await,
                1 => {
                    let is_fresh = self.random.one_in(4);
                    let answer = within("a rollback", self.rollback(is_fresh)).await;
                    self.heed(answer);
                }
                2 => drop(within("a confirmation", self.shared.handle.confirm()).await),
                3 => {
                    let request = self.any();
                    let patience = Duration::from_millis(self.random.below(60));
                    let swap = self.shared.handle.swap(request);
                    if tokio::time::timeout(patience, swap).await.is_err() {
                        self.shared.told().summary.see("cancelled");
                    }
                }
                4 => {
                    let request = self.any().fresh();
                    self.swap(request).await;
                }
                5 => {
                    let again = SwapRequest::new(Source::bytes(self.last.clone()), "again");
                    self.swap(again).await;
                }
                _ => {
                    let request = self.any();
                    self.swap(request).await;
                }
            }
        }
    }

    /// Whatever went before, a good candidate comes in when it leaves the state behind.
    async fn end_well(&mut self) {
        let request = self.good().fresh();
        let answer = within("the last swap", self.shared.handle.swap(request)).await;
        assert!(matches!(answer, Ok(Swap::Swapped { .. })), "the next good build: {answer:?}");
        self.heed(answer);
    }

    async fn rollback(&self, is_fresh: bool) -> Answer {
        let request = RollbackRequest::new(None).with_cause("asked");
        self.shared.handle.rollback(RollbackRequest { is_fresh, ..request }).await
    }

    async fn swap(&mut self, request: SwapRequest) {
        let answer = within("the answer to a swap", self.shared.handle.swap(request)).await;
        self.heed(answer);
    }

    /// Several at once: every one is answered, and one at least is not superseded.
    async fn storm(&mut self) {
        let requests: Vec<_> = (0..4).map(|_| self.any()).collect();
        let swaps = requests.into_iter().map(|request| self.shared.handle.swap(request));
        let answers = within("the answers to a storm", futures::future::join_all(swaps)).await;
        let is_superseded = |answer: &Answer| matches!(answer, Ok(Swap::Superseded));
        assert!(!answers.iter().all(is_superseded), "nobody won a storm");
        for answer in answers {
            self.heed(answer);
        }
    }

    fn heed(&mut self, answer: Answer) {
        let mut told = self.shared.told();
        match answer {
            Ok(Swap::Swapped { serving, .. }) => {
                let published = Milestone::Published { at: now(), generation: served_by(serving) };
                self.milestones.push(published);
            }
            Ok(Swap::Superseded) => told.summary.see("superseded"),
            Ok(Swap::Unchanged { .. }) => {}
            Err(rejected) => {
                assert!(rejected.serving.is_some(), "a refusal leaves nothing: {rejected:?}");
                let reason = &rejected.source;
                assert!(!matches!(reason, StageError::ShuttingDown), "nothing is shut down yet");
            }
        }
        // One is active, one may be staged, one may be gone back to, and the rest drain.
        let n_alive = self.shared.alive.count();
        assert!(n_alive <= MAX_DRAINING + 3, "{n_alive} versions are alive");
    }
}
