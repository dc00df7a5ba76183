//! The bus that carries events from their producers to any number of subscribers.
//!
//! # Invariants
//!
//! 1. A producer never waits for a subscriber.
//! 2. Log lines displace no other event, and the failures of calls displace no swap ([`Rings`]).
//! 3. What a subscriber missed is told to that subscriber; what is counted is exact for all.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::allowance::LogAllowance;
use super::counts::Counts;
#[cfg(any(feature = "admin", test))]
use super::counts::HandlerCounts;
use super::rings::{Numbered, Rings};
use super::{Class, Event, EventKind};
use crate::id::HandlerName;

/// Shortest time between two reports to one subscriber that it missed events: a flood is told of
/// with one number and not with thousands of lines.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Carries events from their producers to any number of subscribers; never blocks a producer. Cheap
/// to clone; all clones are one bus.
#[derive(Debug, Clone, Default)]
pub struct EventBus {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// How many subscribers there are.
    observers: Arc<AtomicUsize>,
    counts: Counts,
    /// What each handler may log, shared by its generations.
    allowances: Mutex<BTreeMap<HandlerName, Weak<LogAllowance>>>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the event that was emitted last.
    last: u64,
    subscribers: Vec<Weak<Queue>>,
}

/// What one subscriber has yet to see.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Told when something was added, or nothing will be any more.
    told: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    rings: Rings,
    missed: Missed,
    is_closed: bool,
}

/// How many events a subscriber missed because it was slower than their producers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missed {
    /// Swaps, rejections, builds and whatever else is neither of the others.
    pub lifecycle: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Log lines.
    pub logs: u64,
}

impl Missed {
    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lifecycle + self.failures + self.logs
    }

    fn add(&mut self, class: Class, events: u64) {
        match class {
            Class::Lifecycle => self.lifecycle += events,
            Class::Failure => self.failures += events,
            Class::Log => self.logs += events,
        }
    }
}

/// Why a subscriber got no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecvError {
    /// Events were missed since the last report; those that follow are there.
    #[error("missed {} events", .0.total())]
    Missed(Missed),
    /// The runtime is gone, and every event was received.
    #[error("there will be no more events")]
    Closed,
}

/// Why a subscriber that does not wait got no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TryRecvError {
    /// There is none now.
    #[error("there is no event now")]
    Empty,
    /// Events were missed since the last report; those that follow are there.
    #[error("missed {} events", .0.total())]
    Missed(Missed),
    /// The runtime is gone, and every event was received.
    #[error("there will be no more events")]
    Closed,
}

