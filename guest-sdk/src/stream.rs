//! The kinds of streaming body: written by a future, or converted from another crate's body.

use crate::{Error, Result};
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Where the producer of [`Body::stream`](crate::Body::stream) puts its chunks.
///
/// There is room for one. No waker is kept: the body that drains the slot is the one that polls the
/// producer, so both always run in one task.
pub struct Sender(Slot);

type Slot = Rc<RefCell<Option<Frame<Bytes>>>>;

impl Sender {
    /// Sends a chunk, and waits until it has been taken.
    ///
    /// If nobody wants the rest of the body any more, this does not return: the producer is dropped
    /// where it waits.
    pub async fn send(&mut self, chunk: impl Into<Bytes>) {
        let chunk = chunk.into();
        // An empty chunk would read as the end in some encodings of HTTP.
        if !chunk.is_empty() {
            self.send_frame(Frame::data(chunk)).await;
        }
    }

    /// Sends a chunk that is not empty, or trailers.
    pub(crate) async fn send_frame(&mut self, frame: Frame<Bytes>) {
        *self.0.borrow_mut() = Some(frame);
        poll_fn(|_| if self.0.borrow().is_none() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// A body whose bytes come from a future.
pub(crate) struct Produced<F> {
    /// `None` once it has finished.
    producer: Option<Pin<Box<F>>>,
    slot: Slot,
    /// Bytes that are still to come, where the producer promises a number.
    left: Option<u64>,
}

impl<F> Produced<F> {
    pub(crate) fn new(length: Option<u64>, producer: impl FnOnce(Sender) -> F) -> Self {
        let slot = Slot::default();
        Self { producer: Some(Box::pin(producer(Sender(slot.clone())))), slot, left: length }
    }
}

impl<F: Future<Output = Result<()>>> HttpBody for Produced<F> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Some(producer) = &mut self.producer else { return Poll::Ready(None) };
        let progress = producer.as_mut().poll(cx);
        let frame = self.slot.borrow_mut().take();
        if let (Some(left), Some(data)) = (&mut self.left, frame.as_ref().and_then(Frame::data_ref))
        {
            *left = left.saturating_sub(data.len() as u64);
        }
        match (progress, frame) {
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Pending, Some(frame)) => Poll::Ready(Some(Ok(frame))),
            (Poll::Ready(result), frame) => {
                self.producer = None;
                // A frame is left over only if the producer gave up waiting for it, as in a select.
                Poll::Ready(result.err().map(Err).or(frame.map(Ok)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.producer.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.left {
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::default(),
        }
    }
}

/// Another crate's body with its errors converted.
pub(crate) struct Converted<B>(pub(crate) Pin<Box<B>>);

impl<B> HttpBody for Converted<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Error>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.0.as_mut().poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
