//! Takes a streamed answer off its guest's hands, as far as the bytes are bounded: the guest ends, and its
//! place is free, while the client still reads.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::body::BodyError;
use crate::handler::Staying;

/// Bytes of all answers together that the host keeps for clients that are slower than guests. Beyond it, a
/// guest waits until its client has taken what came before, so that slow clients hold up no others. As much
/// as 64 slow readers of an answer each, or 4 of a singleton's.
const MAX_KEPT: usize = 64 * 1024 * 1024;

/// Bytes of one answer that are kept. A singleton's are many, as others wait for its one instance.
const KEPT: usize = 1024 * 1024;
const KEPT_OF_SINGLETON: usize = 16 * 1024 * 1024;

/// Bytes that a frame takes beyond its content: itself, its place in the channel and its allocation.
const FRAME: usize = 256;

/// What an answer ends with that had to make room.
const GAVE_WAY: &str = "its call gave way to another one that waited";

/// What an answer ends with whose task went away: it panicked, or its tokio runtime ended.
const GIVEN_UP: &str = "the host gave up the task that sent it";

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
    /// Whether the end, or an error, was handed on.
    is_over: bool,
}

/// A frame, or the word that the body is whole, and the room that it takes until it is handed on.
type Kept = (Option<Result<Frame<Bytes>, BodyError>>, Option<Taken>);

/// Room among the frames of one answer, and among those of all where the frame needs that.
type Taken = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

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
        Self { frames, left, is_over: false }
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
        loop {
            let frame = body.frame().await;
            let (taken, is_last) = match &frame {
                Some(Ok(frame)) => {
                    let bytes = FRAME + frame.data_ref().map_or(0, Bytes::len);
                    (room.of(bytes, &staying).await, false)
                }
                Some(Err(_)) | None => (None, true),
            };
            if frames.send((frame, taken)).is_err() || is_last {
                return;
            }
        }
    };
    // Cancel-safe: what is dropped is the rest of an answer that nobody gets.
    tokio::select! {
        biased;
        () = gives_way.cancelled() => {
            // Without a receiver the client has gone.
            let _ = frames.send((Some(Err(BodyError::new(GAVE_WAY))), None));
        }
        () = frames.closed() => {}
        () = moving => {}
    }
}

impl Room {
    /// Room for a frame of `bytes`, as soon as there is some.
    async fn of(&self, bytes: usize, staying: &Staying) -> Option<Taken> {
        // A frame that is larger than all the room takes all of it.
        let in_permits = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        let n = in_permits(bytes.min(self.n_own));
        let rest = in_permits(self.n_own.saturating_sub(bytes));
        // The semaphores are never closed.
        let own = match Arc::clone(&self.own).try_acquire_many_owned(n) {
            Ok(own) => own,
            Err(_) => {
                staying.waits_for_client(true);
                Arc::clone(&self.own).acquire_many_owned(n).await.ok()?
            }
        };
        let all = match Arc::clone(&self.all).try_acquire_many_owned(n) {
            Ok(all) => Some(all),
            Err(_) => {
                staying.waits_for_client(true);
                // Cancel-safe: who no longer waits gives back what it waited for.
                tokio::select! {
                    biased;
                    all = Arc::clone(&self.all).acquire_many_owned(n) => all.ok(),
                    // The client has taken all that came before: others are slow, and it is not.
                    _ = self.own.acquire_many(rest) => None,
                }
            }
        };
        staying.waits_for_client(false);
        Some((own, all))
    }
}

impl HttpBody for Ahead {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let given_up = || (Some(Err(BodyError::new(GIVEN_UP))), None);
        let (frame, _room) = ready!(self.frames.poll_recv(cx)).unwrap_or_else(given_up);
        self.is_over = !matches!(frame, Some(Ok(_)));
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            *left = left.saturating_sub(bytes);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.is_over
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::StreamBody;

    use super::*;

    /// A body of `frames`, ahead of its client, where all answers together may have `all` bytes.
    fn ahead(frames: Vec<Bytes>, all: usize) -> Ahead {
        let frames = frames.into_iter().map(|data| Ok(Frame::data(data)));
        let body = StreamBody::new(futures::stream::iter(frames));
        Ahead::of(body, Staying::alone(), false, &Arc::new(Semaphore::new(all)))
    }

    #[tokio::test]
    async fn client_that_reads_gets_all_although_others_have_the_room() {
        // Two of them are more than the answer's own room.
        let frame = Bytes::from(vec![b'x'; KEPT / 3 * 2]);
        for all in [0, KEPT] {
            let whole = ahead(vec![frame.clone(); 3], all).collect().await.expect("it is whole");
            assert_eq!(whole.to_bytes().len(), 3 * frame.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_are_kept_as_far_as_there_is_room_and_tiny_ones_cost_something() {
        let kept = async |frames: Vec<Bytes>, all| {
            let ahead = ahead(frames, all);
            // The clock goes on when the task waits.
            tokio::time::sleep(Duration::from_secs(1)).await;
            ahead.frames.len()
        };
        let tiny = vec![Bytes::from_static(b"x"); 2 * KEPT / FRAME];
        assert_eq!(kept(tiny.clone(), MAX_KEPT).await, KEPT / (FRAME + 1));
        assert_eq!(kept(tiny, 0).await, 1);
        // Two frames and the end.
        assert_eq!(kept(vec![Bytes::from_static(b"x"); 2], MAX_KEPT).await, 3);
    }

    #[tokio::test]
    async fn answer_whose_task_went_away_does_not_look_whole() {
        let (sender, frames) = unbounded_channel();
        let mut ahead = Ahead { frames, left: None, is_over: false };
        sender.send((Some(Ok(Frame::data(Bytes::from_static(b"half")))), None)).unwrap();
        drop(sender);
        assert!(ahead.frame().await.is_some_and(|frame| frame.is_ok()));
        assert!(!ahead.is_end_stream());
        assert!(ahead.frame().await.is_some_and(|frame| frame.is_err()));
        assert!(ahead.is_end_stream());
        assert!(ahead.frame().await.is_none());
    }
}
