//! Going back to an earlier version: because somebody asks, or because the active one failed its trial.

use std::sync::Arc;
use std::time::Duration;

use super::book::Earlier;
use super::bring::Bring;
use super::ending::Stop;
use super::past::Version;
use super::protocol::Way;
use super::task::Task;
use super::waits::while_held;
use super::{Answer, Guest, RollbackRequest, Swap};
use crate::artifact::Release;
use crate::error::{Rejected, StageError, caught};
use crate::handler::Hold;
use crate::id::GenerationNumber;

/// Longest that callers are held while the way back from a bad generation is staged. With its code
/// in memory that takes 2 ms; where it has to be compiled, an answer at once is worth more, also
/// from the bad one.
const HOLD_FOR_WAY_BACK: Duration = Duration::from_millis(100);

impl<G: Guest> Task<G> {
    /// Goes back as `request` says.
    pub(super) async fn rollback(&mut self, request: RollbackRequest, stop: &Stop) -> Answer {
        self.go_back(request, Way::Back, stop, None).await
    }

    /// Goes back, as the active generation failed its trial for `reason`.
    pub(super) async fn take_back(&mut self, reason: String) {
        let Some(trial) = self.trial.take() else { return };
        let (stop, handler) = (self.stop.clone(), Arc::clone(&self.handler));
        // Who calls now would only be one more that fails.
        let hold = handler.active().hold();
        // The calls that were its last straws may be answered.
        drop(trial);
        let request = RollbackRequest::new(None).with_cause(reason);
        // A refusal is told as an event; what was active goes on, which is all that is left.
        let _ = self.go_back(request, Way::TakenBack, &stop, hold).await;
    }

    /// Callers that are held already stay so until the publication, unless that takes long.
    async fn go_back(
        &mut self,
        request: RollbackRequest,
        way: Way,
        stop: &Stop,
        hold: Option<Hold<'_, G::Ready>>,
    ) -> Answer {
        let cause = request.cause.clone();
        let ended = tokio::select! {
            biased; // What is done is told, also at the end.
            // Cancel-safe: a candidate that is dropped before its publication was never visible.
            // A panic drops it in the same way.
            ended = caught(self.try_go_back(request, way, hold)) => ended,
            () = stop.handler.cancelled() => Err(stop.reason()),
        };
        match ended {
            Ok(swap) => Ok(swap),
            // Nothing was tried, and the answer tells the caller.
            Err(source @ StageError::NoWayBack { .. }) if way == Way::Back => {
                let (handler, serving) = (self.handler.name().clone(), self.handler.serving());
                Err(Rejected { handler, serving, source })
            }
            Err(source) => Err(self.reject(source, &cause).await),
        }
    }

    async fn try_go_back(
        &mut self,
        request: RollbackRequest,
        way: Way,
        hold: Option<Hold<'_, G::Ready>>,
    ) -> Result<Swap, StageError> {
        let Some(from) = self.handler.serving() else {
            return Err(no_way_back("nothing is active that could be rolled back"));
        };
        let RollbackRequest { to, cause, is_fresh } = request;
        let release = match to {
            Some(to) => {
                let earlier = self.book.version(to).ok_or_else(|| not_there(to))?;
                if self.active.as_ref().is_some_and(|active| earlier.is_of(&active.release)) {
                    return Ok(Swap::Unchanged { serving: from });
                }
                self.version(&earlier).await?.ok_or_else(|| not_there(to))?
            }
            None => self.before().await?,
        };
        // Who asks for a version vouches for it. What nobody asked for, and never proved itself, is on
        // trial again, where another one did: the one behind it may be needed yet.
        let is_proved = way == Way::Back || self.book.is_best_known(&release);
        let again = Bring::again(release, cause);
        // Without waiting for a place among those that drain: the bytes that were taken back do not
        // come again, so this is no way around the bound.
        let back = Bring { back_from: Some(from.generation), way, is_fresh, is_proved, ..again };
        let (prepared, hold) = while_held(hold, HOLD_FOR_WAY_BACK, self.prepare(back)).await;
        self.finish(prepared?, hold).await.map_err(|error| match error {
            // The hints of a swap would not help.
            StageError::Save { .. } | StageError::Restore { .. } => {
                StageError::WayBack { from: from.generation, source: Box::new(error) }
            }
            other => other,
        })
    }

    /// Whether this process ran a version before the active one, and it was not taken back.
    pub(super) fn has_past(&self) -> bool {
        self.latest_past().is_some()
    }

    /// The latest version that this process ran before the active one, and that was not taken back.
    fn latest_past(&self) -> Option<&Version> {
        let active = self.active.as_ref().map(|version| version.release.digest);
        self.past.find(|it| Some(it.digest) != active && !self.book.is_refused(it))
    }

    /// A version that this process ran, read again from where it is kept: the file that it came from
    /// may hold another by now.
    pub(super) fn release_of(&self, version: &Version) -> Release {
        let Release { candidate, settings, .. } = version.release.clone();
        // A secret that was changed since is gone for good, as it is for versions from the disk.
        let settings = Arc::new(settings.with_secrets_of(&self.handler.configured()));
        let release = Release::new(candidate, settings);
        match self.book.component(release.candidate.digest) {
            Some(source) => release.with(|candidate| candidate.found_at(source)),
            None => release,
        }
    }

    /// The version before the active one.
    // `&mut`, as a task that is shared between threads would have to be `Sync`.
    async fn before(&mut self) -> Result<Release, StageError> {
        if let Some(version) = self.latest_past() {
            return Ok(self.release_of(version));
        }
        let active = self.active.as_ref().map(|version| version.release.clone());
        let mut problem = None;
        for earlier in self.book.before(active.as_ref()) {
            match self.version(&earlier).await {
                Ok(Some(release)) => return Ok(release),
                Ok(None) => {}
                Err(error) => {
                    problem.get_or_insert(error);
                }
            }
        }
        Err(problem.unwrap_or_else(|| no_way_back("there is no generation before the active one")))
    }

    /// The version that was written down as `earlier`, if this process ran it, or its component and its
    /// settings were kept.
    async fn version(&mut self, earlier: &Earlier) -> Result<Option<Release>, StageError> {
        if let Some(version) = self.past.find(|it| earlier.is_of(it)) {
            return Ok(Some(self.release_of(version)));
        }
        let digest = earlier.component;
        let Some(source) = self.book.component(digest) else { return Ok(None) };
        let Some(settings) = self.book.settings(earlier.settings, &self.handler.configured())
        else {
            return Ok(None);
        };
        if settings.is_single() != self.handler.is_single() {
            return Err(StageError::Singleton);
        }
        let candidate = self.guest.open(source).await?;
        if candidate.digest != digest {
            let (digest, found) = (digest.short(), candidate.digest.short());
            return Err(StageError::Changed { digest, found });
        }
        Ok(Some(Release::new(candidate, settings)))
    }
}

fn not_there(to: GenerationNumber) -> StageError {
    no_way_back(&format!("generation {to} is not among those that can be gone back to"))
}

pub(super) fn no_way_back(problem: &str) -> StageError {
    StageError::NoWayBack { problem: problem.to_owned() }
}
