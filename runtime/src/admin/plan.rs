//! Answers `GET /v1/plan` (each handler's configuration beside what serves), and applies plans for `PUT`.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Shared;
use super::changes::expect_nothing;
use super::problem::{Problem, json as answer};
use super::query;
use crate::config::{Binding, InstanceMode, Policy, Settings};
use crate::events::{PlanOutcome, PlanReport};
use crate::runtime::HandlerHandle;

/// Finds out what handlers a runtime is to have, and has it apply that: whoever reads the manifest of a host,
/// for example.
pub trait Planner: fmt::Debug + Send + Sync + 'static {
    /// Applies the plan as it is now, or does what else is asked.
    fn plan(&self, request: PlanRequest) -> Planning;
}

/// The options of a `PUT /v1/plan` request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanRequest {
    /// Whether the plan is only compared: the answer tells the changes, and no handler changes.
    pub is_dry: bool,
    /// Whether a version that was rolled back may be published once more.
    pub is_again: bool,
}

/// A plan that is being applied; dropping this cancels nothing.
pub type Planning = Pin<Box<dyn Future<Output = PlanReport> + Send>>;

/// Answers with what each handler is to be, and what serves.
pub(super) async fn show(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
) -> Result<Response<Body>, Problem> {
    query::nothing(&query.unwrap_or_default())?;
    let handlers: Vec<_> = shared.runtime.handlers().iter().map(described).collect();
    Ok(answer(StatusCode::OK, &json!({ "handlers": handlers })))
}

/// Has the host apply its plan, and answers with what became of each handler.
pub(super) async fn apply(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let asked = query::plan(&query.unwrap_or_default())?;
    expect_nothing(request.into_body(), shared.config.max_component).await?;
    let planner = shared.config.planner.as_ref().ok_or_else(Problem::no_planner)?;
    let report = planner.plan(asked).await;
    match report.outcome {
        PlanOutcome::Refused => Err(Problem::refused_plan(report)),
        _ => Ok(answer(StatusCode::OK, &json!(report))),
    }
}

/// A handler as the plan has it, and what serves.
fn described(handler: &HandlerHandle) -> Value {
    let (binding, policy, settings) = handler.configuration();
    let Binding { route, types } = &*binding;
    let Policy { concurrency, outgoing, queue, queue_timeout, hand_over, drain, .. } = &*policy;
    let Policy { probation, max_failures, preload, .. } = &*policy;
    let is_other = *settings != handler.settings();
    json!({
        "name": handler.name(),
        "binding": {
            "route": route.as_ref().map(ToString::to_string),
            "types": types.iter().map(ToString::to_string).collect::<Vec<_>>(),
        },
        "policy": {
            "concurrency": concurrency,
            "outgoing": outgoing,
            "queue": queue,
            "queue_timeout_ms": milliseconds(*queue_timeout),
            "hand_over_ms": milliseconds(*hand_over),
            "drain_ms": milliseconds(*drain),
            "probation_ms": milliseconds(*probation),
            "max_failures": max_failures,
            "preload": preload,
        },
        "settings": shown(&settings),
        "serving": handler.serving(),
        // What serves runs with other settings: these were refused, rolled back, or are on their way.
        "is_other": is_other && handler.serving().is_some(),
    })
}

/// Settings without the values of secrets.
fn shown(settings: &Settings) -> Value {
    let Settings { instances, timeout, memory, max_state, probe, config, allow } = settings;
    let config: BTreeMap<_, _> = config
        .iter()
        .map(|(key, value)| (key, (!value.is_secret()).then(|| value.expose())))
        .collect();
    json!({
        "instances": match instances {
            InstanceMode::Fresh => "fresh",
            InstanceMode::Pooled { .. } => "pooled",
            InstanceMode::Singleton => "singleton",
        },
        "timeout_ms": milliseconds(*timeout),
        "memory": memory,
        "max_state": max_state,
        "probe": probe,
        "config": config,
        "allow": { "http": allow.http.iter().map(ToString::to_string).collect::<Vec<_>>() },
    })
}

/// Whole milliseconds, which is what people write into a manifest.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
