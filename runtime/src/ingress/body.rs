//! The body of a response: bytes at hand, or what a guest streams.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::Semaphore;
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime_wasi_http::WasiBody;

use super::ahead::Ahead;
use crate::error::CallFailure;
use crate::handler::{CallReport, Entered, Staying};
use crate::instance::Served;
use crate::instance::http::{Call, is_end};

/// Frames without content that are skipped in one go before other tasks get their turn.
const MAX_EMPTY_FRAMES: usize = 32;

/// What a guest did that gave no reason for a body without an end.
const UNFINISHED: &str = "it returned without having finished the body of its answer";

/// A response body of the data plane.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    /// `None` once it was read.
    Full(Option<Bytes>),
    Guest(Box<GuestBody>),
    /// What a guest streams, in a task that runs ahead of the client.
    Ahead(Box<Ahead>),
}

/// A response body ended before its end; the client sees an incomplete response.
#[derive(Debug, thiserror::Error)]
#[error("the response ended early: {0}")]
pub struct BodyError(String);

impl BodyError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What a guest streams, with everything that has to live as long as that.
pub(super) struct GuestBody {
    /// Frames that were taken out of `inner` already.
    ahead: VecDeque<Frame<Bytes>>,
    inner: WasiBody,
    call: Call,
    /// Whether the guest's word that the body is whole comes as trailers, if only as empty ones.
    marks_end: bool,
    /// Waited for as soon as the guest lets itself be waited for, or has handed on a frame.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    report: Arc<CallReport>,
    /// Whether the guest said that the body is whole.
    finished: bool,
    /// Whether the last frame, or an error, was handed on.
    ended: bool,
    /// Bytes still to come by the response's `Content-Length`. A server stops asking for frames
    /// when it has them all.
    remaining: Option<u64>,
    /// Keeps the call in flight: its generation is not drained before the body is, and the guest has ended.
    /// `None` when the body is dropped.
    entered: Option<Entered<Served>>,
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
    /// nothing has to live as long as it takes to send it. `marks_end` says whether bodies of this guest
    /// tell with trailers, if with empty ones, that they are whole.
    ///
    /// # Errors
    ///
    /// Why there is no whole answer, where that is known before any of it was sent.
    pub(super) fn guest(
        mut inner: WasiBody,
        call: Call,
        report: Arc<CallReport>,
        entered: Entered<Served>,
        marks_end: bool,
        length: Option<u64>,
    ) -> Result<Self, CallFailure> {
        let (mut ahead, mut finished) = (VecDeque::new(), false);
        // The host's own bodies, one that came back whole and the lack of one, have a known size.
        let is_hosts = marks_end && inner.size_hint().exact().is_some();
        if is_hosts && length.is_some_and(|length| inner.size_hint().exact() != Some(length)) {
            let reason = "the length that it states is not that of its body".to_owned();
            return Err(CallFailure::Guest { reason });
        }
        let marks_end = marks_end && !is_hosts;
        if let Some(ended) = call.send_head() {
            match gathered(&mut inner, marks_end) {
                Ok(whole) => {
                    if let Err(failure) = ended {
                        report.failed(&call.blamed(failure), true);
                    }
                    match whole {
                        Whole::Piece(bytes) => return Ok(Self::full(bytes)),
                        Whole::Frames(frames) => (ahead, finished) = (frames, true),
                    }
                }
                Err(defect) => {
                    let defect = || CallFailure::Guest { reason: defect };
                    return Err(call.blamed(ended.err().unwrap_or_else(defect)));
                }
            }
        }
        Ok(Self(Kind::Guest(Box::new(GuestBody {
            ahead,
            inner,
            call,
            marks_end,
            cut: None,
            report,
            finished,
            ended: false,
            remaining: length,
            entered: Some(entered),
        }))))
    }

    /// The names of the trailers, where the guest has ended with some. Over HTTP/1.1, trailers are only sent
    /// that the head has announced.
    pub(super) fn trailers(&self) -> Option<HeaderValue> {
        let Kind::Guest(guest) = &self.0 else { return None };
        let trailers = guest.ahead.iter().find_map(Frame::trailers_ref)?;
        let names: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        HeaderValue::try_from(names.join(", ")).ok()
    }

    /// This body, taken off its guest's hands if one still streams it. `stay` says that the call waits for
    /// its client; `budget` has the bytes that may be kept.
    pub(super) fn ahead(
        self,
        stay: impl FnOnce() -> Staying,
        is_single: bool,
        budget: &Arc<Semaphore>,
    ) -> Self {
        match self.0 {
            Kind::Guest(_) => {
                Self(Kind::Ahead(Box::new(Ahead::of(self, stay(), is_single, budget))))
            }
            Kind::Full(_) | Kind::Ahead(_) => self,
        }
    }
}

