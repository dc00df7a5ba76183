//! What changes a handler: swap, rollback, confirm; each answers what became of it.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Value, json};

use super::Shared;
use super::overview::{Path, name};
use super::problem::{Problem, json as answer};
use super::query::{self, RollbackQuery, SwapQuery};
use crate::artifact::Source;
use crate::error::{Hint as _, Rejected};
use crate::runtime::{ControlError, HandlerHandle};
use crate::supervisor::{RollbackRequest, Swap, SwapRequest};

/// Longest time that a component may take to arrive: the largest one over a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);

/// Longest time, and most bytes in components of the largest size, that the rest of a body is waited
/// for once the request is refused: a client that is still sending when the connection ends may lose
/// the answer that says why.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
const DISCARD_COMPONENTS: usize = 4;

/// The cause of a swap whose client gave none.
const CAUSE: &str = "asked for over the control plane";

pub(super) async fn swap(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (head, mut body) = request.into_parts();
    let limit = shared.config.max_component;
    let wanted = async {
        let name = self::name(&name)?;
        let query = SwapQuery::parse(&query.unwrap_or_default())?;
        let handler = shared.runtime.handler(&name)?;
        let component = read(&head.headers, &mut body, limit).await?;
        Ok((handler, to_request(component, query)))
    };
    let (handler, request) = match wanted.await {
        Ok(wanted) => wanted,
        Err(problem) => {
            discard(body, limit.saturating_mul(DISCARD_COMPONENTS)).await;
            return Err(problem);
        }
    };
    let swap = handler.request_swap(request).await;
    swapped(&handler, swap).await
}

pub(super) async fn rollback(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (name, query) = (self::name(&name)?, RollbackQuery::parse(&query.unwrap_or_default())?);
    expect_nothing(request.into_body(), shared.config.max_component)
        .await
        .map_err(|problem| problem.hint("`to` and `fresh` go into the query, as `?to=7`"))?;
    let RollbackQuery { to, is_fresh } = query;
    let request = RollbackRequest { is_fresh, ..RollbackRequest::new(to) };
    let handler = shared.runtime.handler(&name)?;
    let swap = handler.request_rollback(request).await;
    swapped(&handler, swap).await
}

pub(super) async fn confirm(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response<Body>, Problem> {
    query::nothing(&query.unwrap_or_default())?;
    let name = self::name(&name)?;
    expect_nothing(request.into_body(), shared.config.max_component).await?;
    let handler = shared.runtime.handler(&name)?;
    let serving = handler.confirm().await?;
    let outcome = json!({ "outcome": "confirmed", "serving": serving });
    let mut outcome = with_warnings(&handler, outcome).await;
    // Whether a restart begins with it, which is what a confirmation is for.
    outcome["is_kept"] =
        (shared.runtime.keeps_history() && outcome.get("warnings").is_none()).into();
    Ok(answer(StatusCode::OK, &outcome))
}

/// The request that the client's words stand for.
fn to_request(component: Bytes, query: SwapQuery) -> SwapRequest {
    let SwapQuery { cause, is_fresh, is_again, is_other_kind } = query;
    let cause = cause.unwrap_or_else(|| CAUSE.to_owned());
    let request = SwapRequest::new(Source::bytes(component), cause);
    SwapRequest { is_fresh, is_again, is_other_kind, ..request }
}

/// Reads a component of at most `limit` bytes.
async fn read(headers: &HeaderMap, body: &mut Body, limit: usize) -> Result<Bytes, Problem> {
    // Asked first, so that what is too long is not kept.
    let stated = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if stated.is_some_and(|bytes: u64| bytes > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    let Ok(collected) = collected else {
        let detail = format!("the component did not arrive within {BODY_TIMEOUT:?}");
        return Err(Problem::incomplete_body(detail));
    };
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Problem::too_large(limit)),
        Err(error) => {
            let detail = format!("the component did not arrive whole: {error}");
            return Err(Problem::incomplete_body(detail));
        }
    };
    if bytes.is_empty() {
        return Err(Problem::incomplete_body("expected a component as the body, found nothing"));
    }
    Ok(bytes)
}

