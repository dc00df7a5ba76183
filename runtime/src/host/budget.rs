//! What the guests of a runtime share: memory and connections to elsewhere, and how much each may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::RuntimeConfig;
use crate::limit::{Held, Limit};

/// What all guests of a runtime share. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    outgoing: Arc<Semaphore>,
    memory: Arc<GuestMemory>,
}

impl Budget {
    pub(crate) fn new(config: &RuntimeConfig) -> Self {
        let outgoing = Arc::new(Semaphore::new(config.max_outgoing));
        let (limit, used) = (config.guest_memory, AtomicU64::new(0));
        Self { outgoing, memory: Arc::new(GuestMemory { limit, used }) }
    }

    pub(super) fn memory(&self) -> &Arc<GuestMemory> {
        &self.memory
    }
}

/// Bytes that a store may have of the last quarter of all guests' memory, so that small handlers are
/// answered still when large ones have used the rest.
const SMALL: u64 = 8 * 1024 * 1024;

/// The memory of all guests together.
#[derive(Debug)]
pub(super) struct GuestMemory {
    limit: u64,
    used: AtomicU64,
}

/// All guests together use what they may; ends the store that asked for more.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("all guests together use the {limit} bytes of memory that they may have")]
pub(crate) struct GuestMemoryExceeded {
    pub(crate) limit: u64,
}

impl GuestMemory {
    /// Takes `by` bytes for a store that has `held` then.
    pub(super) fn take(&self, by: u64, held: u64) -> Result<(), GuestMemoryExceeded> {
        let limit = if held <= SMALL { self.limit } else { self.limit / 4 * 3 };
        // Taken only where it fits: what was added and given back again would keep others out meanwhile.
        let fits = |used: u64| used.checked_add(by).filter(|used| *used <= limit);
        // Ordering, here and below: a figure that guards no other data.
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(drop).map_err(|_| GuestMemoryExceeded { limit: self.limit })
    }

    pub(super) fn give(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The outgoing requests that the stores of one handler may have open, and all stores together. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    everywhere: Arc<Semaphore>,
    handler: Arc<Limit>,
}

impl Outgoing {
    /// Those of a handler that may have as many as `handler` says, over all of its versions.
    pub(crate) fn new(budget: &Budget, handler: Arc<Limit>) -> Self {
        Self { everywhere: Arc::clone(&budget.outgoing), handler }
    }

    /// The places of one store.
    pub(super) fn of_store(&self) -> Places {
        let store = Arc::new(Semaphore::new(PER_STORE));
        Places { shared: self.clone(), store, kept: Arc::default() }
    }
}

/// Outgoing requests that one store may have open. As many as a page of a hundred parts can use, and
/// not all of its handler's.
const PER_STORE: usize = 64;

/// The outgoing requests of one store. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Places {
    shared: Outgoing,
    store: Arc<Semaphore>,
    /// Bytes that the host keeps for requests that are under way.
    kept: Arc<AtomicUsize>,
}

/// A request that is under way: its place once it has one, and what the host keeps for it.
#[derive(Debug)]
pub(super) struct UnderWay {
    places: Places,
    bytes: usize,
    /// Of the store and of all, and of the handler.
    permits: Option<([OwnedSemaphorePermit; 2], Held)>,
}

impl Places {
    /// A request begins for which the host keeps so many `bytes`.
    pub(super) fn begin(&self, bytes: usize) -> UnderWay {
        // Ordering, here and below: a figure that guards no other data.
        self.kept.fetch_add(bytes, Ordering::Relaxed);
        UnderWay { places: self.clone(), bytes, permits: None }
    }

    /// Bytes that the host keeps for requests that are under way.
    pub(super) fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

impl UnderWay {
    /// Waits for a place among the requests of the store, of the handler and of all.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives back what it waited for.
    pub(super) async fn enter(&mut self) {
        let Places { shared, store, .. } = &self.places;
        // From the narrow to the wide: who waits here holds nothing that others wait for.
        let store = Arc::clone(store).acquire_owned().await;
        let handler = shared.handler.take().await;
        let everywhere = Arc::clone(&shared.everywhere).acquire_owned().await;
        // The semaphores are never closed, so all are here.
        if let (Ok(store), Ok(everywhere)) = (store, everywhere) {
            self.permits = Some(([everywhere, store], handler));
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.places.kept.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::future::poll_immediate;

    use super::*;

    fn outgoing(budget: &Budget, places: usize) -> Outgoing {
        Outgoing::new(budget, Arc::new(Limit::new(places)))
    }

    #[test]
    fn large_stores_leave_a_quarter_to_small_ones_and_all_is_given_back() {
        let memory = GuestMemory { limit: 100 << 20, used: AtomicU64::new(0) };
        memory.take(75 << 20, 75 << 20).unwrap();
        let error = memory.take(1, SMALL + 1).unwrap_err();
        assert_eq!(error.limit, 100 << 20);
        memory.take(25 << 20, SMALL).unwrap();
        assert!(memory.take(1, 1).is_err());
        memory.give(100 << 20);
        assert_eq!(memory.used.into_inner(), 0);
    }

    async fn enters(places: &Places) -> Option<UnderWay> {
        let mut request = places.begin(1);
        // Whether there is a place is asked, not whether the task has done enough for now.
        let entering = tokio::task::unconstrained(request.enter());
        let entered = poll_immediate(Box::pin(entering)).await.is_some();
        entered.then_some(request)
    }

    #[tokio::test]
    async fn requests_are_bounded_for_each_store_handler_and_runtime() {
        let config = RuntimeConfig { max_outgoing: 200, ..RuntimeConfig::default() };
        let budget = Budget::new(&config);
        let (one, other) = (outgoing(&budget, 100), outgoing(&budget, 1000));
        let (first, second) = (one.of_store(), one.of_store());
        let mut open = Vec::new();
        let mut open_all = async |places: &Places| {
            let before = open.len();
            while let Some(request) = enters(places).await {
                open.push(request);
            }
            open.len() - before
        };
        assert_eq!(open_all(&first).await, PER_STORE, "of the store");
        assert_eq!(open_all(&second).await, 100 - PER_STORE, "of the handler");
        assert_eq!(open_all(&other.of_store()).await, PER_STORE);
        assert_eq!(open_all(&other.of_store()).await, 100 - PER_STORE, "of the runtime");
        assert_eq!((first.kept(), second.kept()), (PER_STORE, 100 - PER_STORE));
        open.clear();
        assert_eq!((first.kept(), second.kept()), (0, 0));
        assert!(enters(&second).await.is_some());
    }
}
