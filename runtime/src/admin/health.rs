//! Probes: whether the process answers, and whether its handlers do.

use axum::extract::State;

use super::Shared;
use super::problem::Problem;

/// The process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Every handler can answer, and the runtime is not about to end.
pub(super) async fn readyz(State(shared): State<Shared>) -> Result<&'static str, Problem> {
    if shared.runtime.is_ending() {
        return Err(Problem::stopping());
    }
    let statuses = shared.runtime.statuses();
    let waiting: Vec<_> = statuses.iter().filter(|status| !status.is_ready()).collect();
    if waiting.is_empty() {
        return Ok("ready\n");
    }
    // Asked without the token too, so their number is told and not their names.
    Err(Problem::not_ready(waiting.len(), statuses.len()))
}
