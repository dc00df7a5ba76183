//! Who gets which instance: a new one for each call, a warm one, or the only one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use wasmtime::Store;
use wasmtime::component::Instance;

use super::aside::{Computing, Movable};
use super::live::{Age, Live, MakeError, Maker};
use crate::config::InstanceMode;
use crate::contract::Contract;
use crate::error::{CallFailure, HandOverError};
use crate::host::HostState;
use crate::snapshot::{Keeps, Restored, Snapshot};

/// A warm instance whose memory has grown beyond this part of its limit is replaced: what it needs
/// is mostly what it leaked, and the limit itself would fail a call.
const SPENT_MEMORY: u64 = 2;

/// The instances of one generation under contract `C`.
pub(crate) struct Keeper<C: Contract> {
    maker: Arc<Maker<C>>,
    mode: InstanceMode,
    /// Never locked across an await.
    shelf: Mutex<Shelf<C>>,
    /// Told when an instance that is used again is back, or gone.
    back: Notify,
    /// Instances that are told of their end, aside.
    ending: TaskTracker,
    /// Calls, and what they cost.
    computing: Computing,
}

struct Shelf<C: Contract> {
    /// Least recently used first.
    idle: VecDeque<Box<Live<C>>>,
    /// Instances that are with calls; not counted when each serves one call only.
    n_lent: usize,
    /// Whether instances end in place of coming back: of a pool that is [retired](Keeper::retire).
    is_closed: bool,
    /// Whether a singleton's instance was made in place of one whose state is gone.
    has_lost: bool,
}

impl<C: Contract> Shelf<C> {
    /// One instance is with its call no more; how many are?
    fn lend_less(&mut self) -> usize {
        self.n_lent -= 1;
        self.n_lent
    }
}

/// The right to an instance that was taken: given back with it, or dropped when it is gone.
pub(crate) struct Lent<C: Contract> {
    keeper: Arc<Keeper<C>>,
    /// Whether it is counted still.
    is_counted: bool,
}

impl<C: Contract> Drop for Lent<C> {
    fn drop(&mut self) {
        if self.is_counted {
            let n_lent = self.keeper.shelf().lend_less();
            self.keeper.tell(n_lent);
        }
    }
}

impl<C: Contract> Lent<C> {
    /// Brings `live` back after a call that went well.
    pub(crate) fn give_back(mut self, mut live: Box<Live<C>>) {
        live.age.calls += 1;
        if self.keeper.put(live) {
            self.is_counted = false;
        }
    }

    /// [`Lent::give_back`] for those who have taken the instance to pieces.
    pub(crate) fn give_back_parts(
        self,
        store: Store<HostState<C::Host>>,
        instance: Instance,
        age: Age,
    ) {
        if let Some(live) = self.keeper.maker.revive(store, instance, age) {
            self.give_back(live);
        }
    }

    /// Tells an instance in pieces of its end, aside.
    pub(crate) fn retire_parts(
        self,
        store: Store<HostState<C::Host>>,
        instance: Instance,
        age: Age,
    ) {
        let keeper = &self.keeper;
        if let Some(live) = keeper.maker.revive(store, instance, age) {
            keeper.end(vec![live]);
        }
    }
}

impl<C: Contract> Keeper<C> {
    pub(crate) fn new(maker: Maker<C>, mode: InstanceMode) -> Arc<Self> {
        let shelf = Shelf { idle: VecDeque::new(), n_lent: 0, is_closed: false, has_lost: false };
        let shelf = Mutex::new(shelf);
        let (maker, back, ending) = (Arc::new(maker), Notify::new(), TaskTracker::new());
        let computing = Computing::default();
        Arc::new(Self { maker, mode, shelf, back, ending, computing })
    }

    /// This generation's calls, and what they cost.
    /// Longest time of a call.
    pub(super) fn timeout(&self) -> Duration {
        self.maker.timeout()
    }

    pub(super) fn computing(&self) -> &Computing {
        &self.computing
    }

