//! Admission: how many calls of a handler run at once, and how many may wait for their turn.
//!
//! The limits belong to the handler and not to a generation, so a swap neither doubles nor halves
//! them; waiting is fair (first come, first served) and bounded in number and time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::stays::{Staying, Stays};
use crate::config::{HandlerConfig, InstanceMode, Policy};
use crate::id::HandlerName;
use crate::limit::{Held, Limit};

/// Longest time that a call keeps its place from those that wait while its guest waits for its client; and
/// that a singleton streams one answer while other calls wait. Long enough for a client that reads a page
/// with pauses. At most a quarter of the time that calls wait, so that those are answered.
const STAY: Duration = Duration::from_secs(5);

/// Pause after which a call that waits looks again whether another one has to give way. It is also what a
/// call may stay in any case: its client has to take or send 64 KiB in that time, which is 1.3 MB/s. Some 150
/// calls that stay for so long can be ahead of one that waits for 10 s.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Time that a call gets to leave its place before another one has to give way as well.
const LEAVE: Duration = Duration::from_millis(500);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Admission {
    own: Line,
    everywhere: Everywhere,
    /// Whether the only place is that of the only instance.
    is_single: bool,
    waiting: AtomicUsize,
    waits: ArcSwap<Waits>,
    /// Taken by the call that is next of those that let all others go first.
    last: Mutex<()>,
    name: HandlerName,
}

/// How many calls may wait, and for how long.
#[derive(Debug, Clone, Copy)]
struct Waits {
    queue: usize,
    patience: Duration,
}

impl Waits {
    fn of(policy: &Policy) -> Self {
        Self { queue: policy.queue, patience: policy.queue_timeout }
    }
}

/// Places of one kind, those of a handler or those of the host, and the calls that wait for them.
#[derive(Debug)]
struct Line {
    places: Arc<Limit>,
    /// Taken by the call that waits for longest, which looks for others that have to give way.
    first: Mutex<()>,
    /// Calls that have places, and that may have to give way.
    stays: Arc<Stays>,
}

/// The right to run one call; held until its store is no longer needed.
#[derive(Debug)]
pub(crate) struct Admitted {
    _running: Held,
    _everywhere: Held,
}

/// The limit that kept a call out, in the words of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("its `queue` of {queue} waiting calls is full")]
    QueueFull { queue: usize },
    #[error("its `concurrency` of {places} allowed no further call within {patience:?}")]
    Handler { places: usize, patience: Duration },
    #[error("its one instance, a singleton, was with other calls for {patience:?}")]
    Singleton { patience: Duration },
    #[error(
        "the host's `max_concurrent_calls` of {places} allowed no further call within {patience:?}"
    )]
    Host { places: usize, patience: Duration },
}

impl Refused {
    /// Whether the limit is one of all handlers together.
    pub(crate) fn is_of_host(self) -> bool {
        matches!(self, Self::Host { .. })
    }
}

/// The places of all handlers of a runtime together: what the instance pool was sized for.
#[derive(Debug, Clone)]
pub(crate) struct Everywhere(Arc<Line>);

impl Everywhere {
    pub(crate) fn new(n_places: usize) -> Self {
        Self(Arc::new(Line::new(n_places)))
    }
}

impl Line {
    fn new(n_places: usize) -> Self {
        let places = Arc::new(Limit::new(n_places));
        Self { places, first: Mutex::default(), stays: Arc::default() }
    }

    fn try_take(&self) -> Option<Held> {
        self.places.try_take()
    }

    /// A place, when it is this call's turn. Meanwhile the call at the head calls `make_room`, which says
    /// whether another one gives way.
    async fn take(&self, make_room: impl Fn() -> bool) -> Option<Held> {
        let looks = async {
            let _first = self.first.lock().await;
            loop {
                let pause = if make_room() { LEAVE } else { LOOK_EVERY };
                tokio::time::sleep(pause).await;
            }
        };
        // Cancel-safe: a call that does not get the place leaves the line.
        tokio::select! {
            biased;
            place = self.places.take() => Some(place),
            () = looks => None,
        }
    }
}

