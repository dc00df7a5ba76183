//! What the host keeps for a guest counts as the guest's memory: headers, requests, bodies, responses.
//!
//! The functions of `wasi:http/types` by which a guest makes the host keep something are defined once
//! more here, over those of wasmtime-wasi-http: each does what that one does, and charges what the
//! host keeps more to the store's memory limit, or gives back what it keeps less.

use wasmtime::component::{Linker, Resource, ResourceTable, ResourceType};
use wasmtime::{AsContextMut as _, StoreContextMut};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingRequest, HostIncomingResponse, HostOutgoingRequest,
    HostOutgoingResponse, HostResponseOutparam,
};
use wasmtime_wasi_http::p2::{HeaderResult, HttpResult};
use wasmtime_wasi_http::{FieldMap, RequestOptions, WasiHttpCtxView, WasiHttpView as _};

use super::state::MAX_RESOURCES;
use super::{HostState, overrides};

/// The interfaces, in the version that wasmtime-wasi-http and wasmtime-wasi implement.
const TYPES: &str = "wasi:http/types@0.2.12";
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";
const POLL: &str = "wasi:io/poll@0.2.12";

/// Bytes that a guest may write to an outgoing body at once: as many as the SDK writes.
pub(super) const BODY_CHUNK: usize = 64 * 1024;

/// Largest head of a message and largest trailers, in bytes of names and values with their places in
/// the map. wasmtime-wasi-http's default, named because it is charged.
pub(super) const MAX_FIELDS: usize = 128 * 1024;

/// What a body is charged for that nobody has begun to send: two chunks wait in its queue, and its
/// trailers.
pub(super) const BODY: usize = 2 * BODY_CHUNK + MAX_FIELDS;

/// What one header takes beyond its name and its value: its places in the map.
pub(super) const HEADER: usize = 128;

/// What a resource takes beyond its parts: itself, and its place in the table.
const RESOURCE: usize = 512;

/// A resource that a guest can make large.
trait Kept: 'static {
    /// Bytes that the host keeps for it.
    fn bytes(&self) -> usize;
}

impl Kept for FieldMap {
    fn bytes(&self) -> usize {
        let entries = self.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER);
        RESOURCE + entries.sum::<usize>()
    }
}

impl Kept for HostOutgoingRequest {
    fn bytes(&self) -> usize {
        let method = match &self.method {
            types::Method::Other(method) => method.len(),
            _ => 0,
        };
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let head = method + text(&self.authority) + text(&self.path_with_query);
        RESOURCE + head + self.headers.bytes() + self.body.as_ref().map_or(0, |_| BODY)
    }
}

impl Kept for HostOutgoingResponse {
    fn bytes(&self) -> usize {
        RESOURCE + self.headers.bytes() + self.body.as_ref().map_or(0, |_| BODY)
    }
}

impl Kept for HostIncomingResponse {
    fn bytes(&self) -> usize {
        RESOURCE + self.headers.bytes()
    }
}

impl<H: Send> HostState<H> {
    fn bytes_of<T: Kept>(&self, rep: u32) -> usize {
        // What is not there is refused by the function itself.
        self.table.get(&Resource::<T>::new_borrow(rep)).map_or(0, Kept::bytes)
    }

    /// Charges a resource that was just made.
    fn charge<T: Kept>(&mut self, made: &Resource<T>) -> wasmtime::Result<()> {
        let bytes = self.bytes_of::<T>(made.rep());
        self.limits.keep(0, bytes)
    }