    /// What is kept from call to call.
    pub(crate) fn keeps(&self) -> Keeps {
        match self.mode {
            InstanceMode::Singleton => self.maker.keeps(),
            // Which instance a call gets is nobody's promise.
            InstanceMode::Fresh | InstanceMode::Pooled { .. } => Keeps::Nothing,
        }
    }

    /// Whether a singleton's state is gone, with the instance that a call ended. To be asked while no
    /// call is inside.
    pub(crate) fn has_lost(&self) -> bool {
        let shelf = self.shelf();
        let is_gone = shelf.idle.is_empty() && shelf.n_lent == 0;
        self.mode == InstanceMode::Singleton && (shelf.has_lost || is_gone)
    }

    /// Makes the first instance, which proves that the component can run. A singleton's waits to be
    /// [started](Self::start) or [restored](Self::restore); a pool keeps it for its first call.
    ///
    /// # Errors
    ///
    /// [`MakeError`], within the time allowed.
    pub(crate) async fn stock(&self) -> Result<(), MakeError> {
        if self.mode != InstanceMode::Singleton {
            self.maker.warn_of_state();
        }
        let live = match self.mode {
            InstanceMode::Singleton => self.maker.make_bare().await?,
            InstanceMode::Fresh => return self.maker.make().await.map(drop),
            InstanceMode::Pooled { .. } => self.maker.make().await?,
        };
        self.shelf().idle.push_back(live);
        Ok(())
    }

    /// Makes sure that at least `n` instances of a pool are warm.
    ///
    /// # Errors
    ///
    /// As [`Keeper::stock`]; those that were made stay.
    pub(crate) async fn warm(&self, n: usize) -> Result<(), MakeError> {
        if !matches!(self.mode, InstanceMode::Pooled { .. }) {
            return Ok(());
        }
        let n_idle = self.shelf().idle.len();
        for _ in n_idle..n {
            let live = self.maker.make().await?;
            self.shelf().idle.push_back(live);
        }
        Ok(())
    }

    /// An instance for a call that begins `now`.
    ///
    /// # Errors
    ///
    /// Why there is none.
    ///
    /// # Cancel safety
    ///
    /// Nothing is taken when this is dropped before it is ready.
    pub(crate) async fn take(
        self: &Arc<Self>,
        now: Instant,
    ) -> Result<(Box<Live<C>>, Lent<C>), CallFailure> {
        let (warm, lent) = match self.mode {
            InstanceMode::Fresh => (None, self.lend()),
            InstanceMode::Pooled { .. } => self.lend_warm(now),
            InstanceMode::Singleton => {
                let lent = self.turn().await;
                (self.pop(), lent)
            }
        };
        let live = match warm {
            Some(live) => live,
            // In a box, as it is large, and would be moved with every future around it.
            None => Box::pin(self.make()).await?,
        };
        Ok((live, lent))
    }

    /// Drops the instances that have been idle for too long; to be called from time to time.
    pub(crate) fn expire_idle(&self) {
        let InstanceMode::Pooled { max_idle, .. } = self.mode else { return };
        let expired = expired(&mut self.shelf().idle, max_idle);
        self.end(expired);
    }

    /// Starts a singleton's instance, which takes no state over.
    ///
    /// # Errors
    ///
    /// What its `init` ended with; the instance is gone.
    pub(crate) async fn start(&self) -> Result<(), CallFailure> {
        let Some(mut live) = self.pop() else {
            // It was used up by a snapshot that it did not take.
            let live = self.maker.make().await?;
            self.shelf().idle.push_back(live);
            return Ok(());
        };
        self.maker.start(&mut live).await?;
        self.shelf().idle.push_back(live);
        Ok(())
    }

