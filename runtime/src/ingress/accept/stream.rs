//! A connection's bytes, bounded in time where hyper sets no bound.
//!
//! Its deadlines for heads begin when the protocol is known, and what finds that out has none: a
//! client that sends nothing, or a part of what HTTP/2 begins with, would hold its connection's place
//! for ever. So would one that takes no byte of its answer.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

/// What a client of HTTP/2 sends first, and no client of HTTP/1 does.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A stream that fails when its client does not show its protocol, or takes nothing, in time.
#[derive(Debug)]
pub(super) struct BoundedStream<I> {
    io: I,
    /// `None` when the protocol is known.
    undecided: Option<Undecided>,
    /// How long the client may go on with taking nothing.
    send_limit: Duration,
    /// Runs while it does.
    stalled: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Undecided {
    /// What is still to come of [`PREFACE`].
    rest: &'static [u8],
    limit: Pin<Box<Sleep>>,
}

impl<I> BoundedStream<I> {
    /// `io`, whose client has to show its protocol within `open_limit` from now on.
    pub(super) fn new(io: I, open_limit: Duration, send_limit: Duration) -> Self {
        let undecided = Undecided { rest: PREFACE, limit: Box::pin(sleep(open_limit)) };
        Self { io, undecided: Some(undecided), send_limit, stalled: None }
    }

    /// What `sent` is, bounded: it is pending when the client takes nothing.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        sent: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.stalled = None;
            return sent;
        }
        let limit = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.send_limit)));
        ready!(limit.as_mut().poll(cx));
        Poll::Ready(Err(late("the client takes nothing of its answer")))
    }
}

fn late(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}

impl<I: Read + Unpin> Read for BoundedStream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, undecided, .. } = &mut *self;
        let io = Pin::new(io);
        let Some(Undecided { rest, limit }) = undecided else {
            return io.poll_read(cx, into);
        };
        // No more than is looked at: what comes after it is read when the protocol is known.
        let mut bytes = [0; PREFACE.len()];
        let mut read = ReadBuf::new(&mut bytes[..rest.len().min(into.remaining())]);
        if io.poll_read(cx, read.unfilled())?.is_pending() {
            ready!(limit.as_mut().poll(cx));
            return Poll::Ready(Err(late("the client has not shown which protocol it speaks")));
        }
        let read = read.filled();
        into.put_slice(read);
        match rest.strip_prefix(read) {
            // At its end, a client sends no more.
            Some(more) if !more.is_empty() && !read.is_empty() => *rest = more,
            _ => *undecided = None,
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Write for BoundedStream<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.bounded(cx, sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        self.bounded(cx, sent)
    }
}
