//! How a call went wrong, told from wasmtime's error.

use wasmtime::Trap;
use wasmtime_wasi_http::handler::{ExpirationError, InstantiationError, TrapOrPanicError};

use crate::error::{CallFailure, chain};
use crate::host::MemoryExceeded;

/// Classifies what a guest's call ended with. `timeout` is the call's own, for the message.
pub(crate) fn failure(error: wasmtime::Error, timeout: std::time::Duration) -> CallFailure {
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        return CallFailure::Memory { wanted: exceeded.wanted, limit: exceeded.limit };
    }
    if error.is::<ExpirationError>() {
        return CallFailure::Deadline { timeout };
    }
    let error = match error.downcast::<InstantiationError<super::http::Call>>() {
        // Shared with the other calls that waited for the same instance.
        Ok(failed) => {
            return match failed.error.downcast_ref::<CallFailure>() {
                Some(CallFailure::Memory { wanted, limit }) => {
                    CallFailure::Memory { wanted: *wanted, limit: *limit }
                }
                Some(CallFailure::Deadline { timeout }) => {
                    CallFailure::Deadline { timeout: *timeout }
                }
                Some(CallFailure::Init { reason }) => CallFailure::Init { reason: reason.clone() },
                Some(CallFailure::Instantiate { source }) => {
                    CallFailure::Instantiate { source: wasmtime::Error::msg(format!("{source:#}")) }
                }
                Some(other) => {
                    CallFailure::Instantiate { source: wasmtime::Error::msg(chain(other)) }
                }
                None => CallFailure::Instantiate {
                    source: wasmtime::Error::msg(format!("{:#}", failed.error)),
                },
            };
        }
        Err(error) => error,
    };
    if error.is::<Trap>() || error.is::<TrapOrPanicError>() || error.is::<wasmtime::WasmBacktrace>()
    {
        return CallFailure::Trap { source: error };
    }
    CallFailure::Guest { reason: format!("{error:#}") }
}
