//! A guest that counts, whose phases take virtual time and fail as its candidate's text says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Random;
use crate::artifact::{Candidate, Release};
use crate::config::Settings;
use crate::error::{CallFailure, HandOverError, StageError};
use crate::events::{CompiledBy, Tier};
use crate::generation::Retirement;
use crate::id::GenerationNumber;
use crate::snapshot::{Keeps, Restored, Snapshot};
use crate::supervisor::{Goal, Guest, Staged};

/// What a candidate is and how its phases go; its text is the candidate's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Makes each candidate another.
    pub(super) serial: u64,
    pub(super) keeps: Keeps,
    pub(super) stage: Turn,
    pub(super) init: Turn,
    pub(super) probe: Turn,
    pub(super) save: Turn,
    pub(super) restore: Turn,
    /// One of how many calls fails; none when it is zero.
    pub(super) fails_one_in: u64,
}

/// How a phase goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Ok,
    Fails,
    /// It takes the instance along, or says that the state is of another shape.
    Worse,
    /// It takes longer than anybody waits.
    Hangs,
}

impl Turn {
    fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Fails => "fails",
            Self::Worse => "worse",
            Self::Hangs => "hangs",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "ok" => Self::Ok,
            "fails" => Self::Fails,
            "worse" => Self::Worse,
            _ => Self::Hangs,
        }
    }
}

impl Plan {
    /// A candidate drawn from `random`: most are well.
    pub(super) fn draw(serial: u64, is_stateful: bool, random: &mut Random) -> Self {
        let mut turn = |worse: bool| match random.below(24) {
            0 | 1 => Turn::Fails,
            2 if worse => Turn::Worse,
            3 => Turn::Hangs,
            _ => Turn::Ok,
        };
        let [stage, init, probe] = [turn(false), turn(false), turn(false)];
        let [save, restore] = [turn(true), turn(true)];
        let keeps = if !is_stateful {
            Keeps::Nothing
        } else if random.one_in(12) {
            Keeps::Memory
        } else {
            Keeps::State
        };
        let fails_one_in = [0, 0, 0, 1, 3][random.below(5) as usize];
        Self { serial, keeps, stage, init, probe, save, restore, fails_one_in }
    }

    pub(super) fn text(&self) -> String {
        let Self { serial, keeps, stage, init, probe, save, restore, fails_one_in } = self;
        let turns = [stage, init, probe, save, restore].map(|turn| turn.text()).join(" ");
        let keeps = match keeps {
            Keeps::Nothing => "nothing",
            Keeps::Memory => "memory",
            Keeps::State => "state",
        };
        format!("{serial} {fails_one_in} {keeps} {turns}")
    }

    fn parse(text: &str) -> Self {
        let mut words = text.split(' ');
        let mut word = || words.next().expect("the text has all words");
        let serial = word().parse().expect("a number");
        let fails_one_in = word().parse().expect("a number");
        let keeps = match word() {
            "nothing" => Keeps::Nothing,
            "memory" => Keeps::Memory,
            _ => Keeps::State,
        };
        let [stage, init, probe, save, restore] = std::array::from_fn(|_| Turn::parse(word()));
        Self { serial, keeps, stage, init, probe, save, restore, fails_one_in }
    }
}

/// How the one instance of a node began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// It has not.
    No,
    Anew,
    Restored,
    /// Its save ended it; whoever comes next makes another.
    Gone,
}

/// The ready form of a candidate.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) number: GenerationNumber,
    pub(super) plan: Plan,
    pub(super) instance: Mutex<Instance>,
    _alive: Alive,
}

/// The one instance of a node that keeps something.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) begun: Begun,
    pub(super) count: u64,
    /// Whether a call is inside.
    pub(super) is_busy: bool,
    /// Whether it is not the first one any more, because a call ended that.
    pub(super) has_lost: bool,
}

