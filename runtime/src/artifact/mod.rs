//! An artifact: a component's digest and its compiled code.

mod compile;
#[allow(dead_code, reason = "nothing opens a cache on disk yet")]
mod disk;
#[allow(dead_code, reason = "only the memo keeps a fingerprint")]
mod fingerprint;
#[allow(dead_code, reason = "nothing saves functions yet")]
mod functions;
mod kind;
#[allow(dead_code, reason = "nothing keeps digests yet")]
mod memo;
mod read;
mod wasi03;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::Component;

use crate::error::StageError;
use crate::events::{CompiledBy, Tier};
use crate::id::Digest;

pub(crate) use compile::compile;
pub use disk::CacheUnavailable;

/// A candidate that passed every check, with the figures for its event.
#[derive(Debug)]
pub(crate) struct Staged<R> {
    pub(crate) ready: R,
    /// Size of the component in bytes.
    pub(crate) bytes: u64,
    pub(crate) compile_time: Duration,
    pub(crate) compiled_by: CompiledBy,
    pub(crate) tier: Tier,
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

/// Component bytes and their digest, belonging together for good.
#[derive(Debug, Clone)]
pub(crate) struct ComponentBytes {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
}

impl ComponentBytes {
    /// Reads `source` off the async threads.
    ///
    /// # Errors
    ///
    /// [`StageError::Read`] and its siblings.
    pub(crate) async fn load(source: Source) -> Result<Self, StageError> {
        blocking(move || {
            let bytes = match source {
                Source::File(path) => read::stable(&path)?.into(),
                Source::Bytes(bytes) => bytes,
            };
            Ok(Self { digest: Digest::of(&bytes), bytes })
        })
        .await
    }
}

/// See the [module](self).
#[derive(Clone)]
pub(crate) struct Artifact {
    pub(crate) digest: Digest,
    pub(crate) component: Component,
    /// Size of the component in bytes.
    pub(crate) bytes: u64,
    /// From component bytes to executable code.
    pub(crate) compile_time: Duration,
    pub(crate) compiled_by: CompiledBy,
    pub(crate) tier: Tier,
}

impl Artifact {
    /// A staged candidate of this artifact, with the figures of its compilation.
    pub(crate) fn staged<R>(&self, ready: R) -> Staged<R> {
        Staged {
            ready,
            bytes: self.bytes,
            compile_time: self.compile_time,
            compiled_by: self.compiled_by,
            tier: self.tier,
        }
    }
}

/// Runs `work` on a thread that may block; a runtime that is shutting down refuses.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StageError> + Send + 'static,
) -> Result<T, StageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StageError::ShuttingDown),
        },
    }
}
