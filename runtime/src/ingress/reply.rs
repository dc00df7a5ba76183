//! The responses that the host itself makes: the only table from outcomes to status codes.

use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use super::authority::BadAuthority;
use super::body::Body;
use super::cloudevents::{DecodeError, wrong_in_batch};
use crate::error::{CallFailure, Hint as _, chain};
use crate::events::Serving;
use crate::handler::EnterError;
use crate::id::HandlerName;

/// Seconds after which a client that found no place should come back: queues turn over in less.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A request that no guest saw, or that a guest sent back as the client's fault.
#[derive(Debug)]
pub(super) enum Refusal<'a> {
    BadAuthority(BadAuthority),
    NoRoute {
        path: &'a str,
    },
    NotEntered(&'a EnterError),
    EventTooLarge {
        limit: usize,
    },
    /// The target is neither a path nor one that concerns the whole server.
    BadTarget,
    NotImplemented {
        what: &'static str,
    },
    IncompleteBody,
    LateBody {
        waited: Duration,
    },
    /// It was still on its way when another call wanted the place.
    SlowBody,
    BadEvent(DecodeError),
    WrongType {
        event_type: String,
        /// Its number, and of how many, where it came in a batch. Nothing of that was handled.
        in_batch: Option<(usize, usize)>,
    },
    RejectedEvent {
        reason: String,
    },
}

/// What a developer sees beyond the status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Details {
    pub(super) serving: Serving,
    pub(super) wants_html: bool,
}

/// The response to a request that was not served.
pub(super) fn refused(refusal: &Refusal<'_>) -> Response<Body> {
    let (status, message) = match refusal {
        Refusal::BadAuthority(error) => (StatusCode::BAD_REQUEST, error.to_string()),
        Refusal::NoRoute { path } => {
            (StatusCode::NOT_FOUND, format!("no handler has a route for `{}`", path.escape_debug()))
        }
        Refusal::NotEntered(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Refusal::EventTooLarge { limit } => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("the event has more than {limit} bytes"))
        }
        Refusal::BadTarget => (
            StatusCode::BAD_REQUEST,
            "expected a path that begins with `/` as the request's target".to_owned(),
        ),
        Refusal::NotImplemented { what } => {
            (StatusCode::NOT_IMPLEMENTED, format!("{what} is not implemented"))
        }
        Refusal::IncompleteBody => {
            (StatusCode::BAD_REQUEST, "the request's body did not arrive whole".to_owned())
        }
        Refusal::LateBody { waited } => (
            StatusCode::REQUEST_TIMEOUT,
            format!("the request's body did not arrive within {waited:?}"),
        ),
        Refusal::SlowBody => (
            StatusCode::REQUEST_TIMEOUT,
            "the request's body was slow to arrive while another call waited".to_owned(),
        ),
        Refusal::BadEvent(error) => {
            let hints = error.hints().into_iter().map(|hint| format!("\nhint: {hint}"));
            (error.status(), hints.fold(chain(error), |text, hint| text + &hint))
        }
        Refusal::WrongType { event_type, in_batch } => {
            let wrong =
                format!("events of type `{}` are not accepted here", event_type.escape_debug());
            let message = match in_batch {
                None => wrong,
                Some((number, of)) => format!("{}: {wrong}", wrong_in_batch(*number, *of)),
            };
            (StatusCode::BAD_REQUEST, message)
        }
        Refusal::RejectedEvent { reason } => {
            (StatusCode::BAD_REQUEST, format!("the handler rejected the event: {reason}"))
        }
    };
    let mut response = text(status, message);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        come_back(&mut response);
    }
    response
}

/// Tells the client of `response` when to come back.
pub(super) fn come_back(response: &mut Response<Body>) {
    response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
}

