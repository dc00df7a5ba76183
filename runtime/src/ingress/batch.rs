//! A batch of events: each is a call of its own, in order, and the answers are a batch.
//!
//! CloudEvents leaves open what becomes of a batch of which some events fail. Here the first event that
//! fails ends the batch. Events of a batch may build on each other, and the sender, which has to send the
//! batch again, gets fewer of them handled twice. The answer says how many were handled.

use bytes::Bytes;
use http::Response;

use super::body::Body;
use super::cloudevents;
use super::dispatch::{DataPlane, MAX_EVENT};
use super::reply::{self, Refusal};
use crate::cloudevent::CloudEvent;
use crate::error::{CallFailure, chain};
use crate::handler::{Begun, Entered, Handler};
use crate::instance::{EventInstances, Served, handle_event};

/// Bytes of data that the answers to one batch may have together: they are held until the last one is
/// there. As many as an event or a batch may have.
const MAX_ANSWERS: usize = MAX_EVENT;

/// The answers to the events of a batch.
#[derive(Default)]
struct Answers {
    events: Vec<CloudEvent>,
    /// Bytes of their data.
    bytes: usize,
}

impl Answers {
    /// Puts `answer` to the others, if it is an event and there is room for it.
    fn add(&mut self, answer: CloudEvent) -> Result<(), CallFailure> {
        // Looked at now, so that the event is named whose answer it is.
        let checked = answer.validate();
        checked.map_err(|error| CallFailure::Guest { reason: chain(&error) })?;
        self.bytes += answer.data.as_ref().map_or(0, Bytes::len);
        if self.bytes > MAX_ANSWERS {
            let reason =
                format!("its answers to a batch have more than {MAX_ANSWERS} bytes of data");
            return Err(CallFailure::Guest { reason });
        }
        self.events.push(answer);
        Ok(())
    }
}

/// Hands each of `events` to `handler`, the `first` event in the call that was let in for it.
///
/// # Errors
///
/// The call of the first event failed, or the answers cannot be written.
///
/// # Cancel safety
///
/// The call under way ends as [`handle_event`] says, and none follows.
pub(super) async fn handle(
    plane: &DataPlane,
    handler: &Handler<Served>,
    first: (Entered<Served>, EventInstances),
    events: Vec<CloudEvent>,
) -> Result<Response<Body>, CallFailure> {
    let (mut answers, mut first, of) = (Answers::default(), Some(first), events.len());
    for (n_handled, event) in events.into_iter().enumerate() {
        let stopped =
            |response, why: Option<&str>| Ok(reply::stopped(&response, why, n_handled, of));
        let is_first = first.is_some();
        let (entered, instances) = match first.take() {
            Some((entered, instances)) => (entered, Some(instances)),
            None => match handler.enter().await {
                Ok(entered) => {
                    let instances = entered.pass.kind.events().cloned();
                    (entered, instances)
                }
                Err(error) => {
                    error.report(&plane.bus);
                    let why = error.to_string();
                    return stopped(reply::refused(&Refusal::NotEntered(&error)), Some(&why));
                }
            },
        };
        let begun = Begun::of(&entered);
        let handled = match instances {
            Some(instances) => handle_event(entered, instances, event).await,
            // A swap between two events of a batch may bring a handler of requests, which is not at fault.
            None => {
                drop(entered);
                let now = "the handler takes HTTP requests now, not events";
                Ok(Err(format!("{now}: send the rest of the batch to another handler")))
            }
        };
        let handled = match handled {
            Ok(Ok(answer)) => answer.map_or(Ok(()), |answer| answers.add(*answer)),
            Ok(Err(reason)) => {
                let why = reason.clone();
                return stopped(reply::refused(&Refusal::RejectedEvent { reason }), Some(&why));
            }
            Err(failure) => Err(failure),
        };
        let Err(failure) = handled else {
            // The first call is told of with the answer to the batch.
            if !is_first {
                begun.answered(None);
            }
            continue;
        };
        if is_first {
            // Told by whoever let the first call in.
            return Err(failure);
        }
        let request_id = Some(plane.request_ids.next());
        let report = begun.report(&plane.bus, handler.name(), request_id);
        Box::pin(report.failed_before_answer(&failure)).await;
        return stopped(reply::failed(handler.name(), &failure, None), None);
    }
    if answers.events.is_empty() {
        return Ok(reply::no_content());
    }
    match cloudevents::json::batch(&answers.events) {
        Ok(response) => Ok(response.map(Body::full)),
        Err(error) => Err(CallFailure::Guest { reason: chain(&error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_a_batch_are_events_and_have_a_bound_together() {
        let answer = |bytes| {
            CloudEvent::new("1", "/test", "answered").with_data("text/plain", vec![b'x'; bytes])
        };
        let refused = |added: Result<(), CallFailure>| match added {
            Err(CallFailure::Guest { reason }) => reason,
            other => panic!("expected the guest's failure, found {other:?}"),
        };
        let mut answers = Answers::default();
        answers.add(answer(MAX_ANSWERS - 1)).unwrap();
        let invalid = refused(answers.add(CloudEvent::new("", "/test", "answered")));
        assert_eq!(invalid, "attribute `id` is empty");
        answers.add(answer(1)).unwrap();
        let expected = "its answers to a batch have more than 8388608 bytes of data";
        assert_eq!(refused(answers.add(answer(1))), expected);
        assert_eq!(answers.events.len(), 2);
    }
}
