//! Drives one handler by what is told of its source: events, obstacles and swaps.
//!
//! Apart from what watches and builds, because only this file knows handlers. What watches and builds
//! remembers what it told; the handler may have refused that.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::notice::{Notice, NoticeKind};
use super::session::lock;
use super::{BuildFailure, Built, WatchedSource};
use crate::artifact;
use crate::error::Rejected;
use crate::events::{EventKind, Stage};
use crate::handler::Obstacle;
use crate::runtime::HandlerHandle;
use crate::supervisor::{Swap, SwapRequest};

/// A handler that does what the notices about its source say.
#[derive(Debug)]
pub(super) struct Driver {
    handler: HandlerHandle,
    is_lazy: bool,
    last: Mutex<Option<Last>>,
}

/// The component that the handler was asked to run last, and what becomes of that.
#[derive(Debug)]
struct Last {
    path: PathBuf,
    answer: oneshot::Receiver<Result<Swap, Rejected>>,
}

impl Driver {
    /// A driver for the handler of `watched`.
    pub(super) fn new(watched: &WatchedSource) -> Self {
        Self { handler: watched.handler.clone(), is_lazy: watched.is_lazy, last: Mutex::default() }
    }

    /// Tells of `notice` on the bus of the handler's runtime, and has the handler do what follows from
    /// it. Waits for nothing: a swap is the supervisor's business, and its outcome an event.
    pub(super) fn act(&self, notice: Notice) {
        let Notice { since, cause, kind, .. } = notice;
        let emit = |kind| self.handler.bus().emit(Some(self.handler.name()), Some(&cause), kind);
        match kind {
            NoticeKind::Changed { paths } => emit(EventKind::Changed { paths }),
            NoticeKind::Building => {
                self.handler.build_began();
                emit(EventKind::Building);
            }
            NoticeKind::BuildFailed(BuildFailure { message, hints, diagnostics, .. }) => {
                self.handler.build_failed(Obstacle {
                    stage: Stage::Build,
                    error: message.clone(),
                    diagnostics: diagnostics.clone(),
                    hints: hints.clone(),
                });
                let serving = self.handler.serving();
                emit(EventKind::BuildFailed { message, diagnostics, hints, serving });
            }
            NoticeKind::Built(Built { path, build_ms, diagnostics, .. }) => {
                // The component may be the one that was missing.
                self.handler.build_began();
                // A component file that somebody else wrote was not built here.
                if let Some(build_ms) = build_ms {
                    emit(EventKind::Built { build_ms, warnings: diagnostics });
                }
                self.ask(SwapRequest {
                    since,
                    build_time: build_ms.map(|ms| Duration::from_secs_f64(ms / 1e3)),
                    ..SwapRequest::new(artifact::Source::File(path), cause)
                });
            }
            NoticeKind::Unchanged => {
                // Nothing serves: the component was refused, or was missing for a while.
                if self.handler.serving().is_none() && self.again(&cause) {
                    return;
                }
                self.handler.build_given_up();
                if let Some(serving) = self.handler.serving() {
                    emit(EventKind::Unchanged { digest: serving.digest, passed_over_for: None });
                }
            }
            NoticeKind::Unavailable { message: error, hints } => {
                let (stage, serving) = (Stage::Read, self.handler.serving());
                self.handler.build_failed(Obstacle {
                    stage,
                    error: error.clone(),
                    diagnostics: Vec::new(),
                    hints: hints.clone(),
                });
                emit(EventKind::Rejected { stage, error, hints, serving });
                // What was confirmed before the start is served where there is no candidate.
                if serving.is_none() && self.handler.has_confirmed() {
                    self.handler.build_began();
                    self.handler.boot_aside();
                }
            }
            NoticeKind::Info { message } => emit(EventKind::Note { message }),
        }
    }

    /// The settings of the handler have changed: what it did not run with those of before is tried again.
    pub(super) fn settings_changed(&self) {
        let mut last = lock(&self.last);
        let is_served = |last: &mut Last| match last.answer.try_recv() {
            Ok(Ok(Swap::Superseded) | Err(_)) => false,
            Ok(Ok(_)) => true,
            // It is on its way still, with the settings of before; or it served when this was asked last.
            Err(error) => error == TryRecvError::Closed,
        };
        let is_wanted = last.as_mut().is_some_and(|last| !is_served(last));
        drop(last);
        if is_wanted {
            self.again("the settings changed");
        }
    }

    /// Asks for the component that was asked for last once more. Returns whether there is one.
    fn again(&self, cause: &str) -> bool {
        let path = lock(&self.last).as_ref().map(|last| last.path.clone());
        let Some(path) = path else { return false };
        self.handler.build_began();
        self.ask(SwapRequest::new(artifact::Source::File(path), cause));
        true
    }

    /// Asks for `request`, the handler's own component.
    fn ask(&self, request: SwapRequest) {
        let request = request.standing();
        let Some(artifact::Source::File(path)) = &request.source else { return };
        let path = path.clone();
        let answer = if self.is_lazy {
            self.handler.load_aside_when_called(request)
        } else {
            self.handler.swap_aside(request)
        };
        *lock(&self.last) = Some(Last { path, answer });
    }
}
