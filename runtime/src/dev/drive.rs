//! Drives one handler by what is told of its source: events, obstacles and swaps.
//!
//! Apart from what watches and builds, because only this file knows handlers.

use std::time::Duration;

use super::notice::{Notice, NoticeKind};
use super::{BuildFailure, Built, WatchedSource};
use crate::artifact;
use crate::events::{EventKind, Stage};
use crate::handler::Obstacle;
use crate::runtime::HandlerHandle;
use crate::supervisor::SwapRequest;

/// A handler that does what the notices about its source say.
#[derive(Debug)]
pub(super) struct Driver {
    handler: HandlerHandle,
    is_lazy: bool,
}

impl Driver {
    /// A driver for the handler of `watched`.
    pub(super) fn new(watched: &WatchedSource) -> Self {
        Self { handler: watched.handler.clone(), is_lazy: watched.is_lazy }
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
                // What is there now may be what was missing.
                self.handler.build_began();
                // A component file that somebody else wrote was not built here.
                if let Some(build_ms) = build_ms {
                    emit(EventKind::Built { build_ms, warnings: diagnostics });
                }
                let request = SwapRequest {
                    since,
                    build_time: build_ms.map(|ms| Duration::from_secs_f64(ms / 1e3)),
                    ..SwapRequest::new(artifact::Source::File(path), cause).standing()
                };
                if self.is_lazy {
                    self.handler.load_when_called(request);
                } else {
                    self.handler.swap_aside(request);
                }
            }
            NoticeKind::Unchanged => {
                self.handler.build_given_up();
                if let Some(serving) = self.handler.serving() {
                    emit(EventKind::Unchanged { digest: serving.digest, passed_over_for: None });
                }
            }
            NoticeKind::Unavailable { message: error, hints } => {
                let (stage, serving) = (Stage::Read, self.handler.serving());
                // What was confirmed before the start is served where there is no candidate.
                let boots = serving.is_none() && self.handler.has_confirmed();
                if !boots {
                    self.handler.build_failed(Obstacle {
                        stage,
                        error: error.clone(),
                        diagnostics: Vec::new(),
                        hints: hints.clone(),
                    });
                }
                emit(EventKind::Rejected { stage, error, hints, serving });
                if boots {
                    self.handler.boot_aside();
                }
            }
            NoticeKind::Info { message } => emit(EventKind::Note { message }),
        }
    }
}
