//! Compiling into the cache directory, before anything is to run.

use std::time::Duration;

use super::Runtime;
use crate::artifact::{Goal, Source};
use crate::contract::served::Kind;
use crate::contract::{self, ContractError};
use crate::error::StageError;
use crate::stage::Shared;

impl Runtime {
    /// Compiles the component at `source` into the cache directory, unless its code is there;
    /// returns how long that took. With `ahead` on a thread that gives way to everything else, for
    /// what nobody waits for.
    ///
    /// # Errors
    ///
    /// [`StageError`] when it cannot be read or compiled, or was built for another version of an
    /// interface than is called or offered here.
    ///
    /// # Cancel safety
    ///
    /// What was begun goes on.
    pub async fn precompile(
        &self,
        source: Source,
        ahead: bool,
    ) -> Result<Option<Duration>, StageError> {
        precompile(&self.inner.shared, source, ahead).await
    }
}

/// [`Runtime::precompile`] with what a runtime shares with its handlers.
///
/// # Errors
///
/// As [`Runtime::precompile`].
///
/// # Cancel safety
///
/// As [`Runtime::precompile`].
pub(super) async fn precompile(
    shared: &Shared,
    source: Source,
    ahead: bool,
) -> Result<Option<Duration>, StageError> {
    let artifacts = &shared.artifacts;
    let candidate = artifacts.open(source).await?;
    if let Some(survey) = artifacts.survey(&candidate).await? {
        let world = match Kind::of(&survey.exports) {
            Ok(kind) => kind.world(),
            Err(error @ ContractError::ExportVersion { .. }) => return Err(error.into()),
            // A world of the embedder's own, which only its stage can judge.
            Err(_) => Kind::Http03.world(),
        };
        contract::refuse_prereleases(&survey.imports, world, shared.config.wasi03)?;
    }
    artifacts.prepare(&candidate, if ahead { Goal::Best } else { Goal::Soon }).await
}
