//! HTTP calls of WASI 0.3: the [workers](super::worker) of wasmtime's `ProxyHandler` run the guest, one
//! for each store, and a caller waits for its answer.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::{Authority, Scheme};
use wasmtime_wasi_http::handler::{
    ExpirationError, InstantiationError, ProxyHandler, Request, Response, TrapOrPanicError,
};
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;

use super::call::Call;
use super::handler_error;
use super::worker::WorkerMaker;
use crate::config::InstanceMode;
use crate::contract::served::Http03;
use crate::error::CallFailure;
use crate::events::cut;
use crate::generation::Retirement;
use crate::instance::failure;
use crate::instance::keeper::Keeper;

/// Calls that one instance serves at once when it is pooled; a trap fails all of them, so it stays low.
/// wasmtime's own choice.
const CONCURRENT: usize = 16;

/// The instances of one generation, each run by a worker.
pub(crate) struct Workers(ProxyHandler<WorkerMaker>);

impl Workers {
    pub(crate) fn new(
        keeper: Arc<Keeper<Http03>>,
        mode: InstanceMode,
        timeout: Duration,
        retirement: Retirement,
    ) -> Self {
        let is_pooled = matches!(mode, InstanceMode::Pooled { .. });
        let concurrent = if is_pooled { CONCURRENT } else { 1 };
        Self(ProxyHandler::new(WorkerMaker { keeper, mode, concurrent, timeout, retirement }))
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper<Http03>> {
        &self.0.state().keeper
    }

    /// Calls that one instance serves at once.
    pub(super) fn concurrent(&self) -> usize {
        self.0.state().concurrent
    }

    /// See [`HttpInstances::call`](super::HttpInstances::call).
    pub(super) async fn call(&self, call: Call, request: Request) -> Result<Response, CallFailure> {
        let timeout = self.0.state().timeout;
        let caller = AbandonOnDrop(Some(&call));
        let mut handled = pin!(self.0.handle(call.clone(), with_address(request)));
        let mut answer = tokio::time::timeout(timeout, &mut handled).await;
        if answer.is_err() && call.give_up_on_upload() {
            // The guest waited for its client. Now it has its own time to say something to that.
            call.progress();
            answer = tokio::time::timeout(timeout, handled).await;
        }
        caller.disarm();
        match answer {
            Ok(Ok(response)) => {
                call.progress();
                Ok(response)
            }
            Ok(Err(error)) => Err(match unanswered(error, timeout) {
                // A trap reaches the worker alone; the call hears only that its answer is lost.
                lost @ (CallFailure::Guest { .. } | CallFailure::Trap { .. }) => {
                    call.worker_failure().await.unwrap_or(lost)
                }
                other => other,
            }),
            Err(_) => {
                call.abandon();
                Err(CallFailure::Deadline { timeout })
            }
        }
    }
}

/// Classifies what wasmtime's `ProxyHandler` says of a call with this `timeout` in place of an answer.
fn unanswered(error: wasmtime::Error, timeout: Duration) -> CallFailure {
    if error.is::<ExpirationError>() {
        return CallFailure::Deadline { timeout };
    }
    if error.is::<TrapOrPanicError>() {
        return CallFailure::Trap { source: error };
    }
    let error = match error.downcast::<ErrorCode>() {
        Ok(code) => return handler_error(code.into()),
        Err(error) => error,
    };
    match error.downcast::<InstantiationError<Call>>() {
        // Shared with the other calls that waited for the same instance.
        Ok(failed) => match failed.error.downcast_ref::<CallFailure>() {
            Some(failure) => failure.again(),
            None => {
                let reason = cut(format!("{:#}", failed.error));
                CallFailure::Instantiate { source: wasmtime::Error::msg(reason) }
            }
        },
        Err(error) => failure(error),
    }
}

/// `request` with scheme and authority in its URI, where handlers of WASI 0.3 look for them.
fn with_address(request: Request) -> Request {
    let (mut head, body) = request.into_parts();
    let mut uri = std::mem::take(&mut head.uri).into_parts();
    if uri.authority.is_none() {
        let host = head.headers.get(http::header::HOST);
        uri.authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    }
    // A URI of an authority alone, as `CONNECT` has it, takes no scheme.
    if uri.authority.is_some() && uri.path_and_query.is_some() {
        uri.scheme = Some(Scheme::HTTP);
    }
    // It cannot fail: there are either all three parts, or those that were there before.
    head.uri = Uri::from_parts(uri).unwrap_or_default();
    Request::from_parts(head, body)
}

/// Abandons its call unless that was answered first.
struct AbandonOnDrop<'a>(Option<&'a Call>);

impl AbandonOnDrop<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.0 {
            call.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn what_comes_in_place_of_an_answer_is_told_apart() {
        let not_made = |error: wasmtime::Error| {
            let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
            let (request_data, request) = (Call::default(), Mutex::new(Request::new(body)));
            let error = Arc::new(error);
            wasmtime::Error::new(InstantiationError { request_data, request, error })
        };
        let said = ErrorCode::InternalError(Some("no".to_owned()));
        for (error, expected) in [
            (wasmtime::Error::new(ExpirationError), "the guest did not answer within 1s"),
            (wasmtime::Error::new(TrapOrPanicError), "the guest trapped"),
            (wasmtime::Error::new(said), "a call ended with the handler's own error: no"),
            (
                not_made(wasmtime::Error::new(CallFailure::Init { reason: "no".to_owned() })),
                "the guest's `init` refused to start: no",
            ),
            (not_made(wasmtime::Error::msg("no")), "failed to make an instance"),
            (wasmtime::Error::msg("no"), "the guest did not answer: no"),
        ] {
            assert_eq!(unanswered(error, Duration::from_secs(1)).to_string(), expected);
        }
    }
}
