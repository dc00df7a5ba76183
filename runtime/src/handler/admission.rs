//! Admission: how many calls of a handler run at once, and how many may wait for their turn.
//!
//! The limits belong to the handler and not to a generation, so a swap neither doubles nor halves
//! them; waiting is fair (first come, first served) and bounded in number and time.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::stays::{Staying, Stays};
use crate::config::{HandlerConfig, InstanceMode};
use crate::id::HandlerName;

/// Longest time that a call keeps its place from those that wait while its guest waits for its client; and
/// that a singleton streams one answer while other calls wait. At most half of the time that calls wait,
/// so that those are answered. Long enough for a client that reads a page with pauses.
const STAY: Duration = Duration::from_secs(5);

/// Pause after which a call that waits looks again whether another one has to give way.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Admission {
    running: Arc<Semaphore>,
    n_places: usize,
    /// Whether the only place is that of the only instance.
    is_single: bool,
    everywhere: Everywhere,
    waiting: AtomicUsize,
    queue: usize,
    patience: Duration,
    /// Calls of this handler that may have to give way.
    stays: Arc<Stays>,
    name: HandlerName,
}

/// The right to run one call; held until its store is no longer needed.
#[derive(Debug)]
pub(crate) struct Admitted {
    _running: OwnedSemaphorePermit,
    _everywhere: OwnedSemaphorePermit,
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
pub(crate) struct Everywhere {
    places: Arc<Semaphore>,
    n_places: usize,
    /// Calls of all handlers that may have to give way.
    stays: Arc<Stays>,
}

impl Everywhere {
    pub(crate) fn new(n_places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(n_places)), n_places, stays: Arc::default() }
    }
}

impl Admission {
    pub(crate) fn new(config: &HandlerConfig, everywhere: Everywhere) -> Self {
        let n_places = config.places();
        Self {
            running: Arc::new(Semaphore::new(n_places)),
            n_places,
            is_single: config.instances == InstanceMode::Singleton,
            everywhere,
            waiting: AtomicUsize::new(0),
            queue: config.queue,
            patience: config.queue_timeout,
            stays: Arc::default(),
            name: config.name.clone(),
        }
    }

    /// Admits a call now, if there is a place.
    pub(crate) fn try_admit(&self) -> Option<Admitted> {
        let running = Arc::clone(&self.running).try_acquire_owned().ok()?;
        let everywhere = Arc::clone(&self.everywhere.places).try_acquire_owned().ok()?;
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
        let has_own = AtomicBool::new(false);
        let turn = async {
            let running = Arc::clone(&self.running).acquire_owned().await;
            // Ordering: both sides are one task.
            has_own.store(true, Ordering::Relaxed);
            let everywhere = Arc::clone(&self.everywhere.places).acquire_owned().await;
            // The semaphores are never closed, so both are here.
            running.ok().zip(everywhere.ok())
        };
        let mut turn = pin!(tokio::time::timeout(self.patience, turn));
        loop {
            // Cancel-safe: the turn is polled again, and keeps its place in the line.
            tokio::select! {
                biased;
                ended = &mut turn => return match ended {
                    Ok(Some((running, everywhere))) => {
                        Ok(Admitted { _running: running, _everywhere: everywhere })
                    }
                    _ => Err(self.refused(has_own.load(Ordering::Relaxed))),
                },
                () = async {
                    self.make_room(has_own.load(Ordering::Relaxed));
                    tokio::time::sleep(LOOK_EVERY).await;
                } => {}
            }
        }
    }

    /// A call that holds a place, and that may have to give way.
    /// What it streams keeps a singleton from others.
    pub(crate) fn stay(&self, streams: bool) -> Staying {
        Staying::new([&self.stays, &self.everywhere.stays], streams && self.is_single)
    }

    /// Lets a call give way to one that waits, which has a place of its handler or not.
    fn make_room(&self, has_own: bool) {
        let limit = STAY.min(self.patience / 2);
        let stays = if has_own { &self.everywhere.stays } else { &self.stays };
        let Some(n) = stays.make_room(Instant::now(), limit) else { return };
        let (handler, places) = (&self.name, if has_own { "the host" } else { "its handler" });
        if self.is_single && !has_own {
            tracing::warn!(
                %handler,
                "an answer that handler `{handler}`, a singleton, was streaming was ended, because \
                 another call waited for its one instance ({n} since this was told)"
            );
        } else {
            tracing::warn!(
                %handler,
                "a call was ended whose client took or sent nothing for {limit:?}, because a call of \
                 handler `{handler}` waited for a place of {places} ({n} since this was told)"
            );
        }
    }

    /// The limit at which a call waited in vain, which had a place of its handler or not.
    fn refused(&self, has_own: bool) -> Refused {
        let patience = self.patience;
        match has_own {
            true => Refused::Host { places: self.everywhere.n_places, patience },
            false if self.is_single => Refused::Singleton { patience },
            false => Refused::Handler { places: self.n_places, patience },
        }
    }

    fn queue_up(&self) -> Result<Place<'_>, Refused> {
        // Ordering: the count guards no other data.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::QueueFull { queue: self.queue });
        }
        Ok(Place(&self.waiting))
    }
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
        // Half of its patience after the client stopped.
        assert_eq!(start.elapsed(), Duration::from_millis(3500));
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
            assert!(futures::future::poll_immediate(waiting.as_mut()).await.is_none());
        }
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