impl Admission {
    pub(crate) fn new(config: &HandlerConfig, everywhere: Everywhere) -> Self {
        Self {
            own: Line::new(config.places()),
            everywhere,
            is_single: config.settings.instances == InstanceMode::Singleton,
            waiting: AtomicUsize::new(0),
            waits: ArcSwap::from_pointee(Waits::of(&config.policy)),
            last: Mutex::default(),
            name: config.name.clone(),
        }
    }

    /// Goes by `policy` from now on. Calls that are admitted stay so, and calls that wait do so for as long
    /// as they began with.
    pub(crate) fn set(&self, policy: &Policy) {
        self.waits.store(Arc::new(Waits::of(policy)));
        if !self.is_single {
            self.own.places.set(policy.concurrency);
        }
    }

    pub(crate) fn is_single(&self) -> bool {
        self.is_single
    }

    fn patience(&self) -> Duration {
        self.waits.load().patience
    }

    /// Admits a call now, if there is a place that no other one waits for.
    pub(crate) fn try_admit(&self) -> Option<Admitted> {
        let running = self.own.try_take()?;
        let everywhere = self.everywhere.0.try_take()?;
        Some(Admitted { _running: running, _everywhere: everywhere })
    }

    /// Admits a call now or in its turn.
    ///
    /// # Errors
    ///
    /// [`Refused`] when the queue is full or the turn does not come in time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the place in the queue back.
    pub(crate) async fn admit(&self) -> Result<Admitted, Refused> {
        if let Some(admitted) = self.try_admit() {
            return Ok(admitted);
        }
        let _place = self.queue_up()?;
        let since = Instant::now();
        let has_own = AtomicBool::new(false);
        let turn = async {
            let running = self.own.take(|| self.make_room(false, Some(since))).await?;
            // Ordering: both sides are one task.
            has_own.store(true, Ordering::Relaxed);
            let everywhere = self.everywhere.0.take(|| self.make_room(true, Some(since)));
            Some(Admitted { _running: running, _everywhere: everywhere.await? })
        };
        let patience = self.patience();
        match tokio::time::timeout(patience, turn).await {
            Ok(Some(admitted)) => Ok(admitted),
            // Places do not run out, so it is the time that is over.
            Ok(None) | Err(_) => Err(self.refused(has_own.load(Ordering::Relaxed), patience)),
        }
    }

    /// Admits a call as soon as there is a place that no call in the queue waits for; the caller bounds it.
    /// For a call whose client may keep the place for long.
    ///
    /// # Cancel safety
    ///
    /// Nothing is admitted when this is dropped before it is ready.
    pub(crate) async fn admit_last(&self) -> Admitted {
        let _next = self.last.lock().await;
        loop {
            if let Some(admitted) = self.try_admit() {
                return admitted;
            }
            let has_own = self.own.places.free() > 0;
            let pause = if self.make_room(has_own, None) { LEAVE } else { LOOK_EVERY };
            tokio::time::sleep(pause).await;
        }
    }

    /// A call that holds a place, and that may have to give way.
    /// What it streams keeps a singleton from others.
    pub(crate) fn stay(&self, streams: bool) -> Staying {
        Staying::new([&self.own.stays, &self.everywhere.0.stays], streams && self.is_single)
    }

    /// Lets a call give way to another, which has a place of its handler or not, and is in the queue `since`
    /// then or goes last. Returns whether there was one.
    fn make_room(&self, has_own: bool, since: Option<Instant>) -> bool {
        let now = Instant::now();
        let limit = stay(self.patience(), since.map_or(Duration::ZERO, |since| now - since));
        // A call that goes last has no more right to the place than another that goes last.
        let here = if since.is_some() { Duration::ZERO } else { limit };
        let stays = if has_own { &self.everywhere.0.stays } else { &self.own.stays };
        let Some(gave_way) = stays.make_room(now, limit, here) else { return false };
        let Some(n) = gave_way.told else { return true };
        let (handler, places) = (&self.name, if has_own { "the host" } else { "its handler" });
        if self.is_single && !has_own {
            tracing::warn!(
                %handler,
                "a call of handler `{handler}`, a singleton, was ended that streamed its answer, or whose \
                 client sent nothing, because another call waited for its one instance ({n} since this was \
                 told)"
            );
        } else {
            tracing::warn!(
                %handler,
                "a call was ended whose client took or sent nothing for {limit:?}, because a call of \
                 handler `{handler}` waited for a place of {places} ({n} since this was told)"
            );
        }
        true
    }