/// The response to a call that failed; without `details`, clients learn the status and no more.
pub(super) fn failed(
    handler: &HandlerName,
    failure: &CallFailure,
    details: Option<Details>,
) -> Response<Body> {
    let status = match failure {
        CallFailure::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
        CallFailure::Cut | CallFailure::HostMemory { .. } => StatusCode::SERVICE_UNAVAILABLE,
        CallFailure::Client { late: true, .. } => StatusCode::REQUEST_TIMEOUT,
        CallFailure::Client { late: false, .. } => StatusCode::BAD_REQUEST,
        CallFailure::Trap { .. }
        | CallFailure::Memory { .. }
        | CallFailure::Guest { .. }
        | CallFailure::Handler { .. }
        | CallFailure::Init { .. }
        | CallFailure::Instantiate { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = match details {
        None if matches!(failure, CallFailure::Client { .. }) => {
            text(status, "the request did not arrive whole")
        }
        None => text(status, format!("handler `{handler}` failed")),
        Some(details) => explained(status, handler, failure, details),
    };
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    }
    response
}

/// The response to a batch of which event number `n_handled + 1` was answered with `response`, that of an
/// error, for the reason `why` if its sender may know it.
pub(super) fn stopped(
    response: &Response<Body>,
    why: Option<&str>,
    n_handled: usize,
    of: usize,
) -> Response<Body> {
    let number = n_handled + 1;
    let status = response.status();
    let what = if status.is_client_error() { "was rejected" } else { "failed" };
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let before = match n_handled {
        0 => "nothing of the batch was handled".to_owned(),
        1 => "the one before it was handled".to_owned(),
        n => format!("the {n} before it were handled"),
    };
    let after = match of - number {
        _ if n_handled == 0 => "",
        0 => ", it was not",
        1 => ", it and the one after it were not",
        _ => ", it and those after it were not",
    };
    let mut stopped =
        text(status, format!("event {number} of {of} in the batch {what}{why}; {before}{after}"));
    if let Some(when) = response.headers().get(RETRY_AFTER) {
        stopped.headers_mut().insert(RETRY_AFTER, when.clone());
    }
    stopped
}

/// An empty answer to an event.
pub(super) fn no_content() -> Response<Body> {
    let mut response = Response::new(Body::full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Whether the client is a browser that shows a page.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn explained(
    status: StatusCode,
    handler: &HandlerName,
    failure: &CallFailure,
    Details { serving, wants_html }: Details,
) -> Response<Body> {
    let (number, digest) = (serving.generation, serving.digest.short());
    let error = match failure {
        // The guest's backtrace is one of the causes. The host's own, which the error's `Debug` would
        // add, is nobody's business here.
        CallFailure::Trap { source } | CallFailure::Instantiate { source } => {
            let causes = source.chain().map(|cause| format!("\n{cause}"));
            causes.fold(failure.to_string(), |text, cause| text + &cause)
        }
        other => chain(other),
    };
    let mut lines = vec![
        format!("handler `{handler}` failed: {error}"),
        format!("note: generation {number} ({digest}) goes on serving; only this call ended"),
    ];
    lines.extend(failure.hints().into_iter().map(|hint| format!("hint: {hint}")));
    let message = lines.join("\n");
    if wants_html { html(status, &message) } else { text(status, message + "\n") }
}

pub(super) fn text(status: StatusCode, message: impl Into<String>) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", message.into())
}

pub(super) fn html(status: StatusCode, message: &str) -> Response<Body> {
    let escaped = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{status}</title>\
         <body style=\"font:16px/1.5 system-ui;margin:4rem auto;max-width:60rem\">\
         <h1 style=\"font-size:1.4rem\">{status}</h1>\
         <pre style=\"white-space:pre-wrap;background:#f4f4f5;padding:1.5rem;border-radius:8px\">\
         {escaped}</pre></body></html>\n"
    );
    response(status, "text/html; charset=utf-8", page)
}

pub(super) fn response(
    status: StatusCode,
    content_type: &'static str,
    body: String,
) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::id::{Digest, GenerationNumber};

    async fn shown(response: Response<Body>) -> (u16, String) {
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn details(wants_html: bool) -> Option<Details> {
        let (generation, digest) = (GenerationNumber::new(7), Digest::of(b"x"));
        Some(Details { serving: Serving { generation, digest }, wants_html })
    }

    #[tokio::test]
    async fn each_failure_has_its_status_and_production_learns_no_more() {
        let name = HandlerName::new("thumbs").unwrap();
        let timeout = Duration::from_secs(2);
        for (failure, expected) in [
            (CallFailure::Deadline { timeout }, 504),
            (CallFailure::Memory { wanted: 2, limit: 1 }, 500),
            (CallFailure::Guest { reason: "secret".to_owned() }, 500),
            (CallFailure::HostMemory { limit: 1 }, 503),
            (CallFailure::Cut, 503),
        ] {
            let (status, body) = shown(failed(&name, &failure, None)).await;
            assert_eq!((status, body.as_str()), (expected, "handler `thumbs` failed"));
        }
    }

    #[tokio::test]
    async fn a_developer_sees_the_error_what_serves_and_a_hint_and_no_live_markup() {
        let name = HandlerName::new("thumbs").unwrap();
        let failure = CallFailure::Guest { reason: "<script>alert(1)</script>".to_owned() };
        let (_, page) = shown(failed(&name, &failure, details(true))).await;
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
        assert!(page.contains("generation 7"), "{page}");
        let failure = CallFailure::Deadline { timeout: Duration::from_secs(2) };
        let (_, text) = shown(failed(&name, &failure, details(false))).await;
        assert!(text.contains("hint: if it needs longer, raise `timeout`"), "{text}");
    }

    #[tokio::test]
    async fn a_client_that_found_no_place_is_told_when_to_come_back() {
        let error =
            EnterError::NothingActive { handler: HandlerName::new("a").unwrap(), why: None };
        let response = refused(&Refusal::NotEntered(&error));
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
    }
}