impl EventBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `kind`, and sends it to whoever listens now.
    pub fn emit(&self, handler: Option<&HandlerName>, cause: Option<&str>, kind: EventKind) {
        if let Some(handler) = handler {
            self.shared.counts.count(handler, &kind);
        }
        if !self.is_observed() {
            return;
        }
        let (time, handler, cause) =
            (SystemTime::now(), handler.cloned(), cause.map(str::to_owned));
        let event = Arc::new(Event { kind, time, handler, cause });
        // Held until all have the event, so that all see the same order.
        let mut state = self.shared.state();
        state.last += 1;
        let number = state.last;
        state.subscribers.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                queue.push(number, Arc::clone(&event));
                true
            }
            None => false,
        });
    }

    /// Events from now on. A subscriber that falls behind misses log lines first, of the handler
    /// that writes the most; see [`RecvError::Missed`].
    #[must_use]
    pub fn subscribe(&self) -> EventReceiver {
        let queue = Arc::new(Queue::default());
        let observers = Arc::clone(&self.shared.observers);
        // Ordering: a hint for producers; the list below is what counts.
        observers.fetch_add(1, Ordering::Relaxed);
        let mut state = self.shared.state();
        // Those who have gone, which an emission would find, too.
        state.subscribers.retain(|queue| queue.strong_count() > 0);
        state.subscribers.push(Arc::downgrade(&queue));
        drop(state);
        EventReceiver { queue, observers, report_after: None }
    }

    /// Whether anybody listens: lets a producer skip costly preparation.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        // Ordering: who subscribes meanwhile gets the events that follow.
        self.shared.observers.load(Ordering::Relaxed) > 0
    }

    /// What happened to each handler so far, whoever listened.
    #[cfg(any(feature = "admin", test))]
    pub(crate) fn counts(&self) -> BTreeMap<HandlerName, HandlerCounts> {
        self.shared.counts.all()
    }

    /// So many log lines of `handler` were left out.
    pub(crate) fn lines_left_out(&self, handler: &HandlerName, lines: u64) {
        self.shared.counts.left_out(handler, lines);
    }

    /// What the guests of `handler` may log, over all generations.
    pub(crate) fn log_allowance(&self, handler: &HandlerName) -> Arc<LogAllowance> {
        // Entries are replaced whole, so a panic elsewhere leaves the map sound.
        let allowances = &self.shared.allowances;
        let mut allowances = allowances.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = allowances.get(handler).and_then(Weak::upgrade) {
            return found;
        }
        allowances.retain(|_, allowance| allowance.strong_count() > 0);
        let new = Arc::new(LogAllowance::new(std::time::Instant::now()));
        allowances.insert(handler.clone(), Arc::downgrade(&new));
        new
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Entries are pushed whole, so a panic elsewhere leaves the list sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for queue in self.state().subscribers.iter().filter_map(Weak::upgrade) {
            queue.lock().is_closed = true;
            queue.told.notify_one();
        }
    }
}

