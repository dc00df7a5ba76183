//! One request: find its handler, enter the active generation, call, and turn the outcome into a
//! response.

use std::pin::pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::accept::ConnectionCounts;
use super::batch;
use super::body::Body;
use super::cloudevents::{self, Mode, Sent};
use super::obstructed;
use super::reply::{self, Refusal};
use super::upload::{self, Upload, UploadError};
use crate::cloudevent::CloudEvent;
use crate::config::RuntimeConfig;
use crate::error::{CallFailure, chain};
use crate::events::EventBus;
use crate::handler::table::RouteTable;
use crate::handler::{Begun, CallReport, EnterError, Entered, Handler, RequestIds};
use crate::instance::http::{self as guest_http, Call, HttpInstances, Witness};
use crate::instance::{EventInstances, Served, ServedKind, handle_event};

/// Largest event accepted over HTTP, in bytes: it is held in memory whole. The CloudEvents
/// documents ask for 64 KiB at least; brokers stop at a few MiB.
pub(super) const MAX_EVENT: usize = 8 * 1024 * 1024;

/// Characters of a request's method and path in a message; the rest of a path identifies nothing more.
const MAX_NAMED: usize = 200;

/// Headers that belong to one connection: never from the guest, since the framing is the host's.
static HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    HeaderName::from_static("keep-alive"),
];

/// The response header that tells which generation answered.
pub(super) const GENERATION: HeaderName = HeaderName::from_static("wrt-generation");

/// What requests need: the routes, and where failures are reported.
#[derive(Debug)]
pub(crate) struct DataPlane {
    pub(crate) routes: ArcSwap<RouteTable<Served>>,
    pub(crate) config: Arc<RuntimeConfig>,
    pub(crate) bus: EventBus,
    pub(crate) request_ids: RequestIds,
    /// Bytes of requests' bodies that may be kept ahead of their calls.
    pub(crate) uploads: Arc<Semaphore>,
    /// Bytes of answers that may be kept ahead of their clients.
    pub(crate) answers: Arc<Semaphore>,
    /// Figures about the connections of all listeners.
    pub(crate) connections: Arc<ConnectionCounts>,
}

impl std::fmt::Debug for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").field("label", &self.label).finish_non_exhaustive()
    }
}

