//! What a supervisor's loop waits for between two operations, each for ever when there is nothing to
//! wait for.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::task::Optimizing;
use super::trial::Trial;
use crate::error::StageError;
use crate::generation::Loaded;
use crate::handler::{Handler, Hold};

/// Waits until the generation on trial is condemned, and returns why; for ever without a trial.
/// Cancel-safe: the figures stay.
pub(super) async fn condemned<R>(handler: &Handler<R>, trial: Option<Trial>) -> String {
    let active = handler.active().current();
    if let (Some(trial), Some(active)) = (trial, active) {
        loop {
            let sample = active.tally().sample();
            if let Some(reason) = trial.condemned(&sample) {
                return reason;
            }
            trial.goes_on(sample.counts);
            active.tally().alarmed().await;
        }
    }
    std::future::pending().await
}

/// Waits for the end of a trial's time, for ever without a trial.
pub(super) async fn over(trial: Option<Trial>) -> Trial {
    match trial {
        Some(trial) => {
            tokio::time::sleep_until(trial.until).await;
            trial
        }
        None => std::future::pending().await,
    }
}

/// Waits for optimized code, for ever when none is on its way. Cancel-safe: it stays on its way.
pub(super) async fn next<R>(
    optimizing: &mut Option<Optimizing<R>>,
) -> Result<(Loaded<R>, Duration), StageError> {
    match optimizing {
        Some(optimizing) => optimizing.await,
        None => std::future::pending().await,
    }
}

/// Waits until `deadline`, for ever without one.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits until a call comes while nothing is active; for ever unless `is_put_off`, that is, something
/// waits for that. Cancel-safe: that a call came is not forgotten.
pub(super) async fn wanted<R>(handler: &Handler<R>, is_put_off: bool) {
    match is_put_off {
        true => handler.active().wanted().await,
        false => std::future::pending().await,
    }
}

/// Does `work` while callers are held, though they are let go after `limit`.
pub(super) async fn while_held<'a, R, T>(
    hold: Option<Hold<'a, R>>,
    limit: Duration,
    work: impl Future<Output = T>,
) -> (T, Option<Hold<'a, R>>) {
    let mut work = std::pin::pin!(work);
    if hold.is_some() {
        if let Ok(done) = tokio::time::timeout(limit, work.as_mut()).await {
            return (done, hold);
        }
        drop(hold);
    }
    (work.await, None)
}