    /// The state of a singleton's instance, which stays. To be called while no call is inside; what
    /// an instance does after its answer is waited for.
    ///
    /// # Errors
    ///
    /// [`HandOverError`]; only after [`HandOverError::Lost`] the instance is gone.
    ///
    /// # Cancel safety
    ///
    /// The instance is gone when this is dropped while it saves.
    pub(crate) async fn save(self: &Arc<Self>) -> Result<Snapshot, HandOverError> {
        let limit = self.maker.hand_over();
        let busy = HandOverError::Busy { waited: limit };
        let Ok(_lent) = tokio::time::timeout(limit, self.turn()).await else { return Err(busy) };
        // What starts anew has a state, too.
        let mut live = match self.pop() {
            Some(live) => live,
            None => {
                let made = self.make().await;
                made.map_err(|error| HandOverError::Lost { source: error.into() })?
            }
        };
        let saved = self.maker.save(&mut live).await;
        if !matches!(saved, Err(HandOverError::Lost { .. })) {
            self.shelf().idle.push_back(live);
        }
        saved
    }

    /// Makes the state of a singleton's first instance that of `snapshot`.
    ///
    /// # Errors
    ///
    /// [`HandOverError`]; the instance is then gone, and [`Keeper::start`] makes another.
    pub(crate) async fn restore(&self, snapshot: &Snapshot) -> Result<Restored, HandOverError> {
        let mut live = match self.pop() {
            Some(live) => live,
            None => match self.maker.make_bare().await {
                Ok(live) => live,
                Err(error) => return Err(HandOverError::Broken { source: error.into() }),
            },
        };
        let restored = self.maker.restore(&mut live, snapshot).await?;
        self.shelf().idle.push_back(live);
        Ok(restored)
    }

    /// Ends the idle instances of a pool, aside, and the others when their calls are over. To be called
    /// when the generation has a successor. A singleton's waits for [`close`](Self::close).
    pub(crate) fn retire(&self) {
        if !matches!(self.mode, InstanceMode::Pooled { .. }) {
            return;
        }
        let mut shelf = self.shelf();
        shelf.is_closed = true;
        let idle = std::mem::take(&mut shelf.idle);
        drop(shelf);
        self.end(idle.into());
    }

    /// Ends the instances in order. To be called when the generation is drained.
    pub(crate) async fn close(&self) {
        // Once more, as code that was loaded again since has a keeper of its own.
        self.retire();
        // What an instance does after its last answer may take as long as the rest of its end.
        let _ = tokio::time::timeout(self.maker.hand_over(), self.at_rest()).await;
        while let Some(live) = self.pop() {
            self.maker.shut_down(live).await;
        }
        self.ending.close();
        self.ending.wait().await;
    }

    /// Waits for the one instance of a singleton, or for the right to make it.
    async fn turn(self: &Arc<Self>) -> Lent<C> {
        loop {
            // Registered before the look, so that a return in between is not missed.
            let mut back = std::pin::pin!(self.back.notified());
            back.as_mut().enable();
            if self.take_turn() {
                return self.lend();
            }
            back.await;
        }
    }

    fn take_turn(&self) -> bool {
        let mut shelf = self.shelf();
        let is_free = shelf.n_lent == 0;
        shelf.n_lent = 1;
        is_free
    }

    /// Waits until no instance that is used again is with a call.
    async fn at_rest(&self) {
        loop {
            let mut back = std::pin::pin!(self.back.notified());
            back.as_mut().enable();
            if self.shelf().n_lent == 0 {
                return;
            }
            back.await;
        }
    }

    fn lend(self: &Arc<Self>) -> Lent<C> {
        let is_counted = self.mode != InstanceMode::Fresh;
        Lent { keeper: Arc::clone(self), is_counted }
    }

    /// A warm instance, if there is one, and the right to it or to the one that is made instead.
    fn lend_warm(self: &Arc<Self>, now: Instant) -> (Option<Box<Live<C>>>, Lent<C>) {
        let mut shelf = self.shelf();
        shelf.n_lent += 1;
        (self.pop_fresh(shelf, now), self.lend())
    }

