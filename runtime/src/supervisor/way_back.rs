//! Going back to an earlier version: because somebody asks, or because the active one failed its trial.

use std::sync::Arc;
use std::time::Duration;

use super::bring::Bring;
use super::ending::Stop;
use super::past::Version;
use super::protocol::Way;
use super::task::Task;
use super::waits::while_held;
use super::{Answer, Guest, RollbackRequest, Swap};
use crate::artifact::Candidate;
use crate::error::{Rejected, StageError, caught};
use crate::handler::Hold;
use crate::id::{Digest, GenerationNumber};

/// Longest that callers are held while the way back from a bad generation is staged. With its code
/// in memory that takes 2 ms; where it has to be compiled, an answer at once is worth more, also
/// from the bad one.
const HOLD_FOR_WAY_BACK: Duration = Duration::from_millis(100);

impl<G: Guest> Task<G> {
    /// Goes back as `request` says.
    pub(super) async fn roll_back(&mut self, request: RollbackRequest, stop: &Stop) -> Answer {
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
        let candidate = match to {
            Some(to) => {
                let digest = self.book.digest_of(to).ok_or_else(|| not_there(to))?;
                if digest == from.digest {
                    return Ok(Swap::Unchanged { serving: from });
                }
                self.version(digest).await?.ok_or_else(|| not_there(to))?
            }
            None => self.before(from.digest).await?,
        };
        // Who asks for a version vouches for it. What nobody asked for, and never proved itself, is on
        // trial again, where another one did: the one behind it may be needed yet.
        let is_proved = way == Way::Back || self.book.is_best_known(candidate.digest);
        let again = Bring::again(candidate, cause);
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

    /// Whether this process ran a version before the one that runs `active`, and it was not taken back.
    pub(super) fn has_past(&self, active: Digest) -> bool {
        self.past.find(|digest| digest != active && !self.book.is_refused(digest)).is_some()
    }

    /// A version that this process ran, read again from where it is kept: the file that it came from
    /// may hold another by now.
    fn candidate_of(&self, version: &Version) -> Candidate {
        let candidate = version.candidate.clone();
        match self.book.component(candidate.digest) {
            Some(source) => candidate.found_at(source),
            None => candidate,
        }
    }

    /// The version before the one that runs `active`.
    // `&mut`, as a task that is shared between threads would have to be `Sync`.
    async fn before(&mut self, active: Digest) -> Result<Candidate, StageError> {
        let is_wanted = |digest| digest != active && !self.book.is_refused(digest);
        if let Some(version) = self.past.find(is_wanted) {
            return Ok(self.candidate_of(version));
        }
        let mut problem = None;
        for digest in self.book.before(active) {
            match self.version(digest).await {
                Ok(Some(candidate)) => return Ok(candidate),
                Ok(None) => {}
                Err(error) => {
                    problem.get_or_insert(error);
                }
            }
        }
        Err(problem.unwrap_or_else(|| no_way_back("there is no generation before the active one")))
    }

    /// The version with these bytes, if this process ran it or its component was kept.
    async fn version(&mut self, digest: Digest) -> Result<Option<Candidate>, StageError> {
        if let Some(version) = self.past.find(|it| it == digest) {
            return Ok(Some(self.candidate_of(version)));
        }
        let Some(source) = self.book.component(digest) else { return Ok(None) };
        let candidate = self.guest.open(source).await?;
        if candidate.digest != digest {
            let (digest, found) = (digest.short(), candidate.digest.short());
            return Err(StageError::Changed { digest, found });
        }
        Ok(Some(candidate))
    }
}

fn not_there(to: GenerationNumber) -> StageError {
    no_way_back(&format!("generation {to} is not among those that can be gone back to"))
}

pub(super) fn no_way_back(problem: &str) -> StageError {
    StageError::NoWayBack { problem: problem.to_owned() }
}
