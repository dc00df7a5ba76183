//! Takes a streamed answer off its guest's hands, as far as the bytes are bounded: the guest ends, and its
//! place is free, while the client still reads.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::BodyError;
use crate::handler::Staying;

/// Bytes of all answers together that the host keeps for clients that are slower than guests. Beyond it, a
/// guest waits for its client. As much as 64 slow readers of an answer each, or 4 of a singleton's.
const MAX_KEPT: usize = 64 * 1024 * 1024;

/// Bytes of one answer that are kept. A singleton's are many, as others wait for its one instance.
const KEPT: usize = 1024 * 1024;
const KEPT_OF_SINGLETON: usize = 16 * 1024 * 1024;

/// What an answer ends with that had to make room.
const GAVE_WAY: &str = "its call gave way to another one that waited";

/// The bytes that one runtime keeps of its answers.
pub(crate) fn budget() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_KEPT))
}

/// The frames of an answer, ahead of its client.
#[derive(Debug)]
pub(super) struct Ahead {
    frames: UnboundedReceiver<Kept>,
    /// Bytes that are still to come, if that is known.
    left: Option<u64>,
}

/// A frame, and the room that it takes until it is handed on.
type Kept = (Result<Frame<Bytes>, BodyError>, Option<[OwnedSemaphorePermit; 2]>);

/// Where the frames of one answer find room.
#[derive(Debug)]
struct Room {
    own: Arc<Semaphore>,
    n_own: usize,
    all: Arc<Semaphore>,
}

impl Ahead {
    /// Runs ahead of the client with `body`, in a task. `staying` is the call's, of a singleton or not.
    pub(super) fn of<B>(body: B, staying: Staying, is_single: bool, budget: &Arc<Semaphore>) -> Self
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Send + Unpin + 'static,
    {
        let n_own = if is_single { KEPT_OF_SINGLETON } else { KEPT };
        let own = Arc::new(Semaphore::new(n_own));
        let room = Room { own, n_own, all: Arc::clone(budget) };
        let left = body.size_hint().exact();
        let (sender, frames) = unbounded_channel();
        tokio::spawn(run_ahead(body, staying, room, sender));
        Self { frames, left }
    }
}

/// Hands frames on as they come and find room, until there is none left, the answer broke, the client has
/// gone, or the call has to give way. The body, and with it the call's place, is dropped then.
async fn run_ahead<B>(mut body: B, staying: Staying, room: Room, frames: UnboundedSender<Kept>)
where
    B: HttpBody<Data = Bytes, Error = BodyError> + Unpin,
{
    let gives_way = staying.gives_way().clone();
    let moving = async {
        while let Some(frame) = body.frame().await {
            let bytes = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, Bytes::len);
            let kept = room.of(bytes, &staying).await;
            let is_last = frame.is_err();
            if frames.send((frame, kept)).is_err() || is_last {
                return;
            }
        }
    };
    // Cancel-safe: what is dropped is the rest of an answer that nobody gets.
    tokio::select! {
        biased;
        () = gives_way.cancelled() => {
            // Without a receiver the client has gone.
            let _ = frames.send((Err(BodyError::new(GAVE_WAY)), None));
        }
        () = frames.closed() => {}
        () = moving => {}
    }
}

impl Room {
    /// Room for a frame of `bytes`, as soon as there is some.
    async fn of(&self, bytes: usize, staying: &Staying) -> Option<[OwnedSemaphorePermit; 2]> {
        // A frame that is larger than all the room takes all of it.
        let n = u32::try_from(bytes.min(self.n_own)).unwrap_or(u32::MAX);
        let taken = [&self.own, &self.all].map(|it| Arc::clone(it).try_acquire_many_owned(n));
        if let [Ok(own), Ok(all)] = taken {
            return Some([own, all]);
        }
        staying.waits_for_client(true);
        // The semaphores are never closed.
        let own = Arc::clone(&self.own).acquire_many_owned(n).await.ok()?;
        let all = Arc::clone(&self.all).acquire_many_owned(n).await.ok()?;
        staying.waits_for_client(false);
        Some([own, all])
    }
}

impl HttpBody for Ahead {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(self.frames.poll_recv(cx)).map(|(frame, _room)| frame);
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            *left = left.saturating_sub(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_closed() && self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
