//! A batch of events: each is a call of its own, in order, and the answers are a batch.
//!
//! CloudEvents leaves open what becomes of a batch of which some events fail. Here the first event that
//! fails ends the batch. Events of a batch may build on each other, and the sender, which has to send the
//! batch again, gets fewer of them handled twice. The answer says how many were handled.

use http::Response;

use super::body::Body;
use super::cloudevents;
use super::dispatch::DataPlane;
use super::reply::{self, Refusal};
use crate::cloudevent::CloudEvent;
use crate::error::{CallFailure, chain};
use crate::handler::{Begun, Entered, Handler};
use crate::instance::{Served, handle_event};

/// Hands each of `events` to `handler`, the first one in the call that was `entered` for it.
///
/// # Errors
///
/// The call of the first event failed, or the answers are no events.
///
/// # Cancel safety
///
/// The call under way ends as [`handle_event`] says, and none follows.
pub(super) async fn handle(
    plane: &DataPlane,
    handler: &Handler<Served>,
    entered: Entered<Served>,
    events: Vec<CloudEvent>,
) -> Result<Response<Body>, CallFailure> {
    let (mut answers, mut first, of) = (Vec::new(), Some(entered), events.len());
    for (n_handled, event) in events.into_iter().enumerate() {
        let stopped = |response| Ok(reply::stopped(&response, n_handled, of));
        let is_first = first.is_some();
        let entered = match first.take() {
            Some(entered) => entered,
            None => match handler.enter().await {
                Ok(entered) => entered,
                Err(error) => {
                    error.report(&plane.bus);
                    return stopped(reply::refused(&Refusal::NotEntered(&error)));
                }
            },
        };
        let begun = Begun::of(&entered);
        let failure = match handle_event(entered, handler.config().timeout, event).await {
            Ok(Ok(answer)) => {
                answers.extend(answer.map(|answer| *answer));
                // The first call is told of with the answer to the batch.
                if !is_first {
                    begun.answered(None);
                }
                continue;
            }
            Ok(Err(reason)) => {
                return stopped(reply::refused(&Refusal::RejectedEvent { reason }));
            }
            Err(failure) => failure,
        };
        if is_first {
            // Told by whoever let the first call in.
            return Err(failure);
        }
        let request_id = Some(plane.request_ids.next());
        let report = begun.report(&plane.bus, handler.name(), request_id);
        Box::pin(report.failed_before_answer(&failure)).await;
        return stopped(reply::failed(handler.name(), &failure, None));
    }
    if answers.is_empty() {
        return Ok(reply::no_content());
    }
    match cloudevents::json::batch(&answers) {
        Ok(response) => Ok(response.map(Body::full)),
        Err(error) => Err(CallFailure::Guest { reason: chain(&error) }),
    }
}
