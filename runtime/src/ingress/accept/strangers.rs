//! Connections of the control plane that have not shown its token: few, for a short time, and none of
//! them keeps a newer one out.
//!
//! Anybody on the machine can open them. If their number were only bounded, the ones that stay would be
//! those of whoever came first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Connections without a token that are open at once. Beyond it the oldest one ends. Probes of health and
/// readiness need a few, and a client with a token is among them for one request only.
const MAX_STRANGERS: usize = 128;

/// Longest time that a connection may take to show the token. A probe that keeps its connection connects
/// again after that.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections with a token that are open at once: people, scripts, and streams of events, of which some
/// leak. Beyond it a connection stays a stranger, whatever it shows.
const MAX_KNOWN: usize = 256;

/// All connections of one listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Strangers(Arc<Mutex<Connections>>);

#[derive(Debug, Default)]
struct Connections {
    /// The oldest first.
    strangers: VecDeque<(u64, CancellationToken)>,
    n_known: usize,
    n_ever: u64,
}

/// One connection, which its requests carry among their extensions.
#[derive(Debug, Clone)]
pub(crate) struct Stranger {
    all: Strangers,
    number: u64,
    /// Cancelled when a newer connection takes its place.
    displaced: CancellationToken,
    /// Cancelled when one of its requests has shown the token.
    known: CancellationToken,
}

impl Strangers {
    /// A new connection, for which the oldest stranger may have to go.
    pub(super) fn enter(&self) -> Entered {
        let displaced = CancellationToken::new();
        let mut all = self.lock();
        all.n_ever += 1;
        let number = all.n_ever;
        if all.strangers.len() == MAX_STRANGERS {
            all.displace_oldest();
        }
        all.strangers.push_back((number, displaced.clone()));
        drop(all);
        let known = CancellationToken::new();
        Entered(Stranger { all: self.clone(), number, displaced, known })
    }

    /// Ends the oldest stranger, for want of what it holds.
    pub(super) fn displace_oldest(&self) {
        self.lock().displace_oldest();
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        // Each connection is put in and taken out whole, so a panic elsewhere leaves them sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    fn displace_oldest(&mut self) {
        if let Some((_, oldest)) = self.strangers.pop_front() {
            oldest.cancel();
        }
    }
}

impl Stranger {
    /// A request of this connection has shown the token.
    pub(crate) fn shows_token(&self) {
        let mut all = self.all.lock();
        let found = all.strangers.iter().position(|(number, _)| *number == self.number);
        if let Some(found) = found
            && all.n_known < MAX_KNOWN
        {
            all.strangers.remove(found);
            all.n_known += 1;
            self.known.cancel();
        }
    }
}

/// A connection until it ends, when this is dropped.
#[derive(Debug)]
pub(super) struct Entered(Stranger);

impl Entered {
    /// What its requests carry.
    pub(super) fn stranger(&self) -> Stranger {
        self.0.clone()
    }

    /// Ready when the connection has to end.
    pub(super) async fn must_leave(&self) {
        let Stranger { displaced, known, .. } = &self.0;
        tokio::select! {
            () = displaced.cancelled() => {}
            () = tokio::time::sleep(PATIENCE) => {
                if known.is_cancelled() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut all = self.0.all.lock();
        if self.0.known.is_cancelled() {
            all.n_known -= 1;
        } else {
            all.strangers.retain(|(number, _)| *number != self.0.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn must_leave(connection: &Entered) -> bool {
        connection.must_leave().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn newest_connection_displaces_the_oldest_stranger_and_nobody_who_is_known() {
        let all = Strangers::default();
        let known = all.enter();
        known.stranger().shows_token();
        let strangers: Vec<_> = (0..MAX_STRANGERS).map(|_| all.enter()).collect();
        assert!(!strangers.iter().any(must_leave), "there is room for them");
        let newest = all.enter();
        assert!(must_leave(&strangers[0]) && !strangers[1..].iter().any(must_leave));
        assert!(!must_leave(&newest) && !must_leave(&known));
        drop((strangers, newest));
        assert!(all.lock().strangers.is_empty());
        drop(known);
        assert_eq!(all.lock().n_known, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn stranger_has_its_time_and_who_is_known_has_no_end() {
        let all = Strangers::default();
        let (stranger, known) = (all.enter(), all.enter());
        known.stranger().shows_token();
        let start = tokio::time::Instant::now();
        stranger.must_leave().await;
        assert_eq!(start.elapsed(), PATIENCE);
        assert!(tokio::time::timeout(100 * PATIENCE, known.must_leave()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_with_a_token_are_bounded_too() {
        let all = Strangers::default();
        let connections: Vec<_> = (0..MAX_KNOWN + 1)
            .map(|_| {
                let connection = all.enter();
                connection.stranger().shows_token();
                connection
            })
            .collect();
        assert_eq!(all.lock().n_known, MAX_KNOWN);
        assert_eq!(all.lock().strangers.len(), 1);
        drop(connections);
        assert_eq!(all.lock().n_known, 0);
        assert!(all.lock().strangers.is_empty());
    }
}