/// All that is in a body.
#[derive(Debug)]
enum Whole {
    /// Data in one piece, or none.
    Piece(Bytes),
    Frames(VecDeque<Frame<Bytes>>),
}

/// All frames with content of a `body` whose guest does nothing more.
///
/// # Errors
///
/// What is wrong with a body that is not whole.
fn gathered(body: &mut WasiBody, marks_end: bool) -> Result<Whole, String> {
    let mut cx = Context::from_waker(Waker::noop());
    // Apart, as most bodies are one piece and need no queue.
    let (mut piece, mut frames) = (None, VecDeque::new());
    let mut finished = !marks_end;
    loop {
        let frame = match poll_unbudgeted(body, &mut cx) {
            Poll::Ready(Some(Ok(frame))) if is_empty(&frame) => continue,
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(None) if finished && frames.is_empty() => {
                return Ok(Whole::Piece(piece.unwrap_or_default()));
            }
            Poll::Ready(None) if finished => return Ok(Whole::Frames(frames)),
            Poll::Ready(Some(Err(error))) => return Err(given_up(&error)),
            Poll::Ready(None) | Poll::Pending => return Err(UNFINISHED.to_owned()),
        };
        finished |= frame.is_trailers();
        if frame.trailers_ref().is_some_and(is_end) {
            continue;
        }
        match frame.into_data() {
            Ok(data) if piece.is_none() && frames.is_empty() => piece = Some(data),
            other => {
                frames.extend(piece.take().map(Frame::data));
                frames.push_back(other.map_or_else(|trailers| trailers, Frame::data));
            }
        }
    }
}

/// What `body` has, whatever else this task did in its turn: its channel would look empty to a task that
/// has used up tokio's budget.
fn poll_unbudgeted(body: &mut WasiBody, cx: &mut Context<'_>) -> Poll<Option<WasiFrame>> {
    let look = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
    pin!(tokio::task::unconstrained(look)).poll(cx)
}

/// What a guest did whose body ended with `error`.
fn given_up(error: &wasmtime_wasi_http::Error) -> String {
    match error {
        // It dropped the body, or wrote another number of bytes than it had stated.
        wasmtime_wasi_http::Error::HttpProtocolError => {
            "it gave up the body of its answer".to_owned()
        }
        error => format!("it gave up the body of its answer: {error}"),
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
            Kind::Ahead(ahead) => Pin::new(ahead).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Kind::Guest(guest) => guest.is_end_stream(),
            Kind::Ahead(ahead) => ahead.is_end_stream(),
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
            Kind::Ahead(ahead) => ahead.size_hint(),
        }
    }
}

impl GuestBody {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // Nothing comes after an end or an error, whoever asks once more.
        if self.ended {
            return Poll::Ready(None);
        }
        // Before the guest's frames: one that always has a next one must not outlive the cut.
        if self.is_cut(cx) {
            return Poll::Ready(Some(Err(self.failed(CallFailure::Cut))));
        }
        for _ in 0..MAX_EMPTY_FRAMES {
            match self.poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) if is_empty(&frame) => {}
                Poll::Ready(Some(Ok(frame))) => {
                    self.call.progress();
                    self.finished |= frame.is_trailers();
                    if frame.trailers_ref().is_some_and(is_end) {
                        continue;
                    }
                    let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
                    if self.remaining.is_some_and(|bytes| sent > bytes) {
                        let reason = "its body is longer than the length that it states".to_owned();
                        return Poll::Ready(Some(Err(self.failed(CallFailure::Guest { reason }))));
                    }
                    self.remaining = self.remaining.map(|bytes| bytes - sent);
                    self.begin_cut();
                    self.call.guest_is_awaited(false);
                    return Poll::Ready(Some(Ok(frame)));
                }
                Poll::Ready(Some(Err(error))) => {
                    let failure = CallFailure::Guest { reason: given_up(&error) };
                    return Poll::Ready(Some(Err(self.failed(failure))));
                }
                Poll::Ready(None) => {
                    let broken = self.broken();
                    self.ended = true;
                    self.call.guest_is_awaited(true);
                    return Poll::Ready(broken.map(Err));
                }
                Poll::Pending => {
                    self.call.guest_is_awaited(true);
                    self.begin_cut();
                    if self.is_cut(cx) {
                        return Poll::Ready(Some(Err(self.failed(CallFailure::Cut))));
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

    /// What comes next, if only that there is nothing more.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<WasiFrame>> {
        if let Some(frame) = self.ahead.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if self.finished || self.ended {
            return Poll::Ready(None);
        }
        let next = Pin::new(&mut self.inner).poll_frame(cx);
        if next.is_ready() || self.call.poll_ended(cx).is_pending() {
            return next;
        }
        // A guest that does nothing more sends nothing more. Its instance may live on, and the channel
        // with it.
        match poll_unbudgeted(&mut self.inner, cx) {
            Poll::Pending => Poll::Ready(None),
            next => next,
        }
    }

    /// Why the body is not whole although nothing more comes, if so. Whoever ran the guest tells of a
    /// failure that this does not know.
    fn broken(&mut self) -> Option<BodyError> {
        if self.finished || self.ended {
            return None;
        }
        if let Some(failure) = self.call.broken_by() {
            return Some(self.failed(failure));
        }
        if !self.marks_end {
            return None;
        }
        if self.call.has_returned() {
            return Some(self.failed(CallFailure::Guest { reason: UNFINISHED.to_owned() }));
        }
        Some(BodyError("its guest failed".to_owned()))
    }

    fn is_end_stream(&self) -> bool {
        let is_whole = || !self.marks_end && self.inner.is_end_stream();
        self.ahead.is_empty() && (self.finished || is_whole())
    }

    /// Whether the drain deadline has passed, if that is waited for.
    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        self.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(cx).is_ready())
    }

    /// Waits for the drain deadline from now on: most answers are there before it matters.
    fn begin_cut(&mut self) {
        let Some(entered) = &self.entered else { return };
        let token = entered.pass.cut();
        self.cut.get_or_insert_with(|| Box::pin(token.clone().cancelled_owned()));
    }

    fn failed(&mut self, failure: CallFailure) -> BodyError {
        self.ended = true;
        let failure = self.call.blamed(failure);
        self.report.failed(&failure, true);
        BodyError(crate::error::chain(&failure))
    }
}

