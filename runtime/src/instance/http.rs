//! HTTP instances of one generation: those of WASI 0.2 are run by their callers, those of WASI 0.3 by
//! the workers of wasmtime's `ProxyHandler`, one for each store.

mod call;
mod direct;
mod upload;
mod worker;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{StatusCode, Uri};
use http_body_util::BodyExt as _;
pub(crate) use wasmtime_wasi_http::handler::Response;
use wasmtime_wasi_http::handler::{ProxyHandler, Request};

use super::failure;
use super::keeper::Keeper;
use crate::config::InstanceMode;
use crate::contract::served::Http;
use crate::engine::TICK;
use crate::error::{CallFailure, ProbeError};
use crate::events::cut;
use crate::generation::Retirement;
pub(crate) use crate::host::is_end;
pub(crate) use call::{Call, Witness};
use direct::Direct;
pub(crate) use upload::upload;
use worker::Workers;

/// Calls that one WASI 0.3 instance serves at once when it is pooled; a trap fails all of them, so
/// it stays low. wasmtime's own choice.
const CONCURRENT_03: usize = 16;

/// Time that a worker lives longer than its call's timeout, so that the call ends with its own
/// message first. Only a guest that neither answers nor yields lives that long.
const GRACE: Duration = Duration::from_millis(50).saturating_add(TICK);

/// The HTTP instances of one generation.
pub(crate) struct HttpInstances(Way);

/// How calls reach an instance.
enum Way {
    Direct(Direct),
    Workers(ProxyHandler<Workers>),
}

impl HttpInstances {
    /// `is_03` says that they are handlers of WASI 0.3, of which a pooled one serves several calls at
    /// once.
    pub(crate) fn new(
        keeper: Arc<Keeper<Http>>,
        is_03: bool,
        mode: InstanceMode,
        timeout: Duration,
        retirement: Retirement,
    ) -> Self {
        if is_03 {
            let is_pooled = matches!(mode, InstanceMode::Pooled { .. });
            let concurrent = if is_pooled { CONCURRENT_03 } else { 1 };
            let state = Workers { keeper, mode, concurrent, timeout, retirement };
            Self(Way::Workers(ProxyHandler::new(state)))
        } else {
            Self(Way::Direct(Direct { keeper, timeout, cut: retirement.cut }))
        }
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper<Http>> {
        match &self.0 {
            Way::Direct(direct) => &direct.keeper,
            Way::Workers(proxy) => &proxy.state().keeper,
        }
    }

    /// How many instances `n` calls at once take.
    pub(crate) fn instances_for(&self, n: usize) -> usize {
        match &self.0 {
            Way::Direct(_) => n,
            Way::Workers(proxy) => n.div_ceil(proxy.state().concurrent),
        }
    }

    /// Asks for `path`, as a new generation is before it is published.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] when there is no answer, or one with a status of 400 or above.
    pub(crate) async fn probe(&self, path: &str) -> Result<(), ProbeError> {
        let body = http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync();
        let uri = http::Uri::builder().scheme("http").authority("localhost").path_and_query(path);
        let request = uri.build().and_then(|uri| http::Request::builder().uri(uri).body(body));
        let request = request.map_err(|error| CallFailure::Guest { reason: error.to_string() })?;
        let response = self.call(Call::default(), request).await?;
        let status = response.status().as_u16();
        if status < 400 { Ok(()) } else { Err(ProbeError::Status { status }) }
    }

    /// Sends one request through an instance; ready with the head of the response.
    ///
    /// # Errors
    ///
    /// [`CallFailure`]; the instance is then gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the guest, unless its instance serves other calls too or is a
    /// singleton: whose client left goes on, as its memory is not the client's.
    pub(crate) async fn call(&self, call: Call, request: Request) -> Result<Response, CallFailure> {
        let response = match &self.0 {
            Way::Direct(direct) => direct.call(&call, request).await,
            Way::Workers(proxy) => handle(proxy, call, request).await,
        }?;
        let status = response.status();
        if is_final(status) { Ok(response) } else { Err(not_final(status)) }
    }

    /// Whether bodies of answers end with trailers, if with none in them, when the guest has finished
    /// them. Those of WASI 0.3 end with the guest's word, or with their worker.
    pub(crate) fn marks_ends(&self) -> bool {
        matches!(self.0, Way::Direct(_))
    }
}

/// Whether an answer may have this status: interim ones are no answers, and `101` would hand the
/// connection over.
fn is_final(status: StatusCode) -> bool {
    (200..600).contains(&status.as_u16())
}

fn not_final(status: StatusCode) -> CallFailure {
    let status = status.as_u16();
    let reason =
        format!("host refused status `{status}`: an answer has one of 200 to 599 (RFC 9110, 15)");
    CallFailure::Guest { reason }
}

/// What a handler said in place of an answer.
pub(super) fn handler_error(error: wasmtime_wasi_http::Error) -> CallFailure {
    let reason = match error {
        wasmtime_wasi_http::Error::InternalError(Some(text)) => text,
        other => other.to_string(),
    };
    // Who made the call knows more of it.
    CallFailure::Handler { call: "a call".into(), reason: cut(reason) }
}

async fn handle(
    proxy: &ProxyHandler<Workers>,
    call: Call,
    request: Request,
) -> Result<Response, CallFailure> {
    let timeout = proxy.state().timeout;
    let unanswered = AbandonOnDrop(Some(&call));
    let mut handled = pin!(proxy.handle(call.clone(), with_address(request)));
    let mut answer = tokio::time::timeout(timeout, &mut handled).await;
    if answer.is_err() && call.give_up_on_upload() {
        // The guest waited for its client. Now it has its own time to say something to that.
        call.progress();
        answer = tokio::time::timeout(timeout, handled).await;
    }
    unanswered.disarm();
    match answer {
        Ok(Ok(response)) => {
            call.progress();
            Ok(response)
        }
        Ok(Err(error)) => Err(match failure(error, timeout) {
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
