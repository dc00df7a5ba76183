//! The component's side of the SDK: exports and host calls, only on `wasm32`.

pub mod event;
pub mod http;
pub mod lifecycle;
pub mod state;

#[rustfmt::skip]
#[allow(warnings, unsafe_code, reason = "the files are generated, and not public to authors")]
pub mod bindings {
    //! One file for each world that an attribute can export.

    pub mod http;
    pub mod lifecycle;
    pub mod sdk;
    pub mod state;
}

use crate::log::Level;
use crate::{Error, Result};
use bindings::sdk::wasi::config::store;
use bindings::sdk::wasi::logging::logging;

pub(crate) fn config(key: &str) -> Result<Option<String>> {
    keep_component_type();
    store::get(key).map_err(|error| {
        let (store::Error::Upstream(text) | store::Error::Io(text)) = error;
        Error::from(format!("failed to read setting `{key}`: {text}"))
    })
}

pub(crate) fn log(level: Level, context: &str, message: &str) {
    let level = match level {
        Level::Trace => logging::Level::Trace,
        Level::Debug => logging::Level::Debug,
        Level::Info => logging::Level::Info,
        Level::Warn => logging::Level::Warn,
        Level::Error => logging::Level::Error,
        Level::Critical => logging::Level::Critical,
    };
    keep_component_type();
    logging::log(level, context, message);
}

/// Makes the linker take the object file that describes the imports.
///
/// The description is a custom section that no code refers to. When the optimiser inlines a host
/// call into the handler's own crate, nothing else of that file is needed, and the component
/// cannot be put together for want of an interface.
fn keep_component_type() {
    bindings::sdk::__link_custom_section_describing_imports();
}

/// An error of the host's in its own words, where it has any.
fn words(code: wasip2::http::types::ErrorCode) -> Error {
    match code {
        wasip2::http::types::ErrorCode::InternalError(Some(text)) => text.into(),
        other => other.into(),
    }
}

/// Tells of what nobody is left to be told of as an error.
#[allow(clippy::print_stderr, reason = "the host captures it, and no other way is left")]
fn report(what: &str, error: &Error) {
    eprintln!("{what}: {}", error.chain());
}
