//! A mailbox of one: at most one request waits, and a newer one takes its place.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Mailbox<T> {
    slot: Mutex<Slot<T>>,
    changed: Notify,
}

#[derive(Debug)]
enum Slot<T> {
    Empty,
    Waiting(T),
    /// Nobody will look again.
    Closed,
}

/// What became of a request put into the mailbox.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the one who was displaced or refused has to be told"]
pub(super) enum Put<T> {
    /// It waits for its turn.
    Accepted,
    /// It waits in place of this older one.
    Displaced(T),
    /// The mailbox is closed; here it is back.
    Refused(T),
}

impl<T> Mailbox<T> {
    pub(super) fn new() -> Self {
        Self { slot: Mutex::new(Slot::Empty), changed: Notify::new() }
    }

    /// Replaces whatever waits with `request`.
    #[cfg(test)]
    pub(super) fn put(&self, request: T) -> Put<T> {
        self.put_over(request, |_, _| {})
    }

    /// Replaces whatever waits with `request`, which takes over from it what `inherit` says.
    pub(super) fn put_over(&self, mut request: T, inherit: impl FnOnce(&mut T, &T)) -> Put<T> {
        let mut slot = self.lock();
        if let Slot::Waiting(older) = &*slot {
            inherit(&mut request, older);
        }
        let put = match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Closed => {
                *slot = Slot::Closed;
                return Put::Refused(request);
            }
            Slot::Empty => Put::Accepted,
            Slot::Waiting(older) => Put::Displaced(older),
        };
        *slot = Slot::Waiting(request);
        drop(slot);
        // There is one taker; a permit is stored when it is busy.
        self.changed.notify_one();
        put
    }

    /// Puts `request` where nothing waits; here it is back otherwise.
    pub(super) fn put_if_empty(&self, request: T) -> Result<(), T> {
        let mut slot = self.lock();
        if !matches!(*slot, Slot::Empty) {
            return Err(request);
        }
        *slot = Slot::Waiting(request);
        drop(slot);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the waiting request, waiting for one if need be.
    ///
    /// # Cancel safety
    ///
    /// Nothing is taken when this is dropped before it is ready.
    pub(super) async fn take(&self) -> T {
        loop {
            if let Slot::Waiting(request) = self.swap_if_waiting() {
                return request;
            }
            self.changed.notified().await;
        }
    }

    /// Ready when a request waits that `is_it`, without taking it.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, dropped or not.
    pub(super) async fn waiting(&self, is_it: impl Fn(&T) -> bool) {
        while !matches!(&*self.lock(), Slot::Waiting(request) if is_it(request)) {
            self.changed.notified().await;
        }
    }

    /// Closes the mailbox and returns what waited.
    pub(super) fn close(&self) -> Option<T> {
        match std::mem::replace(&mut *self.lock(), Slot::Closed) {
            Slot::Waiting(request) => Some(request),
            Slot::Empty | Slot::Closed => None,
        }
    }

    fn swap_if_waiting(&self) -> Slot<T> {
        let mut slot = self.lock();
        match *slot {
            Slot::Waiting(_) => std::mem::replace(&mut *slot, Slot::Empty),
            Slot::Empty | Slot::Closed => Slot::Empty,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slot<T>> {
        // The slot is only ever replaced whole, so a panic cannot leave it half changed.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_request_is_taken_and_the_older_is_told() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.put(1), Put::Accepted);
        assert_eq!(mailbox.put(2), Put::Displaced(1));
        mailbox.waiting(|_| true).await;
        assert_eq!(mailbox.take().await, 2);
        assert!(futures::future::poll_immediate(mailbox.take()).await.is_none());
    }

    #[tokio::test]
    async fn a_closed_mailbox_gives_everything_back() {
        let mailbox = Mailbox::new();
        assert_eq!(mailbox.put(1), Put::Accepted);
        assert_eq!(mailbox.close(), Some(1));
        assert_eq!(mailbox.put(2), Put::Refused(2));
        assert_eq!(mailbox.close(), None);
    }
}
