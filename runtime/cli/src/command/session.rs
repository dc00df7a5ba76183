//! Between the dev session and the runtime: notices become events and swaps.

use std::collections::BTreeMap;
use std::time::Duration;

use wrt::dev::{BuildFailure, Built, Notice, NoticeKind, Options};
use wrt::events::Stage;
use wrt::{EventBus, EventKind, HandlerHandle, HandlerName, Serving, Source, SwapRequest};

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
    /// Tell people this line.
    Say(String),
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
        NoticeKind::Building => emit(EventKind::Building),
        NoticeKind::BuildFailed(failure) => {
            emit_failure(bus, &name, &cause, &failure, handler.serving());
        }
        NoticeKind::Built(Built { path, build_ms, .. }) => {
            let request = SwapRequest {
                is_standing: true,
                since,
                build_time: build_ms.map(|ms| Duration::from_secs_f64(ms / 1e3)),
                ..SwapRequest::new(Source::File(path), cause)
            };
            return Next::Swap(handler.clone(), request);
        }
        NoticeKind::Unchanged => {
            if let Some(serving) = handler.serving() {
                emit(EventKind::Unchanged { digest: serving.digest });
            }
        }
        NoticeKind::Unavailable { message, hints } => {
            let serving = handler.serving();
            emit(EventKind::Rejected { stage: Stage::Read, error: message, hints, serving });
            if serving.is_none() && handler.has_confirmed() {
                return Next::Boot(handler.clone());
            }
        }
        NoticeKind::Info { message } => return Next::Say(message),
        _ => {}
    }
    Next::Done
}

/// Emits the event of a failed build.
pub(crate) fn emit_failure(
    bus: &EventBus,
    name: &HandlerName,
    cause: &str,
    failure: &BuildFailure,
    serving: Option<Serving>,
) {
    let kind = EventKind::BuildFailed {
        message: failure.message.clone(),
        diagnostics: failure.diagnostics.clone(),
        serving,
    };
    bus.emit(Some(name), Some(cause), kind);
}
