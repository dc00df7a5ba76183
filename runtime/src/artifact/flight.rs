//! Single flight: however many ask for the same thing at once, it is made once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Flights<K, T> {
    running: Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>,
}

impl<K, T> Flights<K, T>
where
    K: Copy + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self { running: Arc::default() }
    }

    /// The result of the flight for `key`, which `make` starts if there is none. `None` when the
    /// runtime ends first, or `make` panics.
    ///
    /// # Cancel safety
    ///
    /// The flight goes on when this is dropped, for whoever else waits for it or asks next.
    pub(super) async fn join<F>(&self, key: K, make: impl FnOnce() -> F) -> Option<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut landed = match lock(&self.running).entry(key) {
            Entry::Occupied(running) => running.get().clone(),
            Entry::Vacant(vacant) => {
                let (land, landed) = watch::channel(None);
                vacant.insert(landed.clone());
                let landing = Landing { running: Arc::clone(&self.running), key };
                let flight = make();
                tokio::spawn(async move {
                    let result = flight.await;
                    // Off the board first: whoever asks from now on finds the result elsewhere, or
                    // starts anew.
                    drop(landing);
                    // An error means that nobody waits any more.
                    let _ = land.send(Some(result));
                });
                landed
            }
        };
        let result = landed.wait_for(Option::is_some).await.ok()?;
        result.clone()
    }
}

/// Takes a flight off the board, also when it panics or is dropped with its runtime.
struct Landing<K: Eq + Hash + Copy, T> {
    running: Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>,
    key: K,
}

impl<K: Eq + Hash + Copy, T> Drop for Landing<K, T> {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Entries are inserted and removed whole, so a panic elsewhere leaves the map sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_share_one_flight() {
        let (flights, made, go) =
            (Flights::new(), AtomicUsize::new(0), Arc::new(Semaphore::new(0)));
        let ask = || {
            flights.join('a', || {
                made.fetch_add(1, Ordering::Relaxed);
                let go = Arc::clone(&go);
                async move {
                    go.acquire().await.expect("it stays open").forget();
                    7
                }
            })
        };
        let waiting = futures::future::join_all((0..64).map(|_| ask()));
        let (results, ()) = tokio::join!(waiting, async { go.add_permits(1) });
        assert!(results.into_iter().all(|it| it == Some(7)));
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert!(lock(&flights.running).is_empty(), "a flight that has ended is forgotten");
    }

    #[tokio::test]
    async fn a_flight_survives_the_one_who_started_it() {
        let (flights, go) = (Flights::new(), Arc::new(Semaphore::new(0)));
        let made = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let (go, made) = (Arc::clone(&go), Arc::clone(&made));
            flights.join('a', move || async move {
                made.fetch_add(1, Ordering::Relaxed);
                go.acquire().await.expect("it stays open").forget();
                7
            })
        };
        assert!(futures::future::poll_immediate(Box::pin(ask())).await.is_none());
        let (second, ()) = tokio::join!(ask(), async { go.add_permits(1) });
        assert_eq!(second, Some(7));
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_flight_that_panics_frees_those_who_wait() {
        let flights = Flights::<_, u8>::new();
        let failed = flights.join('a', || async { panic!("a defect") }).await;
        assert_eq!(failed, None);
        assert_eq!(flights.join('a', || async { 1 }).await, Some(1));
    }
}