impl DataPlane {
    /// Answers one request, whose host has been judged; a failure of any kind is a response too.
    pub(super) async fn respond<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let routes = self.routes.load();
        let Some(mut handler) = routes.find(request.uri().path()).map(Arc::clone) else {
            return reply::refused(&Refusal::NoRoute { path: request.uri().path() });
        };
        // Not held across the call: a handler that is added or removed would wait for it.
        drop(routes);
        let wants_html = reply::wants_html(request.headers());
        let mut request = request.map(Upload::new);
        let mut admitted = None;
        let admit_last = || handler.admit_last();
        if let Some(taking) =
            upload::taken_ahead(|| handler.settings(), &self.uploads, admit_last, &mut request)
        {
            // In a box, as few requests have a body, and it would be moved with every call otherwise.
            match Box::pin(taking).await {
                Ok(in_advance) => admitted = in_advance,
                Err(refusal) => return reply::refused(&refusal),
            }
        }
        let mut entered = handler.enter_with(admitted).await;
        if entered.is_err() && handler.active().is_closed() {
            // In a box, as it is rare, and would be moved with every call otherwise.
            let again = Box::pin(self.enter_again(&mut handler, request.uri().path())).await;
            entered = match again {
                Some(entered) => entered,
                None => return reply::refused(&Refusal::NoRoute { path: request.uri().path() }),
            };
        }
        let entered = match entered {
            Ok(entered) => entered,
            Err(error) => {
                error.report(&self.bus);
                if let EnterError::NothingActive { handler, why: Some(why) } = &error
                    && self.config.dev
                {
                    return obstructed::answer(handler, why, request.headers());
                }
                return reply::refused(&Refusal::NotEntered(&error));
            }
        };
        request.body_mut().stay(|| handler.stay(false));
        let serving = entered.pass.serving();
        let label = entered.pass.label.clone();
        let outcome = self.call(&handler, entered, request).await;
        let mut response = outcome.unwrap_or_else(|failure| {
            let dev = self.config.dev.then_some(reply::Details { serving, wants_html });
            reply::failed(handler.name(), &failure, dev)
        });
        if self.config.expose_generation {
            response.headers_mut().insert(GENERATION, label);
        }
        response
    }

    /// Enters the handler that has the route of `path` now, as `handler` was taken away after it was found.
    /// `None` when no handler has it any more.
    async fn enter_again(
        &self,
        handler: &mut Arc<Handler<Served>>,
        path: &str,
    ) -> Option<Result<Entered<Served>, EnterError>> {
        loop {
            let other = self.routes.load().find(path).map(Arc::clone)?;
            // The one that was found before is there still when the runtime ends.
            let is_last = Arc::ptr_eq(&other, handler);
            *handler = other;
            let entered = handler.enter().await;
            if entered.is_ok() || is_last || !handler.active().is_closed() {
                return Some(entered);
            }
        }
    }

    async fn call<B>(
        &self,
        handler: &Handler<Served>,
        entered: Entered<Served>,
        request: Request<Upload<B>>,
    ) -> Result<Response<Body>, CallFailure>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let request_id = Some(self.request_ids.next());
        let report = Begun::of(&entered).report(&self.bus, handler.name(), request_id);
        let report = Arc::new(report);
        let outcome = match &entered.pass.kind {
            ServedKind::Http(instances) => {
                let call = Call::new(Arc::clone(&report) as Arc<dyn Witness>);
                let is_head = request.method() == Method::HEAD;
                let answer = http_call(instances, entered.pass.cut(), &call, request).await;
                let marks_end = instances.marks_ends();
                let answer = answer.and_then(|response| {
                    passed_on(response, is_head, |body, length| {
                        Body::guest(body, call, Arc::clone(&report), entered, marks_end, length)
                    })
                });
                let is_single = handler.is_single();
                let ahead =
                    |body: Body| body.ahead(|| handler.stay(true), is_single, &self.answers);
                answer.map(|response| response.map(ahead))
            }
            ServedKind::Event(instances) => {
                let instances = instances.clone();
                self.event_call(handler, entered, instances, request).await
            }
        };
        match &outcome {
            Ok(response) => report.answered(response.status().as_u16()),
            // In a box, as it is rare, and would be moved with every call otherwise.
            Err(failure) => Box::pin(report.failed_before_answer(failure)).await,
        }
        outcome
    }

    async fn event_call<B>(
        &self,
        handler: &Handler<Served>,
        entered: Entered<Served>,
        instances: EventInstances,
        request: Request<Upload<B>>,
    ) -> Result<Response<Body>, CallFailure>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let wanted = cloudevents::wanted(request.headers());
        let event = match read_event(handler, request).await {
            Ok(Sent::Event(event)) => *event,
            // In a box, as it is rare, and would be moved with every event otherwise.
            Ok(Sent::Batch(events)) => {
                let first = (entered, instances);
                return Box::pin(batch::handle(self, handler, first, events)).await;
            }
            Err(refusal) => return Ok(reply::refused(&refusal)),
        };
        let answer = match handle_event(entered, instances, event).await? {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(reply::no_content()),
            Err(reason) => return Ok(reply::refused(&Refusal::RejectedEvent { reason })),
        };
        let response = match wanted {
            Mode::Binary => cloudevents::encode(&answer),
            Mode::Structured => cloudevents::json::structured(&answer),
        };
        match response {
            Ok(response) => Ok(response.map(Body::full)),
            Err(error) => Err(CallFailure::Guest { reason: chain(&error) }),
        }
    }
}

/// Sends `request` through one of `instances`, as long as the call is not `cut`; ready with the head of
/// the guest's response.
async fn http_call<B>(
    instances: &HttpInstances,
    cut: &CancellationToken,
    call: &Call,
    mut request: Request<Upload<B>>,
) -> Result<guest_http::Response, CallFailure>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    keep_end_to_end(request.headers_mut());
    // Told only with a failure, when the request is the guest's.
    let (method, path) = (request.method().clone(), request.uri().path_and_query().cloned());
    let request = request.map(|body| guest_http::upload(body, call, UploadError::is_late));
    let response = {
        // Pinned here, since `select!` would move it.
        let answering = pin!(instances.call(call.clone(), request));
        // Cancel-safe: a response that loses against the cut is dropped with its call.
        tokio::select! {
            biased; // Most calls are answered before anybody has to be asked to tell of the cut.
            response = answering => response,
            () = cut.cancelled() => return Err(CallFailure::Cut),
        }
    };
    response.map_err(|failure| match call.blamed(failure) {
        CallFailure::Handler { reason, .. } => {
            CallFailure::Handler { call: named(&method, path.as_ref()).into(), reason }
        }
        other => other,
    })
}

