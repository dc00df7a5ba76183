//! The component's side of the SDK: exports and host calls, only on `wasm32`.

pub mod event;
pub mod http;

#[rustfmt::skip]
#[allow(warnings, unsafe_code, reason = "the file is generated, and not public to authors")]
pub mod bindings;

use crate::log::Level;
use crate::{Error, Result};
use bindings::wasi::config::store;
use bindings::wasi::logging::logging;

pub(crate) fn config(key: &str) -> Result<Option<String>> {
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
    logging::log(level, context, message);
}
