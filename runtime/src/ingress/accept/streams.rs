//! The streams of HTTP/2 connections: each is a task, which ends when its client takes nothing of its
//! answer for too long.
//!
//! Over HTTP/1.1 a client that takes nothing stops the connection's bytes, and `BoundedStream` sees it.
//! Over HTTP/2 the bytes of other streams go on, and the client answers pings: only the stream stands
//! still, because the client gives it no window. hyper waits for that window without a bound.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, Sleep, sleep};

use crate::events::Folded;

/// Bytes that hyper gets of an answer at once. It holds one such piece for each stream, and hands a piece
/// on as soon as the client's window has room for one byte. So this bounds what an answer costs that
/// nobody takes, and it is the progress that a client has to make. The size of a frame of HTTP/2.
const PIECE: usize = 16 * 1024;

thread_local! {
    /// What the last answer's body that was asked on this thread said.
    static SAID: Cell<Said> = const { Cell::new(Said::Nothing) };
}

/// What became of a body since the task of its stream began to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// The body was not asked.
    Nothing,
    /// The body has no frame yet: the stream waits for the handler.
    Later,
    /// The body gave a frame, or its end: what the stream waits for is its client.
    Given,
}

/// Runs the streams of a server's connections as tasks. Each ends, and with that is reset, when its client
/// takes nothing for `limit`. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Streams {
    limit: Duration,
    /// Streams that were ended. A client can have many at once.
    untaken: Arc<Mutex<Folded>>,
}

impl Streams {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, untaken: Arc::default() }
    }

    /// A stream was ended.
    fn ended(&self) {
        // Its fields are whole after a panic elsewhere, too.
        let mut untaken = self.untaken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = untaken.met(Instant::now()) {
            tracing::warn!(
                "an answer was ended: its client kept an HTTP/2 stream open and took nothing of it \
                 ({times} times since this was told)"
            );
        }
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        tokio::spawn(while_taken(stream, self.clone()));
    }
}

/// Runs `stream`, one of `streams`, to its end, or until its client has taken nothing of its answer for
/// their limit.
async fn while_taken<F: Future>(stream: F, streams: Streams) {
    let mut stream = pin!(stream);
    // Runs while the client takes nothing.
    let mut untaken: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        SAID.set(Said::Nothing);
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match SAID.get() {
            Said::Nothing => {}
            Said::Later => untaken = None,
            Said::Given => untaken = Some(Box::pin(sleep(streams.limit))),
        }
        let Some(limit) = &mut untaken else { return Poll::Pending };
        if limit.as_mut().poll(cx).is_ready() {
            streams.ended();
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

/// An answer's body, in pieces, which tells the task of its stream what became of it.
#[derive(Debug)]
pub(super) struct Watched<B> {
    body: B,
    /// What is left of the frame that the body gave last.
    rest: Bytes,
}

impl<B> Watched<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let mut data = std::mem::take(&mut this.rest);
        if data.is_empty() {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                SAID.set(Said::Later);
                return Poll::Pending;
            };
            SAID.set(Said::Given);
            data = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            };
        }
        SAID.set(Said::Given);
        if data.len() > PIECE {
            this.rest = data.split_off(PIECE);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    #[tokio::test]
    async fn body_comes_in_pieces_and_stays_whole() {
        let sent: Bytes = (0..3 * PIECE + 1).map(|i| i.to_le_bytes()[0]).collect();
        let mut body = Watched::new(Full::new(sent.clone()));
        assert_eq!(body.size_hint().exact(), Some(sent.len() as u64));
        let mut pieces = Vec::new();
        while !body.is_end_stream() {
            let piece = body.frame().await.expect("it is not at its end").unwrap();
            let piece = piece.into_data().expect("it is data");
            assert!(piece.len() <= PIECE);
            pieces.extend_from_slice(&piece);
            assert_eq!(body.size_hint().exact(), Some((sent.len() - pieces.len()) as u64));
        }
        assert_eq!(pieces, sent);
        assert!(body.frame().await.is_none());
    }
}
