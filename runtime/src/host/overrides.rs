//! Host functions in which wrt differs from wasmtime: bodies say that they are whole, and texts of
//! errors have no backtrace of the host's.

use http::HeaderMap;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::io::error::Error as IoError;
use wasmtime_wasi_http::p2::HttpResult;
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::{Error, FieldMap, WasiHttpCtxView, WasiHttpView as _};

use super::HostState;

/// The interface with the function, in the version of wasmtime's own. A linker finds it for every 0.2.
const IO_ERROR: &str = "wasi:io/error@0.2.12";

/// Replaces a function that `linker` has.
///
/// # Errors
///
/// When the interface is there in another shape, which would be a defect of wrt.
pub(super) fn link<H: Send + 'static>(linker: &mut Linker<HostState<H>>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance(IO_ERROR)?.func_wrap("[method]error.to-debug-string", describe)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Finishes a body that has no trailers, with empty ones.
///
/// wasmtime ends a body in the same way when its guest has finished it and when its store is dropped, as
/// it is after a trap. With trailers, only a finished body ends so: see [`is_end`].
pub(super) fn finish(
    http: &mut WasiHttpCtxView<'_>,
    body: Resource<HostOutgoingBody>,
) -> HttpResult<()> {
    let body = http.table.delete(body)?;
    Ok(body.finish(Some(FieldMap::default()))?)
}

/// Whether `trailers` are nothing but the mark of a body's end.
pub(crate) fn is_end(trailers: &HeaderMap) -> bool {
    trailers.is_empty()
}

/// The messages of an error of streams. The host's backtrace, which wasmtime would show too, is not the
/// guest's to see.
fn describe<H: Send>(
    mut store: StoreContextMut<'_, HostState<H>>,
    (error,): (Resource<IoError>,),
) -> wasmtime::Result<(String,)> {
    let error = store.data_mut().http().table.get(&error)?;
    Ok((text(error),))
}

fn text(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Error>() {
        Some(Error::InternalError(Some(text))) => text.clone(),
        _ => format!("{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_in_words() {
        let own = Error::InternalError(Some("the client left".to_owned()));
        assert_eq!(text(&wasmtime::Error::new(own)), "the client left");
        assert_eq!(
            text(&wasmtime::Error::new(Error::ConnectionReadTimeout)),
            "connection read timeout"
        );
        let caused = wasmtime::Error::msg("inner").context("outer");
        assert_eq!(text(&caused), "outer: inner");
    }
}
