//! Between the dev session and the runtime: notices become events and swaps.

use std::collections::BTreeMap;
use std::time::Duration;

use wrt::dev::{BuildFailure, Built, Notice, NoticeKind, Options};
use wrt::events::Stage;
use wrt::{
    EventBus, EventKind, HandlerHandle, HandlerName, Obstacle, Serving, Source, SwapRequest,
};

use crate::settings::BuildSettings;

/// The session's options for these settings.
pub(crate) fn options(build: BuildSettings, watch: bool) -> Options {
    Options { release: build.release, add_target: build.add_target, watch, ..Options::default() }
}

/// What a notice asks for beyond its event.
pub(crate) enum Next {
    /// Nothing.
    Done,
    /// Ask for this swap; its outcome is an event of the runtime.
    Swap(HandlerHandle, SwapRequest),
    /// Serve what was confirmed before the start: there is no candidate.
    Boot(HandlerHandle),
}

/// Emits the event of `notice` and says what is to be done next.
pub(crate) fn on_notice(
    notice: Notice,
    handlers: &BTreeMap<HandlerName, HandlerHandle>,
    bus: &EventBus,
) -> Next {
    let Notice { handler: name, since, cause, kind } = notice;
    let Some(handler) = handlers.get(&name) else { return Next::Done };
    let emit = |kind| bus.emit(Some(&name), Some(&cause), kind);
    match kind {
        NoticeKind::Changed { paths } => emit(EventKind::Changed { paths }),
        NoticeKind::Building => {
            handler.build_began();
            emit(EventKind::Building);
        }
        NoticeKind::BuildFailed(failure) => {
            handler.build_failed(Obstacle {
                stage: Stage::Build,
                error: failure.message.clone(),
                diagnostics: failure.diagnostics.clone(),
                hints: failure.hints.clone(),
            });
            emit(failure_event(failure, handler.serving()));
        }
        NoticeKind::Built(Built { path, build_ms, diagnostics, .. }) => {
            // What is there now may be what was missing.
            handler.build_began();
            // A component file that somebody else wrote was not built here.
            if let Some(build_ms) = build_ms {
                emit(EventKind::Built { build_ms, warnings: diagnostics });
            }
            let request = SwapRequest {
                is_standing: true,
                since,
                build_time: build_ms.map(|ms| Duration::from_secs_f64(ms / 1e3)),
                ..SwapRequest::new(Source::File(path), cause)
            };
            return Next::Swap(handler.clone(), request);
        }
        NoticeKind::Unchanged => {
            handler.build_given_up();
            if let Some(serving) = handler.serving() {
                emit(EventKind::Unchanged { digest: serving.digest, passed_over_for: None });
            }
        }
        NoticeKind::Unavailable { message: error, hints } => {
            let (stage, serving) = (Stage::Read, handler.serving());
            let boots = serving.is_none() && handler.has_confirmed();
            if !boots {
                handler.build_failed(Obstacle {
                    stage,
                    error: error.clone(),
                    diagnostics: Vec::new(),
                    hints: hints.clone(),
                });
            }
            emit(EventKind::Rejected { stage, error, hints, serving });
            if boots {
                return Next::Boot(handler.clone());
            }
        }
        NoticeKind::Info { message } => emit(EventKind::Note { message }),
        _ => {}
    }
    Next::Done
}

/// The event of a failed build.
pub(crate) fn failure_event(failure: BuildFailure, serving: Option<Serving>) -> EventKind {
    let BuildFailure { message, hints, diagnostics, .. } = failure;
    EventKind::BuildFailed { message, diagnostics, hints, serving }
}