/// Counts the nodes that are alive.
#[derive(Debug, Clone, Default)]
pub(super) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn one(&self) -> Self {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self._alive.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes nodes.
pub(super) struct Counting {
    pub(super) random: Mutex<Random>,
    pub(super) alive: Alive,
    /// What the handler's configuration gives each step of a hand-over.
    pub(super) hand_over: Duration,
    /// States that were lost because a save took its instance along.
    pub(super) n_lost: Arc<AtomicUsize>,
}

impl Counting {
    /// Lets some virtual time pass.
    async fn take_time(&self) {
        let ms = self.random.lock().expect("nobody panics with it").below(20);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// A phase, bounded as the real one is.
    async fn phase(&self, turn: Turn) -> Turn {
        self.take_time().await;
        if turn == Turn::Hangs {
            tokio::time::sleep(self.hand_over).await;
        }
        turn
    }

    fn node(&self, candidate: &Candidate, number: GenerationNumber) -> Staged<Node> {
        let bytes = candidate.bytes().expect("it is in memory");
        let plan = Plan::parse(std::str::from_utf8(&bytes).expect("plans are text"));
        let begun = if plan.keeps == Keeps::Nothing { Begun::Anew } else { Begun::No };
        let instance = Instance { begun, count: 0, is_busy: false, has_lost: false };
        let ready = Node { number, plan, instance: Mutex::new(instance), _alive: self.alive.one() };
        let (compile_time, compiled_by, tier) =
            (Duration::ZERO, CompiledBy::Compiler, Tier::Optimized);
        Staged { ready, lease: None, bytes: 1, compile_time, compiled_by, tier }
    }
}

fn failed() -> CallFailure {
    CallFailure::Guest { reason: "the plan says so".to_owned() }
}

impl Guest for Counting {
    type Ready = Node;

    async fn stage(
        &self,
        release: &Release,
        number: GenerationNumber,
        _: Retirement,
    ) -> Result<Staged<Node>, StageError> {
        let staged = self.node(&release.candidate, number);
        match self.phase(staged.ready.plan.stage).await {
            Turn::Ok => Ok(staged),
            _ => Err(StageError::NotAComponent { found: "a bad plan" }),
        }
    }

    async fn restage(
        &self,
        release: &Release,
        number: GenerationNumber,
        _: Retirement,
        _: Goal,
    ) -> Result<Staged<Node>, StageError> {
        Ok(self.node(&release.candidate, number))
    }

    fn keeps(&self, ready: &Node) -> Keeps {
        ready.plan.keeps
    }

    fn has_lost(&self, ready: &Node) -> bool {
        ready.instance().has_lost
    }

    async fn start(&self, ready: &Node) -> Result<(), StageError> {
        let turn = self.phase(ready.plan.init).await;
        if turn != Turn::Ok {
            return Err(StageError::Init { source: failed() });
        }
        let mut instance = ready.instance();
        instance.begun = Begun::Anew;
        instance.count = 0;
        Ok(())
    }

    async fn save(&self, ready: &Node) -> Result<Snapshot, HandOverError> {
        assert!(!ready.instance().is_busy, "a save while a call is inside");
        let turn = self.phase(ready.plan.save).await;
        let mut instance = ready.instance();
        assert!(!instance.is_busy, "a call came in during a save");
        match turn {
            Turn::Ok => {
                let payload = instance.count.to_le_bytes().to_vec();
                Ok(Snapshot { schema: "count".to_owned(), version: 1, payload })
            }
            Turn::Fails => Err(HandOverError::Refused { reason: "the plan says so".to_owned() }),
            Turn::Worse | Turn::Hangs => {
                instance.count = 0;
                instance.begun = Begun::Gone;
                self.n_lost.fetch_add(1, Ordering::Relaxed);
                Err(HandOverError::Lost { source: failed() })
            }
        }
    }

    async fn restore(&self, ready: &Node, snapshot: &Snapshot) -> Result<Restored, HandOverError> {
        let reason = "the plan says so".to_owned();
        match self.phase(ready.plan.restore).await {
            Turn::Ok => {}
            Turn::Fails => return Err(HandOverError::Unrestored { reason }),
            Turn::Worse => return Err(HandOverError::Incompatible { reason }),
            Turn::Hangs => return Err(HandOverError::Broken { source: failed() }),
        }
        let mut instance = ready.instance();
        assert_ne!(instance.begun, Begun::Anew, "a restore of an instance that was started");
        let count = snapshot.payload.as_slice().try_into().expect("a count has eight bytes");
        (instance.begun, instance.count) = (Begun::Restored, u64::from_le_bytes(count));
        Ok(Restored::Carried)
    }

    async fn probe(&self, ready: &Node, _: &Settings) -> Result<(), StageError> {
        let begun = ready.instance().begun;
        assert!(!matches!(begun, Begun::No | Begun::Gone), "a probe before the beginning");
        match self.phase(ready.plan.probe).await {
            Turn::Ok => Ok(()),
            _ => Err(StageError::Init { source: failed() }),
        }
    }

    async fn close(&self, ready: &Node) {
        assert!(!ready.instance().is_busy, "closed with a call inside");
        self.take_time().await;
    }
}

impl Node {
    pub(super) fn instance(&self) -> std::sync::MutexGuard<'_, Instance> {
        self.instance.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