impl Queue {
    fn push(&self, number: u64, event: Arc<Event>) {
        let class = event.class();
        let mut waiting = self.lock();
        let displaced = waiting.rings.push(number, event);
        waiting.missed.add(class, displaced);
        drop(waiting);
        // One task receives; a permit is stored while it is busy.
        self.told.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic in between leaves an event out, and nothing half changed.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events of a runtime in their order, for one subscriber; see [`EventBus::subscribe`].
#[derive(Debug)]
pub struct EventReceiver {
    queue: Arc<Queue>,
    observers: Arc<AtomicUsize>,
    /// When missed events may be reported again; `None` when they may at once.
    report_after: Option<Instant>,
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        // Ordering: see `subscribe`.
        self.observers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EventReceiver {
    /// The next event.
    ///
    /// # Errors
    ///
    /// [`RecvError::Missed`] once a second at most when events were missed, and
    /// [`RecvError::Closed`] when the runtime is gone.
    ///
    /// # Cancel safety
    ///
    /// No event is lost when this is dropped before it is ready.
    pub async fn recv(&mut self) -> Result<Event, RecvError> {
        self.recv_numbered().await.map(|(_, event)| Arc::unwrap_or_clone(event))
    }

    /// [`EventReceiver::recv`], with the event's number: those of consecutive events are consecutive.
    pub(crate) async fn recv_numbered(&mut self) -> Result<Numbered, RecvError> {
        loop {
            // Registered before the look, so that an event in between is not missed.
            let queue = Arc::clone(&self.queue);
            let mut told = std::pin::pin!(queue.told.notified());
            told.as_mut().enable();
            match self.look(false) {
                Ok(event) => return Ok(event),
                Err(TryRecvError::Missed(missed)) => return Err(RecvError::Missed(missed)),
                Err(TryRecvError::Closed) => return Err(RecvError::Closed),
                Err(TryRecvError::Empty) => {}
            }
            let unreported = self.queue.lock().missed != Missed::default();
            match self.report_after.filter(|_| unreported) {
                // Cancel-safe: both only tell when to look again.
                Some(at) => tokio::select! {
                    () = told => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => told.await,
            }
        }
    }

    /// The next event, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] when there is none, otherwise as [`EventReceiver::recv`]; what was
    /// missed is told as soon as there is no other event.
    pub fn try_recv(&mut self) -> Result<Event, TryRecvError> {
        self.look(true).map(|(_, event)| Arc::unwrap_or_clone(event))
    }

    /// What there is now. An `urgent` look tells of what was missed when nothing else is there.
    fn look(&mut self, urgent: bool) -> Result<Numbered, TryRecvError> {
        let mut waiting = self.queue.lock();
        if waiting.missed != Missed::default() {
            let now = Instant::now();
            if self.report_after.is_none_or(|at| at <= now) {
                self.report_after = Some(now + REPORT_EVERY);
                return Err(TryRecvError::Missed(std::mem::take(&mut waiting.missed)));
            }
        }
        match waiting.rings.pop() {
            Some(event) => Ok(event),
            None if waiting.missed != Missed::default() && (urgent || waiting.is_closed) => {
                Err(TryRecvError::Missed(std::mem::take(&mut waiting.missed)))
            }
            None if waiting.is_closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::{kinds, name};

    #[tokio::test]
    async fn every_subscriber_gets_every_event_in_order_and_then_the_end() {
        let bus = EventBus::new();
        assert!(!bus.is_observed());
        bus.emit(None, None, EventKind::Building);
        let (mut one, mut other) = (bus.subscribe(), bus.subscribe());
        assert!(bus.is_observed());
        bus.emit(Some(&name("a")), Some("why"), EventKind::Building);
        bus.emit(Some(&name("b")), None, EventKind::Building);
        drop(bus);
        for events in [&mut one, &mut other] {
            let first = events.recv().await.unwrap();
            assert_eq!((first.handler, first.cause.as_deref()), (Some(name("a")), Some("why")));
            assert_eq!(events.try_recv().unwrap().handler, Some(name("b")));
            assert_eq!(events.recv().await.unwrap_err(), RecvError::Closed);
            assert_eq!(events.try_recv().unwrap_err(), TryRecvError::Closed);
        }
    }

    #[tokio::test]
    async fn one_who_waits_is_told_at_once() {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let received = tokio::spawn(async move { events.recv().await });
        tokio::task::yield_now().await;
        bus.emit(None, None, EventKind::Building);
        assert!(received.await.unwrap().is_ok());
        assert!(!bus.is_observed(), "the subscriber is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_log_lines_is_told_of_with_one_number_and_hides_no_swap_and_no_failure() {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let flood = || (0..50_000).for_each(|_| bus.emit(Some(&name("a")), None, kinds::log("x")));
        flood();
        bus.emit(Some(&name("b")), None, kinds::failed("x"));
        bus.emit(Some(&name("b")), None, kinds::confirmed());
        flood();
        let Err(RecvError::Missed(missed)) = events.recv().await else { panic!("there are some") };
        assert_eq!((missed.lifecycle, missed.failures), (0, 0));
        let mut seen = Vec::new();
        while let Ok(event) = events.try_recv() {
            seen.push(event.class());
        }
        assert_eq!(seen[..2], [Class::Failure, Class::Lifecycle]);
        assert_eq!(missed.logs + seen.len() as u64, 100_002);
        // The next report comes when its time has come, and not before.
        let began = Instant::now();
        flood();
        while events.recv().await.is_ok() {}
        assert_eq!(began.elapsed(), REPORT_EVERY);
        assert_eq!(bus.counts()[&name("b")].failures["guest"], 1);
    }

    #[test]
    fn what_happened_is_counted_whoever_listens() {
        let bus = EventBus::new();
        for _ in 0..5000 {
            bus.emit(Some(&name("a")), None, kinds::failed("x"));
        }
        bus.lines_left_out(&name("a"), 7);
        let counts = &bus.counts()[&name("a")];
        assert_eq!((counts.failures["guest"], counts.lines_left_out), (5000, 7));
        bus.emit(Some(&name("b")), None, kinds::failed("x"));
        bus.emit(Some(&name("a")), None, EventKind::Removed);
        assert_eq!(bus.counts().into_keys().collect::<Vec<_>>(), [name("b")]);
    }
}
