//! The optional export of HTTP handlers that give answers back whole: `wrt:plugin/http`.

use std::fmt::Display;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};
use wasmtime::Store;
use wasmtime::component::{
    ComponentExportIndex, ComponentType, Instance, InstancePre, Lift, Resource, TypedFunc,
};
use wasmtime_wasi_http::handler::Response;
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use wasmtime_wasi_http::{FieldMap, FieldMapError};

use crate::cloudevent::excerpt;

/// The export, which such a component has beside `wasi:http/incoming-handler`.
const EXPORT: &str = "wrt:plugin/http@0.1.0";

/// Largest head of an answer, in bytes of names and values with their places in the map: as many as
/// by WASI's way, where that is wasmtime-wasi-http's default.
const MAX_HEADER_BYTES: usize = 128 * 1024;

/// Longest body that is given back whole, in bytes. It is held until the client has taken it, and
/// the call's place is free before; the SDK gives 64 KiB back whole and streams what is longer.
const MAX_WHOLE: usize = 256 * 1024;

/// Its one function.
pub(crate) type Handle =
    TypedFunc<(Resource<HostIncomingRequest>, Resource<HostResponseOutparam>), (Option<Answer>,)>;

/// An answer with all of its body.
#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

/// Where the function is, if `pre` has it.
///
/// # Errors
///
/// When the export is there and has no such function.
pub(super) fn index<T>(pre: &InstancePre<T>) -> wasmtime::Result<Option<ComponentExportIndex>> {
    let component = pre.component();
    let Some(interface) = component.get_export_index(None, EXPORT) else { return Ok(None) };
    match component.get_export_index(Some(&interface), "handle") {
        Some(handle) => Ok(Some(handle)),
        None => wasmtime::bail!("`{EXPORT}` has no function `handle`"),
    }
}

/// The function at `index` of `instance`.
///
/// # Errors
///
/// When it has other parameters or another result.
pub(super) fn load<T: 'static>(
    store: &mut Store<T>,
    instance: &Instance,
    index: &ComponentExportIndex,
) -> wasmtime::Result<Handle> {
    let handle = instance.get_typed_func(store, index);
    handle.map_err(|error| error.context(format!("export `handle` of `{EXPORT}` has another type")))
}

impl Answer {
    /// An answer that no guest gave, for fuzzing.
    #[cfg(any(feature = "fuzz", all(test, feature = "admin", feature = "dev")))]
    pub(crate) fn new(status: u16, headers: Vec<(String, Vec<u8>)>, body: Vec<u8>) -> Self {
        Self { status, headers, body }
    }

    /// The answer as it is sent on.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for people: a guest may say anything.
    pub(crate) fn into_response(
        self,
        mut is_forbidden: impl FnMut(&HeaderName) -> bool,
    ) -> Result<Response, String> {
        let Self { status, headers, body } = self;
        let length = body.len();
        if length > MAX_WHOLE {
            return Err(format!(
                "host refused a body of {length} bytes that was given back whole, the limit is \
                 {MAX_WHOLE}: stream it"
            ));
        }
        // The map of WASI's way: it counts what it holds, and does not panic where it is full.
        let mut fields = FieldMap::new_mutable(MAX_HEADER_BYTES);
        for (name, value) in headers {
            let refused =
                |why: &dyn Display| format!("host refused header `{}`: {why}", excerpt(&name));
            let key = HeaderName::from_bytes(name.as_bytes());
            let key = key.map_err(|_| refused(&FieldMapError::InvalidHeaderName))?;
            if is_forbidden(&key) {
                return Err(refused(&FieldMapError::Forbidden));
            }
            let value = HeaderValue::try_from(value);
            let value = value.map_err(|_| refused(&FieldMapError::InvalidHeaderValue))?;
            if key == CONTENT_LENGTH {
                if value.as_bytes() != length.to_string().as_bytes() {
                    return Err(refused(&"the body has another length"));
                }
                if fields.contains_key(&key) {
                    return Err(refused(&"it is there already"));
                }
            }
            fields.append_raw(key, value).map_err(|error| refused(&error))?;
        }
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(status).map_err(|_| format!("host refused status `{status}`"))?;
        *response.headers_mut() = fields.into();
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component, Linker};

    use super::*;
    use crate::config::RuntimeConfig;
    use crate::engine::Engines;

    fn refusal(status: u16, headers: &[(&str, &str)]) -> String {
        let headers = headers.iter();
        let headers = headers.map(|&(name, value)| (name.to_owned(), value.into())).collect();
        let answer = Answer { status, headers, body: b"four".to_vec() };
        let refused = answer.into_response(|name| name == http::header::CONNECTION);
        refused.err().unwrap_or_default()
    }

    #[test]
    fn an_export_without_the_function_is_named() {
        let engine = Engines::new(&RuntimeConfig::default()).unwrap().optimized;
        let text = r#"(component (instance $i) (export "wrt:plugin/http@0.1.0" (instance $i)))"#;
        let component = Component::new(engine.wasmtime(), text).unwrap();
        let linker = Linker::<()>::new(engine.wasmtime());
        let error = index(&linker.instantiate_pre(&component).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "`wrt:plugin/http@0.1.0` has no function `handle`");
    }

    #[test]
    fn what_is_no_answer_is_refused_by_name() {
        assert_eq!(refusal(200, &[("content-length", "4"), ("x", "1"), ("x", "2")]), "");
        for (status, name, value, found) in [
            (99, "x", "1", "host refused status `99`"),
            (200, "a b", "1", "host refused header `a b`: invalid header name"),
            (200, "x", "1\r\ny: 2", "host refused header `x`: invalid header value"),
            (200, "Connection", "close", "host refused header `Connection`: forbidden header name"),
            (
                200,
                "content-length",
                "5",
                "host refused header `content-length`: the body has another length",
            ),
        ] {
            assert_eq!(refusal(status, &[(name, value)]), found);
        }
    }

    #[test]
    fn a_head_without_bounds_is_refused() {
        let long = "v".repeat(MAX_HEADER_BYTES);
        let too_large = "host refused header `x`: total size of fields exceeds limit";
        assert_eq!(refusal(200, &[("x", &long)]), too_large);
        let body = vec![b'x'; MAX_WHOLE + 1];
        let refused = Answer { status: 200, headers: Vec::new(), body }.into_response(|_| false);
        assert_eq!(
            refused.err().unwrap_or_default(),
            "host refused a body of 262145 bytes that was given back whole, the limit is 262144: \
             stream it"
        );
        // More than an `http::HeaderMap` takes, which panics then.
        assert_eq!(refusal(200, &vec![("x", ""); 1 << 16]), too_large);
        let lengths = [("content-length", "4"); 2];
        assert_eq!(
            refusal(200, &lengths),
            "host refused header `content-length`: it is there already"
        );
    }
}
