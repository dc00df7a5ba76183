//! Artifacts: a component's digest and its compiled code, and the ways to get it.
//!
//! In order: code in memory, verified files of the cache directory, the function cache, the
//! compiler. What is asked for by many at once is made once.

mod candidate;
mod compile;
mod disk;
mod estimate;
mod fingerprint;
mod flight;
mod functions;
#[cfg(any(feature = "fuzz", all(test, feature = "admin", feature = "dev")))]
pub(crate) mod fuzz;
mod kind;
mod load;
mod memo;
mod memory;
mod pipeline;
mod read;
mod release;
mod survey;
mod tally;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Panic, StageError};
use crate::events::{CompiledBy, Tier};

pub(crate) use candidate::Candidate;
pub use disk::CacheUnavailable;
pub(crate) use disk::{DiskCache, EntryInfo, EntryKind};
pub(crate) use memory::{Artifact, Lease, Tenant};
pub(crate) use pipeline::{Artifacts, Obtained};
pub(crate) use release::Release;
pub(crate) use survey::Survey;
pub use tally::{CacheReport, CachedCode, LayerCounts};

/// A candidate that passed every check, with the figures for its event.
#[derive(Debug)]
pub(crate) struct Staged<R> {
    pub(crate) ready: R,
    /// Keeps the compiled code in memory for as long as `ready` needs it.
    pub(crate) lease: Option<Lease>,
    /// Size of the component in bytes.
    pub(crate) bytes: u64,
    pub(crate) compile_time: Duration,
    pub(crate) compiled_by: CompiledBy,
    pub(crate) tier: Tier,
}

/// Which code is wanted, and who waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Goal {
    /// What can be had first; somebody waits.
    Soon,
    /// Optimized code; somebody waits.
    BestSoon,
    /// Optimized code; nobody waits.
    Best,
}

/// Where a candidate's bytes come from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Source {
    /// A file, read when the swap's turn comes, whole and unchanging.
    File(PathBuf),
    /// Bytes at hand.
    Bytes(Bytes),
}

impl Source {
    /// A component file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// A component in memory.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// Runs `work` on a thread that may block.
///
/// # Errors
///
/// Those of `work`, its panic, or the end of the tokio runtime that has the thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StageError> + Send + 'static,
) -> Result<T, StageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(match error.try_into_panic() {
            Ok(payload) => Panic::of(&*payload).into(),
            Err(_) => StageError::AsyncEnded,
        }),
    }
}
