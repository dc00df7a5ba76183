//! A request as the host gives it: its head at once, its body when that is first read.

use crate::guest::words;
use crate::stream::Sender;
use crate::{Body, Error, Needs, Request, Result};
use http::header::CONTENT_LENGTH;
use http::uri::{Parts, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body::Frame;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method as WasiMethod, Scheme as WasiScheme,
};
use wasip2::io::streams::StreamError;
use wstd::runtime::AsyncPollable;

/// Longest piece of a body that is asked for at once, in bytes.
const LONGEST_PIECE: u64 = 64 << 10;

/// The request in the types of the `http` crate.
///
/// A small handler's own work costs no more than a few calls of the host, so none is made for parts
/// that nobody `needs`, nor for a body that nobody reads.
///
/// # Errors
///
/// What does not fit those types was sent so by the client, who is told.
pub(super) fn request(incoming: IncomingRequest, needs: Needs) -> Result<Request> {
    let mut head = http::request::Request::new(()).into_parts().0;
    if needs.include(Needs::METHOD) {
        head.method = method(incoming.method())?;
    }
    if needs.include(Needs::URI) {
        head.uri = uri(&incoming)?;
    } else if needs.include(Needs::PATH) {
        head.uri = path(&incoming)?.map(Uri::from).unwrap_or_default();
    }
    if needs.include(Needs::HEADERS) {
        head.headers = headers(incoming.headers())?;
    }
    let body = if needs.include(Needs::BODY) {
        let length = length(&head.headers);
        Body::from_frames(length, async |out| read(incoming, out).await)
    } else {
        Body::not_asked_for()
    };
    Ok(Request::from_parts(head, body))
}

fn method(method: WasiMethod) -> Result<Method> {
    Ok(match method {
        WasiMethod::Get => Method::GET,
        WasiMethod::Head => Method::HEAD,
        WasiMethod::Post => Method::POST,
        WasiMethod::Put => Method::PUT,
        WasiMethod::Delete => Method::DELETE,
        WasiMethod::Connect => Method::CONNECT,
        WasiMethod::Options => Method::OPTIONS,
        WasiMethod::Trace => Method::TRACE,
        WasiMethod::Patch => Method::PATCH,
        WasiMethod::Other(other) => {
            Method::from_bytes(other.as_bytes()).map_err(Error::rejected)?
        }
    })
}

fn uri(incoming: &IncomingRequest) -> Result<Uri> {
    let mut parts = Parts::default();
    parts.scheme = match incoming.scheme() {
        None => None,
        Some(WasiScheme::Http) => Some(Scheme::HTTP),
        Some(WasiScheme::Https) => Some(Scheme::HTTPS),
        Some(WasiScheme::Other(other)) => Some(other.parse().map_err(Error::rejected)?),
    };
    let authority = incoming.authority().map(TryInto::try_into);
    parts.authority = authority.transpose().map_err(Error::rejected)?;
    parts.path_and_query = path(incoming)?;
    Uri::from_parts(parts).map_err(Error::rejected)
}

fn path(incoming: &IncomingRequest) -> Result<Option<PathAndQuery>> {
    incoming.path_with_query().map(TryInto::try_into).transpose().map_err(Error::rejected)
}

fn headers(fields: Fields) -> Result<HeaderMap> {
    let entries = fields.entries();
    let mut headers = HeaderMap::with_capacity(entries.len());
    for (name, value) in entries {
        let name = HeaderName::try_from(name).map_err(Error::rejected)?;
        headers.append(name, HeaderValue::try_from(value).map_err(Error::rejected)?);
    }
    Ok(headers)
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Sends the body on, piece by piece as it arrives, and its trailers.
async fn read(incoming: IncomingRequest, mut out: Sender) -> Result<()> {
    let body = incoming.consume().map_err(|()| "host gave no request body")?;
    // Nothing else of the request is asked for.
    drop(incoming);
    {
        // Both are dropped before the body is finished, as the host demands of child resources.
        let stream = body.stream().map_err(|()| "host gave no stream of the request body")?;
        let mut readiness = None;
        loop {
            match stream.read(LONGEST_PIECE) {
                Ok(bytes) if bytes.is_empty() => {
                    let ready =
                        readiness.get_or_insert_with(|| AsyncPollable::new(stream.subscribe()));
                    ready.wait_for().await;
                }
                Ok(bytes) => out.send(bytes).await,
                Err(StreamError::Closed) => break,
                Err(StreamError::LastOperationFailed(error)) => {
                    let error = error.to_debug_string();
                    return Err(format!("failed to read the request body: {error}").into());
                }
            }
        }
    }
    let trailers = IncomingBody::finish(body);
    let received = loop {
        match trailers.get() {
            Some(received) => break received.map_err(|()| "trailers were read before")?,
            None => AsyncPollable::new(trailers.subscribe()).wait_for().await,
        }
    };
    if let Some(fields) = received.map_err(words)? {
        out.send_frame(Frame::trailers(headers(fields)?)).await;
    }
    Ok(())
}