/// The guest's `response` as it is sent on. `body` makes its body, of the length that the head states.
fn passed_on<B>(
    response: Response<B>,
    is_head: bool,
    body: impl FnOnce(B, Option<u64>) -> Result<Body, CallFailure>,
) -> Result<Response<Body>, CallFailure> {
    let (mut parts, inner) = response.into_parts();
    keep_end_to_end(&mut parts.headers);
    let length = parts.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    // Where no body is sent, the length is that of another answer's.
    let length = length.filter(|_| !is_head && parts.status != StatusCode::NOT_MODIFIED);
    let body = body(inner, length)?;
    if let Some(names) = body.trailers() {
        parts.headers.entry(header::TRAILER).or_insert(names);
    }
    Ok(Response::from_parts(parts, body))
}

/// A request in a message: its method and its path, as far as they identify it.
fn named(method: &Method, path: Option<&PathAndQuery>) -> String {
    let path = path.map_or("", PathAndQuery::as_str);
    let request = format!("{method} {path}");
    let cut: String = request.escape_debug().take(MAX_NAMED).collect();
    format!("`{cut}`")
}

impl Witness for CallReport {
    fn failed(&self, failure: &CallFailure, answered: bool) {
        self.failed(failure, answered);
    }
}

/// Takes [`HOP_BY_HOP`] out of `headers`.
fn keep_end_to_end(headers: &mut HeaderMap) {
    // Most have none of them, and a look at the names costs less than five removals.
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

async fn read_event<B>(
    handler: &Handler<Served>,
    request: Request<Upload<B>>,
) -> Result<Sent, Refusal<'static>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let mut gave_way = false;
    let body = body.map_err(|error| {
        gave_way |= error.is_late();
        std::io::Error::other(error.to_string())
    });
    // The sender's pace is bounded like the guest's.
    let body = tokio::time::timeout(handler.timeout(), Limited::new(body, MAX_EVENT).collect());
    let body = match body.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return Err(Refusal::EventTooLarge { limit: MAX_EVENT });
        }
        Ok(Err(_)) if gave_way => return Err(Refusal::SlowBody),
        Ok(Err(_)) => return Err(Refusal::IncompleteBody),
        Err(_) => return Err(Refusal::LateBody { waited: handler.timeout() }),
    };
    let sent = cloudevents::decode(&parts, body).map_err(Refusal::BadEvent)?;
    let (events, is_batch) = match &sent {
        Sent::Event(event) => (std::slice::from_ref(&**event), false),
        Sent::Batch(events) => (&events[..], true),
    };
    let is_wrong = |event: &CloudEvent| !handler.accepts_type(&event.event_type);
    match events.iter().position(is_wrong) {
        Some(at) => Err(Refusal::WrongType {
            event_type: events[at].event_type.clone(),
            in_batch: is_batch.then_some((at + 1, events.len())),
        }),
        None => Ok(sent),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn headers_of_one_connection_stay_behind_and_all_others_go_on() {
        let mut end_to_end = HeaderMap::new();
        for (name, value) in [("cookie", "a"), ("x-own", "b"), ("cookie", "c")] {
            end_to_end.append(name, HeaderValue::from_static(value));
        }
        let mut headers = end_to_end.clone();
        keep_end_to_end(&mut headers);
        assert_eq!(headers, end_to_end);
        for name in ["connection", "transfer-encoding", "upgrade", "te", "keep-alive"] {
            headers.append(name, HeaderValue::from_static("d"));
            headers.append(name, HeaderValue::from_static("e"));
            keep_end_to_end(&mut headers);
            assert_eq!(headers, end_to_end, "{name}");
        }
    }
}
