//! Figures about the connections of the data plane: how many are open, and what kept others out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Figures about the connections of one runtime's data plane, over all its listeners.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCounts {
    open: AtomicU64,
    places_lacked: AtomicU64,
    descriptors_lacked: AtomicU64,
    failures: AtomicU64,
}

/// What keeps a connection out for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// All connections that `max_connections` allows are open.
    Places,
    /// Connections have all file descriptors that they may have.
    Descriptors,
    /// The system did not hand the connection over.
    Failed,
}

impl Lack {
    /// Every lack there is.
    #[cfg(feature = "admin")]
    pub(crate) const ALL: [Self; 3] = [Self::Places, Self::Descriptors, Self::Failed];

    /// The label of the lack in a metric.
    #[cfg(feature = "admin")]
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Places => "places",
            Self::Descriptors => "descriptors",
            Self::Failed => "error",
        }
    }
}

/// A connection that is counted as open as long as this lives.
#[derive(Debug)]
pub(super) struct Open(Arc<ConnectionCounts>);

// Ordering, of all atomics here: they are figures, and publish nothing.
impl ConnectionCounts {
    pub(super) fn opened(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    pub(super) fn lacked(&self, lack: Lack) {
        self.of(lack).fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// How often connections had to wait because of `lack`.
    #[cfg(any(test, feature = "admin"))]
    pub(crate) fn times(&self, lack: Lack) -> u64 {
        self.of(lack).load(Ordering::Relaxed)
    }

    fn of(&self, lack: Lack) -> &AtomicU64 {
        match lack {
            Lack::Places => &self.places_lacked,
            Lack::Descriptors => &self.descriptors_lacked,
            Lack::Failed => &self.failures,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