    /// The limit at which a call waited in vain, which had a place of its handler or not.
    fn refused(&self, has_own: bool, patience: Duration) -> Refused {
        match has_own {
            true => Refused::Host { places: self.everywhere.0.places.get(), patience },
            false if self.is_single => Refused::Singleton { patience },
            false => Refused::Handler { places: self.own.places.get(), patience },
        }
    }

    fn queue_up(&self) -> Result<Place<'_>, Refused> {
        // Ordering, of the count: it guards no other data.
        let Waits { queue, .. } = **self.waits.load();
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::QueueFull { queue });
        }
        Ok(Place(&self.waiting))
    }
}

/// How long a call may keep its place from one that has `waited`, of those that wait for `patience`.
///
/// Shorter the longer that one has waited: where many slow calls are in line, each of them stays for a
/// little, and all of them for little longer than one alone.
fn stay(patience: Duration, waited: Duration) -> Duration {
    STAY.min(patience / 4).saturating_sub(waited).max(LOOK_EVERY)
}

/// A place in the queue, given back on every way out.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::future::poll_immediate;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn config(concurrency: usize, queue: usize) -> HandlerConfig {
        HandlerConfig::new(HandlerName::new("h").unwrap())
            .with_concurrency(concurrency)
            .with_queue(queue, PATIENCE)
    }

    fn admission(concurrency: usize, queue: usize) -> Arc<Admission> {
        Arc::new(Admission::new(&config(concurrency, queue), Everywhere::new(100)))
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_names_the_limit_that_was_met() {
        let everywhere = Everywhere::new(1);
        let refused = async |config: &HandlerConfig| {
            let admission = Admission::new(config, everywhere.clone());
            let _first = admission.try_admit();
            admission.admit().await.unwrap_err().to_string()
        };
        let of_handler = refused(&config(1, 1)).await;
        assert_eq!(of_handler, "its `concurrency` of 1 allowed no further call within 5s");
        assert_eq!(refused(&config(1, 0)).await, "its `queue` of 0 waiting calls is full");
        let of_host = refused(&config(2, 1)).await;
        let expected = "the host's `max_concurrent_calls` of 1 allowed no further call within 5s";
        assert_eq!(of_host, expected);
        let singleton = config(100, 1).with_instances(InstanceMode::Singleton);
        let expected = "its one instance, a singleton, was with other calls for 5s";
        assert_eq!(refused(&singleton).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_beyond_the_limit_waits_for_its_turn() {
        let admission = admission(1, 1);
        let first = admission.admit().await.expect("the first place is free");
        let second = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.admit().await }
        });
        // The second call is in the queue once a third one finds it full.
        while admission.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(admission.admit().await.unwrap_err(), Refused::QueueFull { queue: 1 });
        drop(first);
        assert!(second.await.expect("the call does not panic").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_callers_patience_and_frees_the_queue() {
        let admission = admission(1, 1);
        let _first = admission.admit().await.expect("the first place is free");
        for _ in 0..2 {
            let refused = admission.admit().await.unwrap_err();
            assert_eq!(refused, Refused::Handler { places: 1, patience: PATIENCE });
        }
    }

    #[tokio::test(start_paused = true)]
    async fn call_whose_client_is_idle_gives_way_to_one_that_waits() {
        let admission = admission(1, 1);
        let first = admission.admit().await.expect("the first place is free");
        let stay = admission.stay(false);
        let start = Instant::now();
        let leaving = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            stay.waits_for_client(true);
            stay.gives_way().cancelled().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(admission.admit(), leaving);
        assert!(second.is_ok());
        // When the client has kept it for as long as is left of a quarter of the other one's patience.
        assert_eq!(start.elapsed(), Duration::from_millis(1150));
    }

    #[test]
    fn the_longer_a_call_has_waited_the_shorter_others_stay() {
        let second = Duration::from_secs(1);
        for (patience, waited, expected) in [
            (10 * second, Duration::ZERO, second * 5 / 2),
            (10 * second, second, second * 3 / 2),
            (10 * second, 9 * second, LOOK_EVERY),
            (3600 * second, Duration::ZERO, STAY),
            (second / 100, Duration::ZERO, LOOK_EVERY),
        ] {
            assert_eq!(stay(patience, waited), expected, "{patience:?}, {waited:?}");
        }
    }

    /// A call of a client that keeps its place until it has to give way, and then comes again.
    async fn comes_again(admission: Arc<Admission>) {
        while let Ok(admitted) = admission.admit().await {
            let stay = admission.stay(true);
            stay.waits_for_client(true);
            stay.gives_way().cancelled().await;
            drop(admitted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn call_is_let_in_however_many_slow_ones_wait_with_it() {
        for instances in [InstanceMode::Fresh, InstanceMode::Singleton] {
            for n_slow in [1, 3, 30, 60] {
                let config = config(1, 100).with_instances(instances);
                let admission = Arc::new(Admission::new(&config, Everywhere::new(100)));
                let mut slow = tokio::task::JoinSet::new();
                for _ in 0..n_slow {
                    slow.spawn(comes_again(Arc::clone(&admission)));
                }
                for _ in 0..5 {
                    let start = Instant::now();
                    assert!(admission.admit().await.is_ok(), "{n_slow} slow calls");
                    // All of them together keep it for little longer than one of them would.
                    let most = PATIENCE / 4 + (n_slow + 1) * LOOK_EVERY;
                    assert!(start.elapsed() <= most, "{n_slow}: {:?}", start.elapsed());
                }
                assert!(slow.try_join_next().is_none(), "a slow call was refused");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn call_that_goes_last_gets_a_place_that_nobody_else_waits_for() {
        let admission = admission(1, 1);
        let first = admission.try_admit().expect("the first place is free");
        let mut last = pin!(admission.admit_last());
        assert!(poll_immediate(last.as_mut()).await.is_none());
        let mut second = pin!(admission.admit());
        assert!(poll_immediate(second.as_mut()).await.is_none());
        drop(first);
        tokio::time::advance(2 * LOOK_EVERY).await;
        assert!(poll_immediate(last.as_mut()).await.is_none(), "another one is in the queue");
        drop(second.await.expect("there is a place"));
        let _last = last.await;
        assert!(admission.try_admit().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_go_last_give_way_to_each_other() {
        let admission = admission(1, 1);
        let start = Instant::now();
        let turn = async || {
            let admitted = admission.admit_last().await;
            let stay = admission.stay(false);
            stay.waits_for_client(true);
            stay.gives_way().cancelled().await;
            drop(admitted);
        };
        let (_, last) = tokio::join!(async { tokio::join!(turn(), turn()) }, async {
            tokio::time::sleep(LOOK_EVERY).await;
            admission.admit_last().await
        });
        assert!(start.elapsed() >= 2 * (PATIENCE / 4), "{:?}", start.elapsed());
        drop(last);
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_a_singleton_streams_gives_way_whatever_its_client_does() {
        let config = config(1, 1).with_instances(InstanceMode::Singleton);
        let admission = Admission::new(&config, Everywhere::new(100));
        let first = admission.admit().await.expect("the first place is free");
        let stay = admission.stay(true);
        let leaving = async {
            stay.gives_way().cancelled().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(admission.admit(), leaving);
        assert!(second.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn place_of_the_host_is_given_back_by_a_call_of_another_handler() {
        let everywhere = Everywhere::new(1);
        let [one, other] = [(); 2].map(|()| Admission::new(&config(2, 1), everywhere.clone()));
        let first = one.admit().await.expect("the first place is free");
        let stay = one.stay(true);
        stay.waits_for_client(true);
        let leaving = async {
            stay.gives_way().cancelled().await;
            drop(first);
        };
        let (second, ()) = tokio::join!(other.admit(), leaving);
        assert!(second.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_goes_away_gives_its_place_back() {
        let admission = admission(1, 1);
        let _first = admission.admit().await.expect("the first place is free");
        {
            let mut waiting = Box::pin(admission.admit());
            assert!(poll_immediate(waiting.as_mut()).await.is_none());
        }
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