    /// A new instance. A singleton's takes the place of one that a call ended, without its state.
    async fn make(&self) -> Result<Box<Live<C>>, MakeError> {
        let live = self.maker.make().await?;
        if self.mode == InstanceMode::Singleton {
            self.shelf().has_lost = true;
            self.maker.tell_of_loss();
        }
        Ok(live)
    }

    /// The instance of a singleton, if it is there.
    fn pop(&self) -> Option<Box<Live<C>>> {
        self.shelf().idle.pop_back()
    }

    /// The most recently used idle instance: its memory is the warmest, and the others can expire.
    fn pop_fresh(&self, mut shelf: MutexGuard<'_, Shelf<C>>, now: Instant) -> Option<Box<Live<C>>> {
        let live = shelf.idle.pop_back();
        let InstanceMode::Pooled { max_idle, .. } = self.mode else { return live };
        // Older ones may have expired; they go when somebody looks for those.
        if live.as_ref().is_none_or(|live| is_fresh(live, now, max_idle)) {
            return live;
        }
        // All others have been idle for longer.
        let expired = shelf.idle.drain(..).chain(live).collect();
        drop(shelf);
        self.end(expired);
        None
    }

    /// Tells those who wait when nothing is with a call any more: of a singleton, the one instance.
    fn tell(&self, n_lent: usize) {
        if n_lent == 0 {
            self.back.notify_waiters();
        }
    }

    /// Keeps an instance for the next call, if the mode, its age and the generation's life allow, and
    /// counts it as back then; returns whether it did.
    fn put(&self, mut live: Box<Live<C>>) -> bool {
        if self.mode == InstanceMode::Fresh {
            return false;
        }
        let now = Instant::now();
        live.idle_since = now;
        if self.mode != InstanceMode::Singleton && self.is_spent(&live, now) {
            self.end(vec![live]);
            return false;
        }
        let mut shelf = self.shelf();
        if shelf.is_closed {
            drop(shelf);
            self.end(vec![live]);
            return false;
        }
        shelf.idle.push_back(live);
        let n_lent = shelf.lend_less();
        drop(shelf);
        // Nobody waits for the instances of a pool that is open.
        if self.mode == InstanceMode::Singleton {
            self.tell(n_lent);
        }
        true
    }

    /// Whether a warm instance has had its calls, its time or its memory.
    fn is_spent(&self, live: &Live<C>, now: Instant) -> bool {
        let Some(span) = self.mode.span(live.age.number) else { return true };
        live.age.calls >= span.calls
            || now - live.age.made_at >= span.age
            || has_grown(live.store.data())
    }

    /// Ends instances in order, aside: nobody waits for it.
    fn end(&self, spent: Vec<Box<Live<C>>>) {
        if spent.is_empty() || !self.maker.has_shutdown() {
            // Stores are dropped outside of the lock: that unmaps memory.
            return;
        }
        let maker = Arc::clone(&self.maker);
        let end = async move {
            for live in spent {
                maker.shut_down(live).await;
            }
        };
        self.ending.spawn(Movable::new(Box::pin(end), self.computing.clone()));
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf<C>> {
        // Instances are pushed and popped whole, so a panic elsewhere leaves the shelf sound.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the store's memory has grown so much that a warm instance is to be replaced.
pub(super) fn has_grown<H>(state: &HostState<H>) -> bool {
    state.memory_used() > state.memory_limit() / SPENT_MEMORY
}

fn is_fresh<C: Contract>(live: &Live<C>, now: Instant, max_idle: Duration) -> bool {
    now.saturating_duration_since(live.idle_since) <= max_idle
}

/// Takes those out of `idle` that have been there longer than `max_idle`.
fn expired<C: Contract>(
    idle: &mut VecDeque<Box<Live<C>>>,
    max_idle: Duration,
) -> Vec<Box<Live<C>>> {
    let now = Instant::now();
    let n_expired =
        idle.iter().position(|live| is_fresh(live, now, max_idle)).unwrap_or(idle.len());
    idle.drain(..n_expired).collect()
}
