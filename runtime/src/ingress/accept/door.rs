//! Takes connections off a listener: how many, and what of the process they may use up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::counts::{ConnectionCounts, Lack, Open};
use super::descriptors::Descriptors;
#[cfg(feature = "admin")]
use super::strangers::Stranger;
use super::strangers::{Entered, Strangers};
use crate::events::Folded;

/// Pause after which it is looked again whether a file descriptor or memory is free: connections that end
/// meanwhile give some back, and the loop must not spin until then.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A listener and its rule.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    rule: Rule,
    descriptors: Descriptors,
    /// The figures of the data plane; the control plane's go nowhere.
    counts: Arc<ConnectionCounts>,
    /// A connection that waits until descriptors are free.
    waiting: Option<(TcpStream, Held)>,
    places_lacked: Folded,
    descriptors_lacked: Folded,
    failures: Folded,
}

/// Which connections are taken.
#[derive(Debug)]
pub(super) enum Rule {
    /// So many at once; further ones wait in the system's backlog.
    Places { free: Arc<Semaphore>, n: usize },
    /// All, as long as they show the token soon.
    Strangers(Strangers),
}

/// What a connection has as long as it is open.
#[derive(Debug)]
pub(super) enum Held {
    Place { _place: OwnedSemaphorePermit, _open: Open },
    Entered(Entered),
}

impl Held {
    /// What the requests of the connection carry, if it is a stranger's.
    #[cfg(feature = "admin")]
    pub(super) fn stranger(&self) -> Option<Stranger> {
        match self {
            Self::Place { .. } => None,
            Self::Entered(entered) => Some(entered.stranger()),
        }
    }

    /// Ready when the connection has to end.
    pub(super) async fn must_leave(&self) {
        match self {
            Self::Place { .. } => std::future::pending().await,
            Self::Entered(entered) => entered.must_leave().await,
        }
    }
}

impl Door {
    /// The data plane's, which leaves descriptors to others.
    pub(super) fn with_places(
        listener: TcpListener,
        n: usize,
        counts: Arc<ConnectionCounts>,
    ) -> Self {
        let rule = Rule::Places { free: Arc::new(Semaphore::new(n)), n };
        Self::new(listener, rule, Descriptors::of_data_plane(), counts)
    }

    /// The control plane's.
    #[cfg(feature = "admin")]
    pub(super) fn for_strangers(listener: TcpListener) -> Self {
        let rule = Rule::Strangers(Strangers::default());
        Self::new(listener, rule, Descriptors::all(), Arc::default())
    }

    fn new(
        listener: TcpListener,
        rule: Rule,
        descriptors: Descriptors,
        counts: Arc<ConnectionCounts>,
    ) -> Self {
        Self {
            listener,
            rule,
            descriptors,
            counts,
            waiting: None,
            places_lacked: Folded::default(),
            descriptors_lacked: Folded::default(),
            failures: Folded::default(),
        }
    }

    /// The next connection.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost when this is dropped before it is ready.
    pub(super) async fn next(&mut self) -> (TcpStream, Held) {
        loop {
            if let Some((stream, held)) = self.waiting.take() {
                if self.descriptors.are_enough(&stream) {
                    return (stream, held);
                }
                self.waiting = Some((stream, held));
                self.wait_for_descriptors().await;
                if let Some(next) = self.waiting.take() {
                    return next;
                }
            }
            let place = self.place().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Small chunks of a streamed response must not wait for each other; a failure to
                    // set it only makes them slower.
                    let _ = stream.set_nodelay(true);
                    self.waiting = self.held(place).map(|held| (stream, held));
                }
                Err(error) => self.failed(error).await,
            }
        }
    }

    /// Waits for a place, where the rule has some.
    async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        let Rule::Places { free, n } = &self.rule else { return None };
        if let Ok(place) = Arc::clone(free).try_acquire_owned() {
            return Some(place);
        }
        self.counts.lacked(Lack::Places);
        if let Some(times) = self.places_lacked.met(Instant::now()) {
            tracing::warn!(
                "all {n} connections that `max_connections` allows are open, so further ones wait \
                 for one to end ({times} times since this was told)"
            );
        }
        // The semaphore is never closed.
        Arc::clone(free).acquire_owned().await.ok()
    }

    fn held(&self, place: Option<OwnedSemaphorePermit>) -> Option<Held> {
        match &self.rule {
            Rule::Places { .. } => {
                place.map(|_place| Held::Place { _place, _open: self.counts.opened() })
            }
            Rule::Strangers(strangers) => Some(Held::Entered(strangers.enter())),
        }
    }

    /// Waits until those descriptors are free that the connection which waits must leave to others.
    async fn wait_for_descriptors(&mut self) {
        self.counts.lacked(Lack::Descriptors);
        if let (Some(times), Some(limit)) =
            (self.descriptors_lacked.met(Instant::now()), self.descriptors.limit())
        {
            tracing::warn!(
                "connections have all file descriptors that they may have of the {limit} that the \
                 process may open, so further ones wait for one to end ({times} times since this was \
                 told): raise `ulimit -n`"
            );
        }
        while let Some((stream, _)) = &self.waiting
            && !self.descriptors.are_enough_again(stream)
        {
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
        }
    }

    async fn failed(&mut self, error: io::Error) {
        // Errors of a single connection are noise; the others pass with time.
        if is_of_one_connection(&error) {
            tracing::debug!(%error, "failed to accept a connection");
            return;
        }
        self.counts.lacked(Lack::Failed);
        if let Some(times) = self.failures.met(Instant::now()) {
            tracing::warn!(
                "failed to accept a connection, {times} times since this was told: {error}; raise \
                 `ulimit -n` if that is what is lacking"
            );
        }
        if let Rule::Strangers(strangers) = &self.rule {
            strangers.displace_oldest();
        }
        tokio::time::sleep(EXHAUSTED_PAUSE).await;
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn connection_beyond_the_places_waits_and_is_counted_as_waiting_and_then_as_open() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<ConnectionCounts>::default();
        let mut door = Door::with_places(listener, 1, Arc::clone(&counts));
        let _clients = [TcpStream::connect(address).await, TcpStream::connect(address).await];
        let (_, first) = door.next().await;
        assert_eq!((counts.open(), counts.times(Lack::Places)), (1, 0));
        {
            let mut second = pin!(door.next());
            // The second client is connected, so that a place is all that is lacking.
            let polled = std::future::poll_fn(|context| Poll::Ready(second.as_mut().poll(context)));
            assert!(polled.await.is_pending(), "there is one place");
        }
        assert_eq!((counts.open(), counts.times(Lack::Places)), (1, 1));
        drop(first);
        assert_eq!(counts.open(), 0);
        let (_, _second) = door.next().await;
        assert_eq!((counts.open(), counts.times(Lack::Places)), (1, 1));
    }
}