    /// Does what may change the size of `resource`, or end it, and charges the difference.
    fn change<T: Kept, R>(
        &mut self,
        resource: Resource<T>,
        change: impl FnOnce(&mut WasiHttpCtxView<'_>, Resource<T>) -> R,
    ) -> wasmtime::Result<R> {
        let rep = resource.rep();
        let before = self.bytes_of::<T>(rep);
        let done = change(&mut self.http(), resource);
        let after = self.bytes_of::<T>(rep);
        self.limits.keep(before, after)?;
        Ok(done)
    }
}

/// What the host's function came to, as the guest is told.
fn told<T>(result: HeaderResult<T>) -> wasmtime::Result<(Result<T, types::HeaderError>,)> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

/// As [`told`], for errors of HTTP.
fn answered<T>(result: HttpResult<T>) -> wasmtime::Result<(Result<T, types::ErrorCode>,)> {
    match result {
        Ok(value) => Ok((Ok(value),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

type Cx<'a, H> = StoreContextMut<'a, HostState<H>>;

/// Puts the functions that charge in the place of those in `linker` that do not.
///
/// # Errors
///
/// When the linker refuses a name, which would be a defect of wrt.
pub(super) fn link<H: Send + 'static>(linker: &mut Linker<HostState<H>>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    link_fields(linker)?;
    link_requests(linker)?;
    link_responses(linker)?;
    link_poll(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

fn link_fields<H: Send + 'static>(linker: &mut Linker<HostState<H>>) -> wasmtime::Result<()> {
    type Fields = Resource<FieldMap>;
    let mut types = linker.instance(TYPES)?;
    types.resource("fields", ResourceType::host::<FieldMap>(), |mut cx: Cx<'_, H>, rep| {
        cx.data_mut()
            .change(Fields::new_own(rep), |http, fields| types::HostFields::drop(http, fields))?
    })?;
    types.func_wrap("[constructor]fields", |mut cx: Cx<'_, H>, (): ()| {
        let fields = types::HostFields::new(&mut cx.data_mut().http())?;
        cx.data_mut().charge(&fields)?;
        Ok((fields,))
    })?;
    types.func_wrap(
        "[static]fields.from-list",
        |mut cx: Cx<'_, H>, (entries,): (Vec<(String, Vec<u8>)>,)| {
            let made = types::HostFields::from_list(&mut cx.data_mut().http(), entries);
            if let Ok(fields) = &made {
                cx.data_mut().charge(fields)?;
            }
            told(made)
        },
    )?;
    types.func_wrap(
        "[method]fields.set",
        |mut cx: Cx<'_, H>, (fields, name, values): (Fields, String, Vec<Vec<u8>>)| {
            told(cx.data_mut().change(fields, |http, fields| {
                types::HostFields::set(http, fields, name, values)
            })?)
        },
    )?;
    types.func_wrap(
        "[method]fields.delete",
        |mut cx: Cx<'_, H>, (fields, name): (Fields, String)| {
            told(
                cx.data_mut()
                    .change(fields, |http, fields| types::HostFields::delete(http, fields, name))?,
            )
        },
    )?;
    types.func_wrap(
        "[method]fields.append",
        |mut cx: Cx<'_, H>, (fields, name, value): (Fields, String, Vec<u8>)| {
            told(cx.data_mut().change(fields, |http, fields| {
                types::HostFields::append(http, fields, name, value)
            })?)
        },
    )?;
    types.func_wrap("[method]fields.clone", |mut cx: Cx<'_, H>, (fields,): (Fields,)| {
        let clone = types::HostFields::clone(&mut cx.data_mut().http(), fields)?;
        cx.data_mut().charge(&clone)?;
        Ok((clone,))
    })?;
    // Each look at the headers of a message makes such a resource.
    types.func_wrap(
        "[method]incoming-request.headers",
        |mut cx: Cx<'_, H>, (request,): (Resource<HostIncomingRequest>,)| {
            let fields = types::HostIncomingRequest::headers(&mut cx.data_mut().http(), request)?;
            cx.data_mut().charge(&fields)?;
            Ok((fields,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.headers",
        |mut cx: Cx<'_, H>, (request,): (Resource<HostOutgoingRequest>,)| {
            let fields = types::HostOutgoingRequest::headers(&mut cx.data_mut().http(), request)?;
            cx.data_mut().charge(&fields)?;
            Ok((fields,))
        },
    )?;
    types.func_wrap(
        "[method]incoming-response.headers",
        |mut cx: Cx<'_, H>, (response,): (Resource<HostIncomingResponse>,)| {
            let fields = types::HostIncomingResponse::headers(&mut cx.data_mut().http(), response)?;
            cx.data_mut().charge(&fields)?;
            Ok((fields,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-response.headers",
        |mut cx: Cx<'_, H>, (response,): (Resource<HostOutgoingResponse>,)| {
            let fields = types::HostOutgoingResponse::headers(&mut cx.data_mut().http(), response)?;
            cx.data_mut().charge(&fields)?;
            Ok((fields,))
        },
    )?;
    types.func_wrap(
        "[method]future-trailers.get",
        |mut cx: Cx<'_, H>, (trailers,): (Resource<HostFutureTrailers>,)| {
            let got = types::HostFutureTrailers::get(&mut cx.data_mut().http(), trailers)?;
            if let Some(Ok(Ok(Some(fields)))) = &got {
                cx.data_mut().charge(fields)?;
            }
            Ok((got,))
        },
    )?;
    types.func_wrap(
        "[static]outgoing-body.finish",
        |mut cx: Cx<'_, H>, (body, trailers): (Resource<HostOutgoingBody>, Option<Fields>)| {
            // They are part of what the body was charged for.
            answered(match trailers {
                Some(fields) => cx.data_mut().change(fields, |http, fields| {
                    types::HostOutgoingBody::finish(http, body, Some(fields))
                })?,
                None => overrides::finish(&mut cx.data_mut().http(), body),
            })
        },
    )
}