impl GuestBody {
    /// Keeps the call in flight until the guest has ended, which has something to do after its answer: a
    /// swap would cut that otherwise. Its handler's `drain` bounds it, and so does its own timeout.
    fn outlive(&mut self) {
        let Ok(tokio) = tokio::runtime::Handle::try_current() else { return };
        let (call, entered) = (self.call.clone(), self.entered.take());
        tokio.spawn(async move {
            std::future::poll_fn(|cx| call.poll_ended(cx)).await;
            drop(entered);
        });
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        // Nobody is left for the guest to wait for.
        self.call.guest_is_awaited(true);
        if !self.ended && self.remaining != Some(0) && !self.is_end_stream() {
            // The client has gone, or wants no body.
            self.call.abandon();
        } else if self.marks_end && !self.call.has_ended() {
            self.outlive();
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

    fn end() -> WasiFrame {
        Ok(Frame::trailers(http::HeaderMap::new()))
    }

    fn trailers() -> WasiFrame {
        let name = http::HeaderName::from_static("x-sum");
        Ok(Frame::trailers([(name, http::HeaderValue::from_static("5"))].into_iter().collect()))
    }

    #[test]
    fn body_in_one_piece_is_taken_whole() {
        let whole = |frames: Vec<_>, marks_end| match gathered(&mut body(frames, true), marks_end) {
            Ok(Whole::Piece(bytes)) => bytes,
            other => panic!("expected one piece, found {other:?}"),
        };
        assert_eq!(whole(vec![data("abc")], false), "abc");
        assert_eq!(whole(vec![], false), "");
        assert_eq!(whole(vec![data(""), data("abc"), data(""), end()], true), "abc");
        assert_eq!(whole(vec![end()], true), "");
    }

    #[test]
    fn whole_bodies_of_several_frames_lose_none_of_them() {
        let ahead = |frames: Vec<_>| {
            let frames = match gathered(&mut body(frames, true), true) {
                Ok(Whole::Frames(frames)) => frames,
                other => panic!("expected several frames, found {other:?}"),
            };
            let shown = frames.into_iter().map(|frame| match frame.into_data() {
                Ok(bytes) => String::from_utf8(bytes.into()).unwrap(),
                Err(_) => "trailers".to_owned(),
            });
            shown.collect::<Vec<_>>()
        };
        assert_eq!(ahead(vec![data("a"), data("b"), data("c"), end()]), ["a", "b", "c"]);
        assert_eq!(ahead(vec![data("a"), trailers()]), ["a", "trailers"]);
        assert_eq!(ahead(vec![trailers()]), ["trailers"]);
    }

    #[test]
    fn bodies_that_their_guest_did_not_finish_are_not_whole() {
        let defect = |frames: Vec<_>, ends| gathered(&mut body(frames, ends), true).unwrap_err();
        assert_eq!(defect(vec![data("a")], true), UNFINISHED);
        assert_eq!(defect(vec![], true), UNFINISHED);
        assert_eq!(defect(vec![data("a")], false), UNFINISHED);
        let error = || Err(wasmtime_wasi_http::Error::HttpProtocolError);
        assert_eq!(defect(vec![data("a"), error()], true), "it gave up the body of its answer");
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
