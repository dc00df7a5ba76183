//! Runs an HTTP handler for the component's two exports: gives its response back, or streams it out.

pub use super::bindings::http::exports::wrt::plugin::http::{Answer, Guest as WholeGuest};
pub use wasip2::exports::http::incoming_handler::{Guest, IncomingRequest, ResponseOutparam};

mod incoming;

use super::{report, words};
use crate::http_handler::error_response;
use crate::state::slot::Slot;
use crate::{Body, Error, HttpHandler, Needs, Request, Response, Result, StatefulHttpHandler};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use std::future::Future;
use std::pin::Pin;
use std::thread::LocalKey;
use wasip2::http::types::{ErrorCode, Fields, OutgoingBody, OutgoingResponse};
use wstd::io::AsyncOutputStream;

/// A handler whose type is forgotten.
type Call<'a> = Box<dyn FnOnce(Request) -> Answering<'a> + 'a>;
type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response>> + 'a>>;

/// Longest body in bytes that is given back whole: as much as a stream's pieces have.
const LONGEST_WHOLE: usize = 64 << 10;

/// A request, and how it may be answered: by which export it came.
pub struct Exchange {
    request: IncomingRequest,
    out: ResponseOutparam,
    /// Whether the answer may be given back.
    may_be_whole: bool,
}

impl Exchange {
    /// Of `wasi:http/incoming-handler`.
    pub fn sent(request: IncomingRequest, out: ResponseOutparam) -> Self {
        Self { request, out, may_be_whole: false }
    }

    /// Of `wrt:plugin/http`.
    pub fn whole(request: IncomingRequest, out: ResponseOutparam) -> Self {
        Self { request, out, may_be_whole: true }
    }
}

/// Answers one request; returns the answer if that was not sent.
pub fn serve<H: HttpHandler<S>, S>(handler: H, exchange: Exchange) -> Option<Answer> {
    run(Box::new(|request| Box::pin(handler.call(request))), H::NEEDS, exchange)
}

/// [`serve`] with the state of the instance.
///
/// The state is back in its slot before the body is sent: no response borrows from it.
pub fn serve_with<H: StatefulHttpHandler<S, Shape>, S, Shape>(
    handler: H,
    slot: &'static LocalKey<Slot<S>>,
    begin: Option<fn() -> S>,
    exchange: Exchange,
) -> Option<Answer> {
    let call = move |request| -> Answering<'_> {
        Box::pin(async move {
            let mut state = slot.with(|slot| slot.take(begin))?;
            let result = handler.call(&mut state, request).await;
            slot.with(|slot| slot.put(state));
            result
        })
    };
    run(Box::new(call), H::NEEDS, exchange)
}

/// Does all of the work that is the same for each handler.
///
/// Apart from [`serve`] because that is compiled anew with each edit of the handler's crate, with
/// everything generic that it uses, and this once.
fn run(call: Call<'_>, needs: Needs, exchange: Exchange) -> Option<Answer> {
    let Exchange { request, out, may_be_whole } = exchange;
    // An error that is the handler's own goes to the host as an `internal-error` with the whole
    // chain: the host can record it and tell the client nothing, without an import for logging.
    wstd::runtime::block_on(async {
        let response = answer(call, needs, request).await.or_else(error_response);
        let response = match response {
            Ok(response) if may_be_whole => match whole(response) {
                Ok(answer) => return Some(answer),
                Err(response) => Ok(response),
            },
            response => response,
        };
        match response.and_then(Prepared::new) {
            Ok(Prepared { response, body, sink }) => {
                ResponseOutparam::set(out, Ok(response));
                send(body, sink).await;
            }
            Err(error) => {
                let code = ErrorCode::InternalError(Some(error.chain()));
                ResponseOutparam::set(out, Err(code));
            }
        }
        None
    })
}

async fn answer(call: Call<'_>, needs: Needs, request: IncomingRequest) -> Result<Response> {
    call(incoming::request(request, needs)?).await
}

/// `response` in one piece, if it is there and small; its length is then plain to see.
fn whole(response: Response) -> std::result::Result<Answer, Response> {
    let length = response.body().length_in_memory().filter(|length| *length <= LONGEST_WHOLE);
    let Some(length) = length else { return Err(response) };
    let promised = response.headers().get_all(CONTENT_LENGTH);
    if promised.iter().any(|promised| promised.as_bytes() != length.to_string().as_bytes()) {
        return Err(response);
    }
    let (status, headers) = (response.status().as_u16(), entries(response.headers()));
    Ok(Answer { status, headers, body: response.into_body().into_memory().into() })
}

/// A response whose head the host will accept, so that everything that can be told to the client
/// is known before the first byte.
struct Prepared {
    response: OutgoingResponse,
    body: Body,
    sink: OutgoingBody,
}

impl Prepared {
    fn new(response: Response) -> Result<Self> {
        let (mut head, body) = response.into_parts();
        if let Some(length) = body.length_in_memory()
            && allows_length(head.status)
        {
            head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
        }
        let response = OutgoingResponse::new(fields(&head.headers)?);
        // A new response has this one.
        if head.status != StatusCode::OK {
            let accepted = response.set_status_code(head.status.as_u16());
            accepted.map_err(|()| format!("host refused status `{}`", head.status))?;
        }
        let sink = response.body().map_err(|()| "host gave no response body")?;
        Ok(Self { response, body, sink })
    }
}

/// By RFC 9110, section 8.6; a 304 may have a length, but not that of its empty body.
fn allows_length(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

/// Names and values as the host takes them.
fn entries(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let entries = headers.iter();
    entries.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
}

fn fields(headers: &HeaderMap) -> Result<Fields> {
    // All with one call of the host, which does not say what it refused: they go one by one then.
    if let Ok(fields) = Fields::from_list(&entries(headers)) {
        return Ok(fields);
    }
    let fields = Fields::new();
    for (name, value) in headers {
        fields
            .append(name.as_str(), value.as_bytes())
            .map_err(|error| Error::from(format!("host refused header `{name}`: {error}")))?;
    }
    Ok(fields)
}

/// Sends a body chunk by chunk, each as soon as the host takes it.
async fn send(mut body: Body, sink: OutgoingBody) {
    let mut trailers = None;
    {
        // Dropped before the body is finished, as the host demands of a child resource.
        let stream = AsyncOutputStream::new(sink.write().expect("a new body has its stream"));
        loop {
            match body.frame().await {
                Ok(None) => break,
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        if stream.write_all(&data).await.is_err() {
                            // The client has gone, which is no fault of the handler. Without
                            // `finish`, the host knows that the body is not whole.
                            return;
                        }
                    }
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
                // The head is gone, so the host is told by standard error, like about a panic.
                Err(error) => return report("response body failed", &error),
            }
        }
    }
    let finished = match trailers.as_ref().map(fields).transpose() {
        Ok(trailers) => OutgoingBody::finish(sink, trailers).map_err(words),
        Err(error) => Err(error),
    };
    if let Err(error) = finished {
        report("response body was not accepted", &error);
    }
}
