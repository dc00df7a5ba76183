//! Problem documents (RFC 9457): every answer of the control plane that is an error.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::error::{Hint as _, StageError, chain};
use crate::events::{PlanReport, Serving, Stage};
use crate::runtime::ControlError;

/// What the types of problems begin with; their last words are fixed, for programs.
const TYPE: &str = "urn:wrt:problem:";

/// Seconds after which a client should ask a runtime again that is going away or not ready.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// See the [module](self). In a box, since most functions that may fail with one return little.
#[derive(Debug)]
pub(super) struct Problem(Box<Document>);

#[derive(Debug, Serialize)]
struct Document {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    #[serde(serialize_with = "number")]
    status: StatusCode,
    detail: String,
    /// The step that refused a candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<Stage>,
    hints: Vec<String>,
    /// What answers the handler's calls, for problems about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    serving: Option<Option<Serving>>,
}

impl Problem {
    fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (kind, detail) = (format!("{TYPE}{kind}"), detail.into());
        let (stage, hints, serving) = (None, Vec::new(), None);
        Self(Box::new(Document { kind, title, status, detail, stage, hints, serving }))
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    pub(super) fn no_such_page(path: &str) -> Self {
        let detail = format!("there is nothing at `{}`", path.escape_debug());
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub(super) fn unknown_handler(name: &str) -> Self {
        let detail = format!("unknown handler `{}`", name.escape_debug());
        Self::new(StatusCode::NOT_FOUND, "unknown-handler", "Unknown handler", detail)
    }

    pub(super) fn no_generation(number: &str) -> Self {
        let detail =
            format!("expected the number of a generation, found `{}`", number.escape_debug());
        Self::new(StatusCode::NOT_FOUND, "unknown-generation", "Unknown generation", detail)
    }

    pub(super) fn no_planner() -> Self {
        let detail = "this host has no plan that it could read again";
        Self::new(StatusCode::NOT_FOUND, "no-plan", "No plan", detail)
    }

    /// A plan that changed nothing, as it cannot be.
    pub(super) fn refused_plan(report: PlanReport) -> Self {
        let PlanReport { error, hints, .. } = report;
        let (status, detail) = (StatusCode::UNPROCESSABLE_ENTITY, error.unwrap_or_default());
        let problem = Self::new(status, "refused-plan", "Refused plan", detail);
        hints.into_iter().fold(problem, Self::hint)
    }

    pub(super) fn method_not_allowed() -> Self {
        let detail = "this page has another method; the header `allow` names it";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "method-not-allowed", "Method not allowed", detail)
    }

    pub(super) fn no_token() -> Self {
        let detail =
            "expected the header `authorization: Bearer TOKEN` with the token of this host";
        Self::new(StatusCode::UNAUTHORIZED, "no-token", "Missing or wrong token", detail)
            .hint("use `wrt` as the user that runs the host; it finds the token by itself")
    }

    pub(super) fn foreign_host(host: Option<&str>) -> Self {
        let found =
            host.map_or_else(|| "nothing".to_owned(), |it| format!("`{}`", it.escape_debug()));
        let detail = format!("expected a loopback name in the header `host`, found {found}");
        Self::new(StatusCode::FORBIDDEN, "foreign-host", "Foreign host name", detail)
            .hint("ask for it as `127.0.0.1` or `localhost`")
    }

    pub(super) fn foreign_origin(origin: &str) -> Self {
        let detail = format!("pages of `{}` may not act here", origin.escape_debug());
        Self::new(StatusCode::FORBIDDEN, "foreign-origin", "Foreign origin", detail)
    }

    pub(super) fn bad_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-query", "Bad query", detail)
    }

    pub(super) fn incomplete_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "incomplete-body", "Incomplete body", detail)
    }

    pub(super) fn unexpected_body() -> Self {
        let detail = "expected no body, found one that would have been passed over";
        Self::new(StatusCode::BAD_REQUEST, "unexpected-body", "Unexpected body", detail)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("the component has more than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Component too large", detail)
            .hint("build it with the release profile, or strip its debug information")
    }

    pub(super) fn not_ready(waiting: usize, all: usize) -> Self {
        let noun = if all == 1 { "handler" } else { "handlers" };
        let detail = format!("{waiting} of {all} {noun} cannot answer");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", detail)
            .hint("`wrt ps` says which and why")
    }

    pub(super) fn stopping() -> Self {
        let detail = "this host is about to stop";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "Shutting down", detail)
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Defect of wrt", detail)
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let (status, kind, title) = match &error {
            ControlError::Unknown { .. }
            | ControlError::NotConfirmed { source: StageError::Removed, .. } => {
                (StatusCode::NOT_FOUND, "unknown-handler", "Unknown handler")
            }
            ControlError::UnknownGeneration { .. } => {
                (StatusCode::NOT_FOUND, "unknown-generation", "Unknown generation")
            }
            ControlError::Rejected(rejected) => match rejected.source {
                StageError::NoWayBack { .. } => {
                    (StatusCode::CONFLICT, "nothing-to-rollback-to", "Nothing to roll back to")
                }
                StageError::ShuttingDown => {
                    (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "Shutting down")
                }
                StageError::Removed => {
                    (StatusCode::NOT_FOUND, "unknown-handler", "Unknown handler")
                }
                StageError::NoSupervisor { .. } | StageError::AsyncEnded => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "no-supervisor", "No supervisor")
                }
                StageError::Panicked { .. } | StageError::Defect { .. } => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "host-failed", "The host failed")
                }
                _ => (StatusCode::UNPROCESSABLE_ENTITY, "rejected", "Rejected"),
            },
            ControlError::NotConfirmed { source: StageError::ShuttingDown, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "Shutting down")
            }
            ControlError::NotConfirmed { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "no-supervisor", "No supervisor")
            }
            ControlError::NothingToConfirm { .. } => {
                (StatusCode::CONFLICT, "nothing-to-confirm", "Nothing to confirm")
            }
        };
        let (stage, is_about_one) = match &error {
            ControlError::Rejected(rejected) => (Some(rejected.source.stage()), true),
            ControlError::Unknown { .. } | ControlError::UnknownGeneration { .. } => (None, false),
            _ => (None, true),
        };
        let serving = is_about_one.then(|| error.serving());
        let mut problem = Self::new(status, kind, title, chain(&error));
        (problem.0.stage, problem.0.serving) = (stage, serving);
        problem.0.hints = error.hints();
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = json(self.0.status, &self.0);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.0.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, RETRY_SECONDS);
            }
            _ => {}
        }
        response
    }
}

/// An answer of `status` with `value` as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = status;
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response
        }
        Err(error) => {
            Problem::internal(format!("failed to write an answer: {error}")).into_response()
        }
    }
}

// The signature is serde's.
fn number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::HandlerName;

    #[test]
    fn removed_handler_is_an_unknown_one_whatever_was_asked_of_it() {
        let handler = HandlerName::new("h").unwrap();
        let source = StageError::Removed;
        let error = ControlError::NotConfirmed { handler, serving: None, source };
        assert_eq!(Problem::from(error).0.status, StatusCode::NOT_FOUND);
    }
}