fn link_requests<H: Send + 'static>(linker: &mut Linker<HostState<H>>) -> wasmtime::Result<()> {
    type Request = Resource<HostOutgoingRequest>;
    let mut types = linker.instance(TYPES)?;
    let request = ResourceType::host::<HostOutgoingRequest>();
    types.resource("outgoing-request", request, |mut cx: Cx<'_, H>, rep| {
        cx.data_mut().change(Request::new_own(rep), |http, request| {
            types::HostOutgoingRequest::drop(http, request)
        })?
    })?;
    types.func_wrap(
        "[constructor]outgoing-request",
        |mut cx: Cx<'_, H>, (headers,): (Resource<FieldMap>,)| {
            let state = cx.data_mut();
            let request = state.change(headers, |http, headers| {
                types::HostOutgoingRequest::new(http, headers)
            })??;
            state.charge(&request)?;
            Ok((request,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.body",
        |mut cx: Cx<'_, H>, (request,): (Request,)| {
            let body = cx
                .data_mut()
                .change(request, |http, request| types::HostOutgoingRequest::body(http, request))?;
            Ok((body?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut cx: Cx<'_, H>, (request, method): (Request, types::Method)| {
            let set = cx.data_mut().change(request, |http, request| {
                types::HostOutgoingRequest::set_method(http, request, method)
            })?;
            Ok((set?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-path-with-query",
        |mut cx: Cx<'_, H>, (request, path): (Request, Option<String>)| {
            let set = cx.data_mut().change(request, |http, request| {
                types::HostOutgoingRequest::set_path_with_query(http, request, path)
            })?;
            Ok((set?,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut cx: Cx<'_, H>, (request, authority): (Request, Option<String>)| {
            let set = cx.data_mut().change(request, |http, request| {
                types::HostOutgoingRequest::set_authority(http, request, authority)
            })?;
            Ok((set?,))
        },
    )?;
    linker.instance(HANDLER)?.func_wrap(
        "handle",
        |mut cx: Cx<'_, H>, (request, options): (Request, Option<Resource<RequestOptions>>)| {
            answered(cx.data_mut().change(request, |http, request| {
                outgoing_handler::Host::handle(http, request, options)
            })?)
        },
    )
}

fn link_responses<H: Send + 'static>(linker: &mut Linker<HostState<H>>) -> wasmtime::Result<()> {
    type Outgoing = Resource<HostOutgoingResponse>;
    type Incoming = Resource<HostIncomingResponse>;
    let mut types = linker.instance(TYPES)?;
    let outgoing = ResourceType::host::<HostOutgoingResponse>();
    types.resource("outgoing-response", outgoing, |mut cx: Cx<'_, H>, rep| {
        cx.data_mut().change(Outgoing::new_own(rep), |http, response| {
            types::HostOutgoingResponse::drop(http, response)
        })?
    })?;
    types.func_wrap(
        "[constructor]outgoing-response",
        |mut cx: Cx<'_, H>, (headers,): (Resource<FieldMap>,)| {
            let state = cx.data_mut();
            let response = state.change(headers, |http, headers| {
                types::HostOutgoingResponse::new(http, headers)
            })??;
            state.charge(&response)?;
            Ok((response,))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-response.body",
        |mut cx: Cx<'_, H>, (response,): (Outgoing,)| {
            let body = cx.data_mut().change(response, |http, response| {
                types::HostOutgoingResponse::body(http, response)
            })?;
            Ok((body?,))
        },
    )?;
    type Answer = Result<Outgoing, types::ErrorCode>;
    types.func_wrap(
        "[static]response-outparam.set",
        |mut cx: Cx<'_, H>, (out, answer): (Resource<HostResponseOutparam>, Answer)| {
            let set = |http: &mut WasiHttpCtxView<'_>, answer| {
                types::HostResponseOutparam::set(http, out, answer)
            };
            match answer {
                Ok(response) => {
                    cx.data_mut().change(response, |http, response| set(http, Ok(response)))?
                }
                Err(error) => set(&mut cx.data_mut().http(), Err(error)),
            }
        },
    )?;
    let incoming = ResourceType::host::<HostIncomingResponse>();
    types.resource("incoming-response", incoming, |mut cx: Cx<'_, H>, rep| {
        cx.data_mut().change(Incoming::new_own(rep), |http, response| {
            types::HostIncomingResponse::drop(http, response)
        })?
    })?;
    types.func_wrap(
        "[method]future-incoming-response.get",
        |mut cx: Cx<'_, H>, (future,): (Resource<HostFutureIncomingResponse>,)| {
            let got = types::HostFutureIncomingResponse::get(&mut cx.data_mut().http(), future)?;
            if let Some(Ok(Ok(response))) = &got {
                cx.data_mut().charge(response)?;
            }
            Ok((got,))
        },
    )
}

/// A list of pollables is held as long as nothing of it is ready, and may name each many times.
fn link_poll<H: Send + 'static>(linker: &mut Linker<HostState<H>>) -> wasmtime::Result<()> {
    linker.instance(POLL)?.func_wrap_async(
        "poll",
        |mut cx: Cx<'_, H>, (pollables,): (Vec<Resource<DynPollable>>,)| {
            Box::new(async move {
                if pollables.len() > MAX_RESOURCES {
                    wasmtime::bail!(
                        "polled a list of {}, more than the limit of {MAX_RESOURCES}",
                        pollables.len()
                    );
                }
                let mut cx = cx.as_context_mut();
                let table: &mut ResourceTable = &mut cx.data_mut().table;
                Ok((poll::Host::poll(table, pollables).await?,))
            })
        },
    )
}