/// Refuses a body that is not empty: what it asks for would be passed over.
pub(super) async fn expect_nothing(mut body: Body, max_component: usize) -> Result<(), Problem> {
    let is_empty = async {
        while let Some(frame) = body.frame().await {
            // A body that breaks off may have had more to say.
            if !frame.is_ok_and(|frame| frame.data_ref().is_none_or(Bytes::is_empty)) {
                return false;
            }
        }
        true
    };
    if tokio::time::timeout(DISCARD_TIMEOUT, is_empty).await.unwrap_or(false) {
        return Ok(());
    }
    discard(body, max_component.saturating_mul(DISCARD_COMPONENTS)).await;
    Err(Problem::unexpected_body())
}

/// Reads what is left of `body`, at most `limit` bytes of it, for its sender to see the answer.
async fn discard(mut body: Body, limit: usize) {
    let discarded = async {
        let mut n = 0;
        while n < limit
            && let Some(Ok(frame)) = body.frame().await
        {
            n += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whoever sends more, or slower, has the connection end under it.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, discarded).await;
}

/// The truth about a swap.
async fn swapped(
    handler: &HandlerHandle,
    swap: Result<Swap, Rejected>,
) -> Result<Response<Body>, Problem> {
    let outcome = match swap.map_err(ControlError::from)? {
        Swap::Swapped { serving, from, state } => {
            let (name, number) = (handler.name(), serving.generation);
            let verdict = format!("/v1/handlers/{name}/generations/{number}");
            let mut outcome = json!({
                "outcome": "swapped",
                "serving": serving,
                "from": from,
                "state": state,
                "verdict": verdict,
            });
            // The last of many may be forgotten by now.
            let became = handler.generation(number).ok();
            if let Some(reason) = became.and_then(|became| became.record.state_reason) {
                outcome["state_reason"] = reason.into();
            }
            outcome
        }
        Swap::Unchanged { serving } => json!({ "outcome": "unchanged", "serving": serving }),
        Swap::Superseded => {
            json!({ "outcome": "superseded", "serving": handler.serving() })
        }
    };
    Ok(answer(StatusCode::OK, &with_warnings(handler, outcome).await))
}

/// `outcome` with what its reader has to know beside it: that a restart would not know of it.
async fn with_warnings(handler: &HandlerHandle, mut outcome: Value) -> Value {
    if let Err(problem) = handler.history_kept().await {
        let warning = json!({ "message": problem.to_string(), "hints": problem.hints() });
        outcome["warnings"] = json!([warning]);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::response::IntoResponse as _;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn body_that_nobody_reads_is_refused_unless_it_is_empty() {
        use futures_util::stream::{iter, pending};

        let check = |parts: &'static [&'static str]| {
            let parts =
                parts.iter().map(|part| Ok::<_, Infallible>(Bytes::from_static(part.as_bytes())));
            expect_nothing(Body::from_stream(iter(parts)), 1)
        };
        assert!(expect_nothing(Body::empty(), 1).await.is_ok());
        assert!(check(&["", ""]).await.is_ok());
        let problem = check(&["", "{\"to\":1}"]).await.unwrap_err();
        assert_eq!(problem.into_response().status(), StatusCode::BAD_REQUEST);
        let endless = Body::from_stream(pending::<Result<Bytes, Infallible>>());
        assert!(expect_nothing(endless, 1).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn component_that_never_ends_is_waited_for_as_long_as_its_bound_says() {
        let start = Instant::now();
        let mut body =
            Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>());
        let problem = read(&HeaderMap::new(), &mut body, 1).await.unwrap_err();
        assert_eq!(start.elapsed(), BODY_TIMEOUT);
        assert_eq!(problem.into_response().status(), StatusCode::BAD_REQUEST);
    }
}
