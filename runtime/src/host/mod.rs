//! What guests may import: one capability per file, linked once, granted per handler.

mod budget;
mod http;
mod kept;
mod limits;
mod log;
mod offered;
mod overrides;
mod state;

use wasmtime::component::{HasSelf, Linker};

use crate::config::RuntimeConfig;
pub(crate) use budget::{Budget, GuestMemoryExceeded, Outgoing};
pub(crate) use limits::MemoryExceeded;
pub(crate) use log::LogSink;
pub(crate) use offered::{Offer, WASI_02_VERSION, WASI_03_VERSION, offer_for};
pub(crate) use overrides::is_end;
pub(crate) use state::Grants;
pub use state::HostState;

/// Bindings of the host side of our own imports.
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package wrt:host;
            world logger { import wasi:logging/logging@0.1.0-draft; }
        ",
        world: "wrt:host/logger",
    });
}

/// Adds everything wrt offers to `linker`. What a handler may do with it is in its [`Grants`].
///
/// # Errors
///
/// When a name is defined twice, which would be a defect of wrt.
pub(crate) fn link<H: Send + 'static>(
    linker: &mut Linker<HostState<H>>,
    config: &RuntimeConfig,
) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    kept::link(linker)?;
    wasmtime_wasi_config::add_to_linker(linker, HostState::config)?;
    bindings::wasi::logging::logging::add_to_linker::<_, HasSelf<LogSink>>(
        linker,
        HostState::log_sink,
    )?;
    overrides::link(linker)?;
    if config.wasi03 {
        wasmtime_wasi::p3::add_to_linker(linker)?;
        wasmtime_wasi_http::p3::add_to_linker(linker)?;
    }
    Ok(())
}
