//! Outgoing HTTP of a guest: denied unless the final address is on the handler's list.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request,
};

use super::budget::Places;
use super::kept::{BODY, BODY_CHUNK, HEADER};
use super::overrides::is_end;
use crate::config::HttpOrigin;

/// Bound on connecting and on each silence of an outgoing request, unless the guest asks for less:
/// no host call waits longer than a person would. The call's own timeout usually ends it earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request that is under way takes beyond its parts: a task, a socket and its buffers.
const CONNECTION: usize = 32 * 1024;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct OutgoingHttp {
    allowed: Arc<[HttpOrigin]>,
    places: Places,
    refuses_all: bool,
}

type Exchange = (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl OutgoingHttp {
    pub(super) fn new(allowed: Arc<[HttpOrigin]>, places: Places) -> Self {
        Self { allowed, places, refuses_all: false }
    }

    pub(super) fn refuse_all(&mut self, refuse: bool) {
        self.refuses_all = refuse;
    }
}

/// Headers that guests neither see nor set. A copy of wasmtime's, as that is made anew at each use.
static FORBIDDEN: [HeaderName; 9] = DEFAULT_FORBIDDEN_HEADERS;

impl WasiHttpHooks for OutgoingHttp {
    // The provided one puts a closure in an `Arc` for each header of each request.
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        FORBIDDEN.contains(name)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Exchange, Error>> + Send> {
        // Judged on the final address, after the guest's scheme, authority and path were joined.
        let is_listed = self.allowed.iter().any(|origin| origin.allows(request.uri()));
        let allowed = is_listed && !self.refuses_all;
        let options = bounded(options);
        let mut under_way = self.places.begin(bytes_of(&request));
        Box::new(async move {
            if !allowed {
                return Err(Error::HttpRequestDenied);
            }
            let patience = options.connect_timeout.unwrap_or(PATIENCE);
            let entered = tokio::time::timeout(patience, under_way.enter()).await;
            entered.map_err(|_| Error::ConnectionLimitReached)?;
            let request = request.map(|body| Outgoing(body).boxed_unsync());
            let (response, io) = default_send_request(request, Some(options)).await?;
            // The place is given back with the connection.
            let io = async move {
                let ended = io.await;
                drop(under_way);
                ended
            };
            Ok((response.map(BodyExt::boxed_unsync), Box::new(io) as Box<_>))
        })
    }
}

/// A request's body without the mark of its [end](is_end), which is not for others.
struct Outgoing(WasiBody);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        let is_mark = |frame: &Result<Frame<Bytes>, Error>| {
            frame.as_ref().is_ok_and(|frame| frame.trailers_ref().is_some_and(is_end))
        };
        Poll::Ready(frame.filter(|frame| !is_mark(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// Bytes that the host keeps for `request` while it is under way.
fn bytes_of(request: &http::Request<WasiBody>) -> usize {
    let (uri, headers) = (request.uri(), request.headers());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let method = request.method().as_str().len();
    let entries = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + HEADER);
    let body = if request.body().is_end_stream() { 0 } else { BODY };
    CONNECTION + body + method + path + authority + entries.sum::<usize>()
}

/// `options` with every wait bounded by [`PATIENCE`].
fn bounded(options: Option<RequestOptions>) -> RequestOptions {
    let at_most = |wanted: Option<Duration>| Some(wanted.map_or(PATIENCE, |it| it.min(PATIENCE)));
    let wanted = options.unwrap_or(RequestOptions {
        connect_timeout: None,
        first_byte_timeout: None,
        between_bytes_timeout: None,
    });
    RequestOptions {
        connect_timeout: at_most(wanted.connect_timeout),
        first_byte_timeout: at_most(wanted.first_byte_timeout),
        between_bytes_timeout: at_most(wanted.between_bytes_timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_may_ask_for_less_patience_and_not_for_more() {
        let seconds = |n| Some(Duration::from_secs(n));
        let wanted = RequestOptions {
            connect_timeout: seconds(1),
            first_byte_timeout: seconds(3600),
            between_bytes_timeout: None,
        };
        let found = bounded(Some(wanted));
        assert_eq!(found.connect_timeout, seconds(1));
        assert_eq!(found.first_byte_timeout, Some(PATIENCE));
        assert_eq!(found.between_bytes_timeout, Some(PATIENCE));
        let unasked = bounded(None);
        let bounds =
            [unasked.connect_timeout, unasked.first_byte_timeout, unasked.between_bytes_timeout];
        assert_eq!(bounds, [Some(PATIENCE); 3]);
    }
}
