//! What a request stands for where it says only a part: the settings of a component, the component of
//! settings.

use std::sync::Arc;

use super::Guest;
use super::task::Task;
use crate::artifact::{Candidate, Release};
use crate::config::Settings;
use crate::error::StageError;
use crate::events::Serving;

impl<G: Guest> Task<G> {
    /// What a candidate runs with for which `settings` were asked.
    ///
    /// # Errors
    ///
    /// [`StageError::Settings`] and [`StageError::Singleton`].
    pub(super) fn settings_for(
        &self,
        settings: Option<Settings>,
        is_standing: bool,
    ) -> Result<Arc<Settings>, StageError> {
        let of_active = self.active.as_ref().filter(|_| !is_standing);
        let settings = match (settings, of_active) {
            (Some(settings), _) => Arc::new(settings),
            (None, Some(version)) => Arc::clone(&version.release.settings),
            (None, None) => self.handler.configured(),
        };
        settings.check()?;
        // The places of calls are the handler's, and a singleton has one.
        if settings.is_single() != self.handler.is_single() {
            return Err(StageError::Singleton);
        }
        Ok(settings)
    }

    /// The component that serves, for a change of settings alone.
    pub(super) fn component_that_serves(&self) -> Result<Candidate, StageError> {
        let version = self.active.as_ref().ok_or(StageError::NothingServes)?;
        Ok(self.release_of(version).candidate)
    }

    /// What serves, if that is `release`, its secrets included.
    pub(super) fn serving_as(&self, release: &Release) -> Option<Serving> {
        let active = &self.active.as_ref()?.release;
        let is_it = active.digest == release.digest && active.settings == release.settings;
        self.handler.serving().filter(|_| is_it)
    }
}
