//! The optional export of HTTP handlers that give answers back whole: `wrt:plugin/http`.

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

use crate::cloudevent::excerpt;

/// The export, which such a component has beside `wasi:http/incoming-handler`.
const EXPORT: &str = "wrt:plugin/http@0.1.0";

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
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(status).map_err(|_| format!("host refused status `{status}`"))?;
        response.headers_mut().reserve(headers.len());
        for (name, value) in headers {
            let refused = |why: &str| format!("host refused header `{}`: {why}", excerpt(&name));
            let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused("no name"))?;
            if is_forbidden(&key) {
                return Err(refused("forbidden header name"));
            }
            let value =
                HeaderValue::try_from(value).map_err(|_| refused("no value of a header"))?;
            if key == CONTENT_LENGTH && value.as_bytes() != length.to_string().as_bytes() {
                return Err(refused("the body has another length"));
            }
            response.headers_mut().append(key, value);
        }
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
            (200, "a b", "1", "host refused header `a b`: no name"),
            (200, "x", "1\r\ny: 2", "host refused header `x`: no value of a header"),
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
}
