//! What there is: handlers, their histories, the cache.

use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Shared;
use super::problem::{Problem, json as answer};
use crate::id::{GenerationNumber, HandlerName};

/// The variable parts of a path, as axum's own; what is no text leads nowhere.
pub(super) struct Path<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(_) => Err(Problem::no_such_page(parts.uri.path())),
        }
    }
}

pub(super) async fn handlers(State(shared): State<Shared>) -> Response<Body> {
    answer(StatusCode::OK, &json!({ "handlers": shared.runtime.statuses() }))
}

pub(super) async fn handler(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response<Body>, Problem> {
    let handler = shared.runtime.handler(&self::name(&name)?)?;
    Ok(answer(StatusCode::OK, &handler.status()))
}

pub(super) async fn history(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response<Body>, Problem> {
    let handler = shared.runtime.handler(&self::name(&name)?)?;
    let records = handler.history();
    Ok(answer(StatusCode::OK, &json!({ "handler": handler.name(), "records": records })))
}

pub(super) async fn generation(
    State(shared): State<Shared>,
    Path((name, number)): Path<(String, String)>,
) -> Result<Response<Body>, Problem> {
    let handler = shared.runtime.handler(&self::name(&name)?)?;
    let unknown = || Problem::no_generation(&number);
    // What is no number is no generation's either.
    let parsed = number.parse().map(GenerationNumber::new).map_err(|_| unknown())?;
    Ok(answer(StatusCode::OK, &handler.generation(parsed)?))
}

pub(super) async fn cache(State(shared): State<Shared>) -> Response<Body> {
    answer(StatusCode::OK, &shared.runtime.cache_report())
}

/// The handler's name in a path; what cannot be one belongs to no handler.
///
/// # Errors
///
/// A [`Problem`] of an unknown handler.
pub(super) fn name(text: &str) -> Result<HandlerName, Problem> {
    HandlerName::new(text).map_err(|_| Problem::unknown_handler(text))
}
