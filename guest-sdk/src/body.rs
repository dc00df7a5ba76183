//! The body of a request or a response: in memory, or a stream that is read as it arrives.

use crate::stream::{self, Sender};
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The bytes of a request or a response.
///
/// Read it whole with [`bytes`](Self::bytes), [`text`](Self::text) or [`json`](Self::json), or piece
/// by piece with [`chunk`](Self::chunk). Passing a request's body on as a response's body streams it:
/// no more than one chunk is in memory at a time.
///
/// It is an [`http_body::Body`] too, for the tools of that ecosystem.
#[derive(Default)]
pub struct Body(Inner);

#[derive(Default)]
enum Inner {
    #[default]
    Empty,
    Full(Bytes),
    Stream(BoxBody),
    /// Not here, for this reason.
    Missing(&'static str),
}

type BoxBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = Error>>>;

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body that `producer` writes while it is sent.
    ///
    /// The producer waits in [`Sender::send`] until the host has taken the chunk, so a slow client
    /// slows it down and nothing piles up. If it fails, or panics, the response is broken off where it is:
    /// the client sees that it did not get all of it, and the host counts the call as failed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use wrt_guest::{Body, time};
    ///
    /// let countdown = Body::stream(async |mut out| {
    ///     for second in (1..=3).rev() {
    ///         out.send(format!("{second}\n")).await;
    ///         time::sleep(Duration::from_secs(1)).await;
    ///     }
    ///     Ok(())
    /// });
    /// # let text = wrt_guest::testing::block_on(countdown.text()).unwrap();
    /// # assert_eq!(text, "3\n2\n1\n");
    /// ```
    pub fn stream<P, F>(producer: P) -> Self
    where
        P: FnOnce(Sender) -> F,
        F: Future<Output = Result<()>> + 'static,
    {
        Self::from_frames(None, producer)
    }

    /// [`stream`](Self::stream) with the length that the producer promises, in bytes, if it does.
    pub(crate) fn from_frames<P, F>(length: Option<u64>, producer: P) -> Self
    where
        P: FnOnce(Sender) -> F,
        F: Future<Output = Result<()>> + 'static,
    {
        Self(Inner::Stream(Box::pin(stream::Produced::new(length, producer))))
    }

    /// Wraps another kind of body.
    pub fn from_http_body<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<Error>,
    {
        Self(Inner::Stream(Box::pin(stream::Converted(Box::pin(body)))))
    }

    /// The next piece, or `None` after the last. Pieces are never empty.
    ///
    /// # Errors
    ///
    /// The sender went away, or broke the rules of HTTP.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.frame().await? {
                None => return Ok(None),
                Some(frame) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    // Trailers, which only `http_body::Body` shows, or an empty piece.
                    _ => {}
                },
            }
        }
    }

    /// All bytes.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk).
    pub async fn bytes(mut self) -> Result<Bytes> {
        if let Inner::Full(bytes) = self.0 {
            return Ok(bytes);
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    /// All bytes as text.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk), and a 400 for bytes that are not UTF-8.
    pub async fn text(self) -> Result<String> {
        String::from_utf8(self.bytes().await?.into())
            .map_err(|error| Error::rejected(format!("body is not text: {}", error.utf8_error())))
    }

    /// All bytes read as JSON.
    ///
    /// # Errors
    ///
    /// As [`chunk`](Self::chunk), and a 400 for bytes that are not the JSON of a `T`.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T> {
        crate::json::read(&self.bytes().await?, "body")
    }

    /// Leaves a body that says that it was taken, for the arguments that come after.
    pub(crate) fn take(&mut self) -> Self {
        let taken = Inner::Missing("the body was taken by an earlier argument");
        Self(std::mem::replace(&mut self.0, taken))
    }

    /// The body for arguments that do not [need](crate::Needs::BODY) it.
    pub(crate) fn not_asked_for() -> Self {
        Self(Inner::Missing("the body was not asked for: no argument has `Needs::BODY`"))
    }

    /// Only a body in memory knows its length for sure: a stream's is a promise of its sender.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn length_in_memory(&self) -> Option<usize> {
        match &self.0 {
            Inner::Empty => Some(0),
            Inner::Full(bytes) => Some(bytes.len()),
            Inner::Stream(_) | Inner::Missing(_) => None,
        }
    }

    /// The bytes of a body that is in memory; of another one none.
    #[cfg(target_arch = "wasm32")]
    pub(crate) fn into_memory(self) -> Bytes {
        match self.0 {
            Inner::Full(bytes) => bytes,
            Inner::Empty | Inner::Stream(_) | Inner::Missing(_) => Bytes::new(),
        }
    }

    pub(crate) async fn frame(&mut self) -> Result<Option<Frame<Bytes>>> {
        poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *self), cx)).await.transpose()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Inner::Stream(stream) => stream.as_mut().poll_frame(cx),
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let frame = Frame::data(std::mem::take(bytes));
                self.0 = Inner::Empty;
                Poll::Ready(Some(Ok(frame)))
            }
            Inner::Missing(reason) => Poll::Ready(Some(Err((*reason).into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Stream(stream) => stream.is_end_stream(),
            Inner::Full(_) | Inner::Missing(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Stream(stream) => stream.size_hint(),
            Inner::Missing(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Empty => f.write_str("Body(empty)"),
            Inner::Full(bytes) => write!(f, "Body({bytes:?})"),
            Inner::Stream(_) => f.write_str("Body(stream)"),
            Inner::Missing(_) => f.write_str("Body(missing)"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self(Inner::Full(bytes)) }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

#[cfg(test)]
mod tests;
