//! The values that [`HandlerConfig::check`](super::HandlerConfig::check) and its like refuse.

use std::time::Duration;

/// A field whose value could never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A timeout of nothing.
    #[error("expected `{field}` to be longer than zero")]
    ZeroDuration {
        /// The field's name.
        field: &'static str,
    },
    /// A limit of none.
    #[error("expected `{field}` to be 1 or more, found 0")]
    ZeroCount {
        /// The field's name.
        field: &'static str,
    },
    /// A limit that nothing could count to.
    #[error("expected `{field}` to be 1000000 or less, found {count}")]
    Count {
        /// The field's name.
        field: &'static str,
        /// The count that was asked for.
        count: usize,
    },
    /// Memory for all guests together that not one of them fits.
    #[error("expected `guest_memory` of 64KiB or more, found {bytes} bytes")]
    GuestMemory {
        /// The `guest_memory` that was asked for, in bytes.
        bytes: u64,
    },
    /// A memory limit that no component fits, or that no memory can reach.
    #[error("expected `memory` between 64KiB and 4GiB, found {bytes} bytes")]
    Memory {
        /// The `memory` that was asked for, in bytes.
        bytes: u64,
    },
    /// More state than can be copied between guest and host at once.
    #[error("expected `max_state` of at most 30MiB, found {bytes} bytes")]
    State {
        /// The `max_state` that was asked for, in bytes.
        bytes: u64,
    },
    /// A processor for nothing.
    #[error("expected `busy_poll` of at most 1s, found {pause:?}")]
    BusyPoll {
        /// The `busy_poll` that was asked for.
        pause: Duration,
    },
    /// What is no set of statuses.
    #[error("expected statuses such as `5xx`, `503`, `500-502, 429` or `none`, found `{}`", .found.escape_debug())]
    Statuses {
        /// What was given.
        found: String,
    },
    /// A factor by which a version may be slower that no version could keep to, or that says nothing.
    #[error("expected `max_slowdown` between 1.0 and 1000000.0, found `{found}`")]
    Slowdown {
        /// What was given.
        found: String,
    },
    /// A probe that is no path.
    #[error("expected `probe` to be a path such as `/healthz`, found `{path}`")]
    Probe {
        /// What was given.
        path: String,
    },
}
