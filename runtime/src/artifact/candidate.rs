//! A candidate: a component to be staged, known by its digest, its bytes read when they are needed.

use std::sync::Arc;

use bytes::Bytes;

use super::{Source, blocking, read};
use crate::error::StageError;
use crate::id::Digest;

/// See the [module](self). Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) digest: Digest,
    /// Size of the component in bytes.
    pub(crate) size: u64,
    source: Arc<Source>,
    /// Absent when the digest was known without reading a file, or the bytes are no longer needed.
    bytes: Option<Bytes>,
}

impl Candidate {
    /// Reads `source` off the async threads.
    ///
    /// # Errors
    ///
    /// [`StageError::Read`] and its siblings.
    pub(crate) async fn read(source: Source) -> Result<Self, StageError> {
        blocking(move || Self::read_now(source)).await
    }

    /// [`Candidate::read`], on this thread.
    pub(super) fn read_now(source: Source) -> Result<Self, StageError> {
        let bytes: Bytes = match &source {
            Source::File(path) => read::stable(path)?.into(),
            Source::Bytes(bytes) => bytes.clone(),
        };
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        Ok(Self { digest, size, source: Arc::new(source), bytes: Some(bytes) })
    }

    /// The candidate of a file whose digest is remembered from an earlier read.
    pub(super) fn remembered(source: Source, digest: Digest, size: u64) -> Self {
        Self { digest, size, source: Arc::new(source), bytes: None }
    }

    /// The component's bytes, read again if need be. Blocks.
    ///
    /// # Errors
    ///
    /// [`StageError::Changed`] when the file is no longer the one of this digest, or
    /// [`StageError::Read`] and its siblings.
    pub(crate) fn bytes(&self) -> Result<Bytes, StageError> {
        if let Some(bytes) = &self.bytes {
            return Ok(bytes.clone());
        }
        let again = Self::read_now((*self.source).clone())?;
        match again.bytes {
            Some(bytes) if again.digest == self.digest => Ok(bytes),
            _ => Err(StageError::Changed {
                digest: self.digest.short(),
                found: again.digest.short(),
            }),
        }
    }

    /// The same candidate, found in another place by whoever has to read it again. One that never was
    /// in a file has its bytes.
    pub(crate) fn found_at(self, source: Source) -> Self {
        match *self.source {
            Source::File(_) => Self { source: Arc::new(source), ..self },
            Source::Bytes(_) => self,
        }
    }

    /// The same candidate without bytes that can be read again.
    pub(crate) fn without_bytes(self) -> Self {
        match *self.source {
            Source::File(_) => Self { bytes: None, ..self },
            Source::Bytes(_) => self,
        }
    }
}
