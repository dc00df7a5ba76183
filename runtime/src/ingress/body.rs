//! The body of a response: bytes at hand, or what a guest streams.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime_wasi_http::WasiBody;

use crate::error::CallFailure;
use crate::handler::{CallReport, Entered};
use crate::instance::Served;
use crate::instance::http::Call;

/// Frames without content that are skipped in one go before other tasks get their turn.
const MAX_EMPTY_FRAMES: usize = 32;

/// A response body of the data plane.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    /// `None` once it was read.
    Full(Option<Bytes>),
    Guest(Box<GuestBody>),
}

/// A response body ended before its end; the client sees an incomplete response.
#[derive(Debug, thiserror::Error)]
#[error("the response ended early: {0}")]
pub struct BodyError(String);

/// What a guest streams, with everything that has to live as long as that.
pub(super) struct GuestBody {
    inner: WasiBody,
    call: Call,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    report: Arc<CallReport>,
    /// Whether the last frame was handed on.
    ended: bool,
    /// Bytes still to come by the response's `Content-Length`. A server stops asking for frames
    /// when it has them all.
    remaining: Option<u64>,
    /// Keeps the call in flight: its generation is not drained before the body is.
    _entered: Entered<Served>,
}

impl std::fmt::Debug for GuestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestBody").finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(Some(bytes.into())))
    }

    pub(super) fn guest(
        inner: WasiBody,
        call: Call,
        report: Arc<CallReport>,
        entered: Entered<Served>,
        length: Option<u64>,
    ) -> Self {
        let cut = Box::pin(entered.pass.cut().clone().cancelled_owned());
        Self(Kind::Guest(Box::new(GuestBody {
            inner,
            call,
            cut,
            report,
            ended: false,
            remaining: length,
            _entered: entered,
        })))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Kind::Full(bytes) => {
                let bytes = bytes.take().filter(|bytes| !bytes.is_empty());
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            Kind::Guest(guest) => guest.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Guest(guest) => guest.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Guest(guest) => guest.inner.size_hint(),
        }
    }
}

impl GuestBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Before the guest's frames: one that always has a next one must not outlive the cut.
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(self.failed(&CallFailure::Cut))));
        }
        for _ in 0..MAX_EMPTY_FRAMES {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) if is_empty(&frame) => {}
                Poll::Ready(Some(Ok(frame))) => {
                    self.call.progress();
                    let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
                    self.remaining = self.remaining.map(|bytes| bytes.saturating_sub(sent));
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => {
                    let failure = CallFailure::Guest { reason: error.to_string() };
                    return Poll::Ready(Some(Err(self.failed(&failure))));
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        // Asked again at once, but after the other tasks of this thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn failed(&mut self, failure: &CallFailure) -> BodyError {
        self.ended = true;
        self.report.failed(failure);
        BodyError(crate::error::chain(failure))
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if !self.ended && self.remaining != Some(0) && !self.inner.is_end_stream() {
            // The client has gone, or wants no body.
            self.call.abandon();
        }
    }
}

/// Whether `frame` carries nothing. Such frames are not passed on: HTTP/2 has no flow control for
/// them, so a guest could queue them without end; and they are no progress.
fn is_empty(frame: &Frame<Bytes>) -> bool {
    frame.data_ref().is_some_and(Bytes::is_empty)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn only_data_without_bytes_is_empty() {
        assert!(is_empty(&Frame::data(Bytes::new())));
        assert!(!is_empty(&Frame::data(Bytes::from_static(b"x"))));
        assert!(!is_empty(&Frame::trailers(http::HeaderMap::new())));
    }

    #[tokio::test]
    async fn bytes_at_hand_are_one_frame_of_known_size() {
        let mut body = Body::full("abc");
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(3));
        let frame = body.frame().await.expect("there is one").expect("it cannot fail");
        assert_eq!(frame.into_data().unwrap(), "abc");
        assert!(http_body::Body::is_end_stream(&body));
        assert!(body.frame().await.is_none());
    }
}
