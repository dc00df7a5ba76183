//! The body of a response: bytes at hand, or what a guest streams.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

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
    /// Frames that were taken out of `inner` already.
    ahead: VecDeque<WasiFrame>,
    inner: WasiBody,
    call: Call,
    /// Waited for as soon as the guest lets itself be waited for, or has handed on a frame.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    report: Arc<CallReport>,
    /// Whether the last frame was handed on.
    ended: bool,
    /// Bytes still to come by the response's `Content-Length`. A server stops asking for frames
    /// when it has them all.
    remaining: Option<u64>,
    /// Keeps the call in flight: its generation is not drained before the body is.
    entered: Entered<Served>,
}

type WasiFrame = Result<Frame<Bytes>, wasmtime_wasi_http::Error>;

impl std::fmt::Debug for GuestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestBody").finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(Some(bytes.into())))
    }

    /// What a guest answers with, of the length that it states, if it does.
    ///
    /// A body that is there as a whole already is taken from the guest: its length is known then, and
    /// nothing has to live as long as it takes to send it.
    pub(super) fn guest(
        mut inner: WasiBody,
        call: Call,
        report: Arc<CallReport>,
        entered: Entered<Served>,
        length: Option<u64>,
    ) -> Self {
        let mut ahead = VecDeque::new();
        if call.has_ended() {
            match gathered(&mut inner) {
                Ok(bytes) => return Self::full(bytes),
                Err(frames) => ahead = frames,
            }
        }
        Self(Kind::Guest(Box::new(GuestBody {
            ahead,
            inner,
            call,
            cut: None,
            report,
            ended: false,
            remaining: length,
            entered,
        })))
    }
}

/// All of `body` if it is there and is one piece, else the frames that had to be taken to see that.
fn gathered(body: &mut WasiBody) -> Result<Bytes, VecDeque<WasiFrame>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut whole = None;
    loop {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(None) => return Ok(whole.unwrap_or_default()),
            Poll::Ready(Some(Ok(frame))) => match (frame.into_data(), &whole) {
                (Ok(bytes), _) if bytes.is_empty() => {}
                (Ok(bytes), None) => whole = Some(bytes),
                (Ok(bytes), Some(_)) => return Err(after(whole, Some(Ok(Frame::data(bytes))))),
                (Err(frame), _) => return Err(after(whole, Some(Ok(frame)))),
            },
            Poll::Ready(Some(Err(error))) => return Err(after(whole, Some(Err(error)))),
            // Asked again, with a waker, when the frames so far are sent.
            Poll::Pending => return Err(after(whole, None)),
        }
    }
}

fn after(first: Option<Bytes>, next: Option<WasiFrame>) -> VecDeque<WasiFrame> {
    first.map(|bytes| Ok(Frame::data(bytes))).into_iter().chain(next).collect()
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
            Kind::Guest(guest) => guest.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            // What is ahead of the rest is not in the rest's hint.
            Kind::Guest(guest) if guest.ahead.is_empty() => guest.inner.size_hint(),
            Kind::Guest(_) => SizeHint::default(),
        }
    }
}

impl GuestBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Before the guest's frames: one that always has a next one must not outlive the cut.
        if self.is_cut(cx) {
            return Poll::Ready(Some(Err(self.failed(&CallFailure::Cut))));
        }
        for _ in 0..MAX_EMPTY_FRAMES {
            let next = match self.ahead.pop_front() {
                Some(frame) => Poll::Ready(Some(frame)),
                None => Pin::new(&mut self.inner).poll_frame(cx),
            };
            match next {
                Poll::Ready(Some(Ok(frame))) if is_empty(&frame) => {}
                Poll::Ready(Some(Ok(frame))) => {
                    self.call.progress();
                    let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
                    self.remaining = self.remaining.map(|bytes| bytes.saturating_sub(sent));
                    self.begin_cut();
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
                Poll::Pending => {
                    self.begin_cut();
                    if self.is_cut(cx) {
                        return Poll::Ready(Some(Err(self.failed(&CallFailure::Cut))));
                    }
                    return Poll::Pending;
                }
            }
        }
        // Asked again at once, but after the other tasks of this thread.
        self.begin_cut();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.inner.is_end_stream()
    }

    /// Whether the drain deadline has passed, if that is waited for.
    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(cx).is_ready())
    }

    /// Waits for the drain deadline from now on: most answers are there before it matters.
    fn begin_cut(&mut self) {
        let token = self.entered.pass.cut();
        self.cut.get_or_insert_with(|| Box::pin(token.clone().cancelled_owned()));
    }

    fn failed(&mut self, failure: &CallFailure) -> BodyError {
        self.ended = true;
        self.report.failed(failure);
        BodyError(crate::error::chain(failure))
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if !self.ended && self.remaining != Some(0) && !self.is_end_stream() {
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

    /// A body of `frames`, which then ends, or stays open.
    fn body(frames: impl Into<VecDeque<WasiFrame>>, ends: bool) -> WasiBody {
        let mut frames = frames.into();
        let frames = futures::stream::poll_fn(move |_| match frames.pop_front() {
            None if !ends => Poll::Pending,
            next => Poll::Ready(next),
        });
        http_body_util::StreamBody::new(frames).boxed_unsync()
    }

    fn data(text: &'static str) -> WasiFrame {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn body_in_one_piece_is_taken_whole() {
        let whole = |frames: Vec<_>| gathered(&mut body(frames, true)).expect("it is one piece");
        assert_eq!(whole(vec![data("abc")]), "abc");
        assert_eq!(whole(vec![data(""), data("abc"), data("")]), "abc");
        assert_eq!(whole(vec![]), "");
    }

    #[test]
    fn other_bodies_lose_no_frame_of_what_was_looked_at() {
        let ahead = |frames: Vec<_>, ends| {
            let mut rest = body(frames, ends);
            let ahead = gathered(&mut rest).expect_err("it is not one whole piece");
            let shown = ahead.into_iter().map(|frame| match frame.map(Frame::into_data) {
                Ok(Ok(bytes)) => String::from_utf8(bytes.into()).unwrap(),
                Ok(Err(_)) => "trailers".to_owned(),
                Err(_) => "error".to_owned(),
            });
            shown.collect::<Vec<_>>()
        };
        let trailers = || Ok(Frame::trailers(http::HeaderMap::new()));
        let error = || Err(wasmtime_wasi_http::Error::InternalError(None));
        assert_eq!(ahead(vec![data("a"), data("b"), data("c")], true), ["a", "b"]);
        assert_eq!(ahead(vec![data("a"), trailers()], true), ["a", "trailers"]);
        assert_eq!(ahead(vec![data("a"), error()], true), ["a", "error"]);
        assert_eq!(ahead(vec![error()], true), ["error"]);
        assert_eq!(ahead(vec![data("a")], false), ["a"]);
        assert!(ahead(vec![], false).is_empty());
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
