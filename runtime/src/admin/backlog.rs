//! The last events, numbered, for clients that come late or lose their connection.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinHandle;

use crate::events::{EventReceiver, Missed, Numbered, RecvError, Rings};

/// Takes in the events of a runtime until the runtime has ended.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) backlog: Arc<Backlog>,
    task: JoinHandle<()>,
}

impl Feed {
    /// Takes in what `events` receives from now on, in a task of its own, until `end` is ready. What
    /// came before that is taken in, too; then clients are told that there will be no more.
    pub(super) fn start(
        mut events: EventReceiver,
        end: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let backlog = Arc::new(Backlog::new(first_number(SystemTime::now())));
        // Also when the task is dropped with its tokio runtime.
        let closing = Closing(Arc::clone(&backlog));
        let task = tokio::spawn(async move {
            let backlog = &closing.0;
            let mut end = pin!(end);
            loop {
                // Cancel-safe: an event that is not received stays in its queue.
                let received = tokio::select! {
                    biased; // What came before the end is taken in.
                    received = events.recv_numbered() => received,
                    () = &mut end => return,
                };
                match received {
                    Ok(event) => backlog.push(event),
                    Err(RecvError::Missed(missed)) => backlog.miss(missed),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Self { backlog, task }
    }
}

/// Closes a backlog when the task that fills it ends, however it ends.
struct Closing(Arc<Backlog>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Numbers begin with the microseconds of the clock, so that they grow over restarts too, and a
/// client that comes back to another process learns of the gap.
fn first_number(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Half a million years fit.
    u64::try_from(since.as_micros()).unwrap_or(1).max(1)
}

/// See the [module](self). Log lines displace no other event, and failed calls displace no swap.
#[derive(Debug)]
pub(super) struct Backlog {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    events: Rings,
    /// The bus's number of the event that came last, if one did.
    last: Option<u64>,
    next: u64,
    missed: u64,
    is_closed: bool,
}

/// What a client has yet to see.
#[derive(Debug)]
pub(super) enum Unseen {
    /// These, in order. Their numbers have a gap where events were lost.
    Events(Vec<Numbered>),
    /// Nothing yet.
    Nothing,
    /// Nothing, ever.
    End,
}

impl Backlog {
    fn new(first: u64) -> Self {
        let events = Rings::default();
        let state = State { events, last: None, next: first, missed: 0, is_closed: false };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// Keeps an event with the bus's number; where numbers are missing there, they are here.
    fn push(&self, (number, event): Numbered) {
        let mut state = self.lock();
        let skipped = state.last.map_or(0, |last| number.saturating_sub(last + 1));
        state.last = Some(number);
        let number = state.next + skipped;
        state.events.push(number, event);
        state.next = number + 1;
        drop(state);
        self.changed.notify_waiters();
    }

    /// So many events came faster than they were taken in.
    fn miss(&self, missed: Missed) {
        self.lock().missed += missed.total();
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_waiters();
    }

    /// The number before the next event: what a client that wants only what comes has seen.
    pub(super) fn now(&self) -> u64 {
        self.lock().next - 1
    }

    /// At most `limit` events after number `seen`. One that was never given out is of another
    /// process, and everything that is kept is unseen.
    pub(super) fn after(&self, seen: u64, limit: usize) -> Unseen {
        let state = self.lock();
        let seen = if seen < state.next { seen } else { 0 };
        let unseen = state.events.after(seen, limit);
        match (unseen.is_empty(), state.is_closed) {
            (false, _) => Unseen::Events(unseen),
            (true, false) => Unseen::Nothing,
            (true, true) => Unseen::End,
        }
    }

    /// Ready at the next change after this was called and enabled.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// How many events came faster than they were taken in.
    pub(super) fn missed(&self) -> u64 {
        self.lock().missed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in between leaves a count or an event out, and nothing half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::tests::{event, log};
    use crate::events::{EventBus, EventKind};

    /// Adds the event that the bus gave `number` to.
    fn push(backlog: &Backlog, number: u64) {
        backlog.push((number, event("a", EventKind::Building)));
    }

    fn numbers(backlog: &Backlog, seen: u64) -> Vec<u64> {
        match backlog.after(seen, usize::MAX) {
            Unseen::Events(events) => events.iter().map(|(number, _)| *number).collect(),
            Unseen::Nothing => Vec::new(),
            Unseen::End => panic!("it has not ended"),
        }
    }

    #[test]
    fn client_sees_what_came_after_what_it_has_seen() {
        let backlog = Backlog::new(100);
        assert_eq!((backlog.now(), numbers(&backlog, 99)), (99, vec![]));
        (7..11).for_each(|number| push(&backlog, number));
        assert_eq!(numbers(&backlog, 99), [100, 101, 102, 103]);
        assert_eq!(numbers(&backlog, 101), [102, 103]);
        assert!(numbers(&backlog, backlog.now()).is_empty());
        let Unseen::Events(two) = backlog.after(99, 2) else { panic!("there are four") };
        assert_eq!(two.len(), 2);
    }

    #[test]
    fn number_that_was_never_given_out_has_seen_nothing() {
        let backlog = Backlog::new(100);
        push(&backlog, 1);
        assert_eq!(numbers(&backlog, 5000), [100]);
        assert_eq!(numbers(&backlog, 0), [100]);
    }

    #[test]
    fn lost_events_leave_a_gap_in_the_numbers_and_are_counted() {
        let backlog = Backlog::new(1);
        push(&backlog, 10);
        push(&backlog, 14);
        backlog.miss(Missed::default());
        assert_eq!((numbers(&backlog, 0), backlog.missed()), (vec![1, 5], 0));
    }

    #[test]
    fn a_flood_of_log_lines_displaces_no_swap() {
        let backlog = Backlog::new(1);
        push(&backlog, 1);
        for number in 2..10_000 {
            backlog.push((number, log("b", "x")));
        }
        let kept = numbers(&backlog, 0);
        assert_eq!((kept[0], kept[1], kept.last()), (1, 8976, Some(&9999)));
    }

    #[test]
    fn numbers_grow_over_restarts() {
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(2_000_000_000);
        assert_eq!(first_number(later), 2_000_000_000_000_000);
        assert_eq!(first_number(SystemTime::UNIX_EPOCH), 1, "0 is what nobody has seen");
    }

    #[tokio::test]
    async fn feed_takes_in_what_the_bus_carries_and_ends_with_it() {
        let bus = EventBus::new();
        let feed = Feed::start(bus.subscribe(), std::future::pending());
        let seen = feed.backlog.now();
        bus.emit(None, None, EventKind::Building);
        drop(bus);
        loop {
            let changed = feed.backlog.changed();
            match feed.backlog.after(seen, 10) {
                Unseen::Events(events) => {
                    assert_eq!(events[0].0, seen + 1);
                    break;
                }
                Unseen::Nothing => changed.await,
                Unseen::End => panic!("the event comes before the end"),
            }
        }
        while !matches!(feed.backlog.after(seen + 1, 10), Unseen::End) {
            tokio::task::yield_now().await;
        }
    }
}
