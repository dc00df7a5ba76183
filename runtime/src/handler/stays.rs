//! Calls that wait for their clients, and which of them gives way to those that wait for a place.
//!
//! A place is for a guest that works. The guest of such a call waits: for a client that takes nothing of
//! its answer, or sends nothing of its body. A singleton has one place, which the guest of an open event
//! stream keeps for as long as the stream is open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::Folded;

/// Calls that hold places of one kind: those of a handler, or those of the host.
#[derive(Debug, Default)]
pub(super) struct Stays(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    n_ever: u64,
    staying: BTreeMap<u64, Arc<Stay>>,
    told: Folded,
}

#[derive(Debug)]
struct Stay {
    began: Instant,
    /// Since when the guest waits for its client, if it does. Of a call that keeps a singleton from others
    /// it counts since when it does, whatever its guest does.
    due_since: Mutex<Option<Instant>>,
    keeps_singleton: bool,
    gives_way: CancellationToken,
}

/// A call that may have to give way, until this is dropped.
#[derive(Debug)]
pub(crate) struct Staying {
    stay: Arc<Stay>,
    lists: [(Arc<Stays>, u64); 2],
}

/// A call has given way.
#[derive(Debug)]
pub(super) struct GaveWay {
    /// How many have since that was told last, when it is to be told.
    pub(super) told: Option<u64>,
}

impl Stays {
    fn put(self: &Arc<Self>, stay: &Arc<Stay>) -> (Arc<Self>, u64) {
        let mut calls = self.lock();
        calls.n_ever += 1;
        let number = calls.n_ever;
        calls.staying.insert(number, Arc::clone(stay));
        drop(calls);
        (Arc::clone(self), number)
    }

    /// Lets the call give way that is due for longest, if that is at least `limit`, of those that have been
    /// here for at least `here`.
    pub(super) fn make_room(
        &self,
        now: Instant,
        limit: Duration,
        here: Duration,
    ) -> Option<GaveWay> {
        let mut calls = self.lock();
        let due = |stay: &Stay| {
            stay.due_since().filter(|since| {
                now.saturating_duration_since(*since) >= limit
                    && now.saturating_duration_since(stay.began) >= here
            })
        };
        let due = calls.staying.values().filter_map(|stay| Some((due(stay)?, stay)));
        let due = due.filter(|(_, stay)| !stay.gives_way.is_cancelled());
        let (_, longest) = due.min_by_key(|(since, _)| *since)?;
        longest.gives_way.cancel();
        Some(GaveWay { told: calls.told.met(now) })
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        // Calls are put in and taken out whole, so a panic elsewhere leaves them sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stay {
    fn due_since(&self) -> MutexGuard<'_, Option<Instant>> {
        // A value that is replaced whole.
        self.due_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Staying {
    /// A call that holds a place of both kinds.
    pub(super) fn new(lists: [&Arc<Stays>; 2], keeps_singleton: bool) -> Self {
        let began = Instant::now();
        let due_since = Mutex::new(keeps_singleton.then_some(began));
        let gives_way = CancellationToken::new();
        let stay = Arc::new(Stay { began, due_since, keeps_singleton, gives_way });
        let lists = lists.map(|list| list.put(&stay));
        Self { stay, lists }
    }

    /// The guest waits for its client from now on, or goes on.
    pub(crate) fn waits_for_client(&self, waits: bool) {
        let mut since = self.stay.due_since();
        if since.is_some() != waits && !self.stay.keeps_singleton {
            *since = waits.then(Instant::now);
        }
    }

    /// The guest waits for its client since then, or goes on.
    pub(crate) fn waits_since(&self, since: Option<Instant>) {
        if !self.stay.keeps_singleton {
            *self.stay.due_since() = since;
        }
    }

    /// Cancelled when the call has to give way.
    pub(crate) fn gives_way(&self) -> &CancellationToken {
        &self.stay.gives_way
    }
}

#[cfg(test)]
impl Staying {
    /// A call beside which no other one waits.
    pub(crate) fn alone() -> Self {
        Self::new([&Arc::default(), &Arc::default()], false)
    }

    /// For how long the guest has waited for its client, if it does.
    pub(crate) fn waited(&self) -> Option<Duration> {
        self.stay.due_since().map(|since| since.elapsed())
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        for (list, number) in &self.lists {
            list.lock().staying.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lists() -> [Arc<Stays>; 2] {
        [Arc::default(), Arc::default()]
    }

    fn stay(lists: &[Arc<Stays>; 2]) -> Staying {
        Staying::new([&lists[0], &lists[1]], false)
    }

    fn make_room(list: &Stays, limit: Duration) {
        let _ = list.make_room(Instant::now(), limit, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn call_whose_client_keeps_it_waiting_for_longest_gives_way_first() {
        let lists = lists();
        let [one, other, busy] = [stay(&lists), stay(&lists), stay(&lists)];
        other.waits_for_client(true);
        tokio::time::advance(SECOND).await;
        one.waits_for_client(true);
        // Said again, which changes nothing.
        other.waits_for_client(true);
        tokio::time::advance(4 * SECOND).await;
        let gave_way = || [&one, &other, &busy].map(|stay| stay.gives_way().is_cancelled());
        make_room(&lists[0], 6 * SECOND);
        assert_eq!(gave_way(), [false, false, false]);
        make_room(&lists[0], 4 * SECOND);
        assert_eq!(gave_way(), [false, true, false]);
        make_room(&lists[1], 4 * SECOND);
        assert_eq!(gave_way(), [true, true, false]);
        make_room(&lists[0], Duration::ZERO);
        assert!(!busy.gives_way().is_cancelled(), "its guest works");
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_moves_has_its_time_again() {
        let lists = lists();
        let stay = stay(&lists);
        stay.waits_for_client(true);
        tokio::time::advance(3 * SECOND).await;
        stay.waits_for_client(false);
        stay.waits_for_client(true);
        tokio::time::advance(3 * SECOND).await;
        make_room(&lists[0], 4 * SECOND);
        assert!(!stay.gives_way().is_cancelled());
        make_room(&lists[0], 3 * SECOND);
        assert!(stay.gives_way().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_is_due_since_before_it_began_may_be_left_its_time() {
        let lists = lists();
        let start = Instant::now();
        tokio::time::advance(3 * SECOND).await;
        let stay = stay(&lists);
        stay.waits_since(Some(start));
        assert!(lists[0].make_room(Instant::now(), 3 * SECOND, SECOND).is_none());
        tokio::time::advance(SECOND).await;
        assert!(lists[0].make_room(Instant::now(), 3 * SECOND, SECOND).is_some());
        assert!(stay.gives_way().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_keeps_a_singleton_is_due_whatever_its_client_does() {
        let lists = lists();
        let stay = Staying::new([&lists[0], &lists[1]], true);
        tokio::time::advance(3 * SECOND).await;
        stay.waits_for_client(true);
        stay.waits_for_client(false);
        make_room(&lists[0], 3 * SECOND);
        assert!(stay.gives_way().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_has_ended_is_in_no_list() {
        let lists = lists();
        drop(stay(&lists));
        assert!(lists.iter().all(|list| list.lock().staying.is_empty()));
    }
}
