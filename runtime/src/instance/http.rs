//! HTTP instances of one generation: those of WASI 0.2 are run by their callers, those of WASI 0.3 by
//! the workers of wasmtime's `ProxyHandler`, one for each store.

mod call;
mod direct;
mod upload;
mod worker;
mod workers;

use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::handler::Request;
pub(crate) use wasmtime_wasi_http::handler::Response;

use crate::engine::TICK;
use crate::error::{CallFailure, ProbeError};
use crate::events::cut;
pub(crate) use crate::host::is_end;
pub(crate) use call::{Call, Witness};
pub(crate) use direct::Direct;
pub(crate) use upload::upload;
pub(crate) use workers::Workers;

/// Time that a worker lives longer than its call's timeout, so that the call ends with its own
/// message first. Only a guest that neither answers nor yields lives that long.
const GRACE: Duration = Duration::from_millis(50).saturating_add(TICK);

/// The HTTP instances of one generation, by how calls reach one.
pub(crate) enum HttpInstances {
    /// Those of WASI 0.2.
    Direct(Direct),
    /// Those of WASI 0.3.
    Workers(Workers),
}

impl HttpInstances {
    /// How many instances `n` calls at once take.
    pub(crate) fn instances_for(&self, n: usize) -> usize {
        match self {
            Self::Direct(_) => n,
            Self::Workers(workers) => n.div_ceil(workers.concurrent()),
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
        let response = match self {
            Self::Direct(direct) => direct.call(&call, request).await,
            Self::Workers(workers) => workers.call(call, request).await,
        }?;
        let status = response.status();
        if is_final(status) { Ok(response) } else { Err(not_final(status)) }
    }

    /// Whether bodies of answers end with trailers, if with none in them, when the guest has finished
    /// them. Those of WASI 0.3 end with the guest's word, or with their worker.
    pub(crate) fn marks_ends(&self) -> bool {
        matches!(self, Self::Direct(_))
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
fn handler_error(error: wasmtime_wasi_http::Error) -> CallFailure {
    let reason = match error {
        wasmtime_wasi_http::Error::InternalError(Some(text)) => text,
        other => other.to_string(),
    };
    // Who made the call knows more of it.
    CallFailure::Handler { call: "a call".into(), reason: cut(reason) }
}
