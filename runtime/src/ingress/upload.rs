//! The body of a request: what arrived of it before the call began, and what follows.
//!
//! A place of a handler is for guests that work. So a client that sends its body byte by byte waits
//! outside until a small body is whole. A large one is streamed to the guest if there is a place that no
//! other call waits for; calls whose bodies are there go first.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, EXPECT};
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::cloudevents::EVENT_MEDIA_TYPE;
use super::dispatch::MAX_EVENT;
use super::reply::Refusal;
use crate::config::{InstanceMode, Settings};
use crate::handler::Staying;

/// Bytes that all requests together may have ahead of their calls. Beyond it, a body is streamed to its
/// guest as it arrives. A small part of what 1,000 guests may have as memory.
const MAX_AHEAD: usize = 64 * 1024 * 1024;

/// Largest body in bytes, of known length, that is waited for whatever the handler is. Forms and API calls
/// are smaller; what is larger is a file, which a guest may want to see as it comes.
const SMALL: u64 = 64 * 1024;

/// Largest body in bytes that is taken ahead for a singleton, whose one place others wait for, and the
/// largest event.
const LARGE: u64 = MAX_EVENT as u64;

/// Time that a body of unknown length, or of more than [`LARGE`], is waited for ahead of a singleton's
/// call, although nobody else wants the place. Short, because such a body may be a conversation, in which
/// the guest answers first.
const OPEN_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes up to which small frames are put together: each takes some 200 bytes beyond its content, and a
/// client may send its body in frames of one byte.
const PIECE: usize = 16 * 1024;

/// Bytes that a client has to send of a streamed body to count as one that sends: byte by byte is as good
/// as nothing.
const PROGRESS: u64 = 64 * 1024;

/// The bytes that the bodies of one runtime's requests may have ahead of their calls.
pub(crate) fn budget() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_AHEAD))
}

/// The body of a request.
pub(super) struct Upload<B> {
    /// Frames that were taken out of `rest`.
    ahead: VecDeque<Frame<Bytes>>,
    /// Bytes in `ahead`.
    bytes: u64,
    /// `None` when all of the body is in `ahead`.
    rest: Option<Pin<Box<B>>>,
    /// Given back when the guest has taken all of it.
    kept: Option<OwnedSemaphorePermit>,
    pace: Pace,
    /// Of a call that has begun without all of its body. In a box, as few calls do.
    waiting: Option<Box<Waiting>>,
}

/// What a call does whose body is still on its way.
struct Waiting {
    staying: Staying,
    gives_way: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// How long a client has been waited for since it last made progress with its body. Time in which the guest
/// does something else is not its client's.
#[derive(Default)]
struct Pace {
    /// Since when more of the body is waited for, if it is.
    since: Option<Instant>,
    /// How long it was waited for before that, and the bytes that came meanwhile.
    waited: Duration,
    came: u64,
}

/// Why a body ends early.
#[derive(Debug)]
pub(super) enum UploadError<E> {
    /// Its client broke off, or sent nonsense.
    Client(E),
    /// Its client was slow, and another call waited.
    GaveWay,
}

impl<E> UploadError<E> {
    /// Whether the client was too slow.
    pub(super) fn is_late(&self) -> bool {
        matches!(self, Self::GaveWay)
    }
}

impl<E: fmt::Display> fmt::Display for UploadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::GaveWay => {
                f.write_str("the client was slow with its body while another call waited")
            }
        }
    }
}

/// What is taken of a body before the call begins.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// With so many, or all, the call waits for its turn.
    bytes: u64,
    /// For at most this long.
    patience: Duration,
    /// After this time, less will do if there is a place that no other call waits for.
    less_after: Option<Duration>,
}

impl Plan {
    /// For a request with these headers to a handler with `settings`, whose body is not empty.
    fn of(settings: &Settings, headers: &HeaderMap, length: Option<u64>) -> Self {
        let patience = settings.timeout;
        let whole = |bytes| Self { bytes, patience, less_after: None };
        let open = |pause| Self { bytes: LARGE, patience, less_after: Some(pause) };
        let is_event = is_event(headers);
        let is_shared = settings.instances == InstanceMode::Singleton;
        // Such a client sends its body when the guest asks for it, which it may never do.
        let is_small = |bytes| bytes <= SMALL && !headers.contains_key(EXPECT);
        let is_wanted = is_event || is_shared;
        match length {
            Some(bytes) if is_small(bytes) || is_wanted && bytes <= LARGE => whole(bytes),
            // Refused by its length when the call has begun.
            Some(_) if is_event => open(Duration::ZERO),
            // One byte more than an event may have shows that it is too large.
            None if is_event => whole(LARGE + 1),
            _ if is_shared => open(OPEN_PATIENCE),
            _ => open(Duration::ZERO),
        }
    }

    /// Whether `taken` bytes are enough. A body of known length is taken to its end, which over HTTP/2 may
    /// come on its own after the last byte.
    fn is_met(&self, taken: u64) -> bool {
        let has_known_end = self.less_after.is_none() && self.bytes <= LARGE;
        !has_known_end && taken >= self.bytes
    }
}

/// Whether a request says that it is an event, whatever its handler takes.
fn is_event(headers: &HeaderMap) -> bool {
    headers.contains_key("ce-specversion")
        || headers.get(CONTENT_TYPE).is_some_and(|media_type| {
            let start = media_type.as_bytes().get(..EVENT_MEDIA_TYPE.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_MEDIA_TYPE.as_bytes()))
        })
}

/// Takes as much of the body of `request` as is to be there before the call of a handler with `config`
/// begins; `None` where there is no body. `budget` has the bytes that may be kept. `admit_last` waits for a
/// place that no other call waits for: its result is that of the future when the call may begin with a body
/// that is still on its way. Without it, the call has to wait for its turn.
///
/// # Errors
///
/// [`Refusal`] when the client is too slow with its body, or breaks off.
///
/// # Cancel safety
///
/// The body keeps what was taken of it.
pub(super) fn taken_ahead<'a, B, T>(
    settings: impl FnOnce() -> Arc<Settings>,
    budget: &'a Arc<Semaphore>,
    admit_last: impl FnOnce() -> T + 'a,
    request: &'a mut Request<Upload<B>>,
) -> Option<impl Future<Output = Result<Option<T::Output>, Refusal<'static>>> + 'a>
where
    B: Body<Data = Bytes>,
    T: Future + 'a,
{
    request.body().rest.as_ref()?;
    let length = request.body().size_hint().exact();
    let plan = Plan::of(&settings(), request.headers(), length);
    Some(async move { request.body_mut().take_ahead(&plan, budget, admit_last).await })
}

impl<B: Body<Data = Bytes>> Upload<B> {
    /// `body`, of which nothing is taken yet.
    pub(super) fn new(body: B) -> Self {
        // No box for the most common body, which is none.
        let rest = (!body.is_end_stream()).then(|| Box::pin(body));
        let (ahead, pace) = (VecDeque::new(), Pace::default());
        Self { ahead, bytes: 0, rest, kept: None, pace, waiting: None }
    }

    /// The call begins. When its body is still on its way, it may have to give way as `stay` says.
    pub(super) fn stay(&mut self, stay: impl FnOnce() -> Staying) {
        if self.rest.is_some() {
            let staying = stay();
            let gives_way = Box::pin(staying.gives_way().clone().cancelled_owned());
            self.waiting = Some(Box::new(Waiting { staying, gives_way }));
            // Now the guest begins, and what the client was waited for outside counts, too.
            self.pace.came(0);
        }
    }

    async fn take_ahead<T: Future>(
        &mut self,
        plan: &Plan,
        budget: &Arc<Semaphore>,
        admit_last: impl FnOnce() -> T,
    ) -> Result<Option<T::Output>, Refusal<'static>> {
        if plan.less_after != Some(Duration::ZERO) {
            // Most bodies are there with the head, so that no timer is set.
            let at_hand = self.poll_ahead(&mut Context::from_waker(Waker::noop()), plan, budget);
            if let Poll::Ready(taken) = at_hand {
                return taken.map(|()| None);
            }
        }
        let less_will_do = async {
            match plan.less_after {
                None => std::future::pending().await,
                Some(Duration::ZERO) => {}
                Some(pause) => tokio::time::sleep(pause).await,
            }
            admit_last().await
        };
        // Cancel-safe: what was taken stays with the body, and a call that does not get in leaves the line.
        tokio::select! {
            biased;
            admitted = less_will_do => Ok(Some(admitted)),
            taken = std::future::poll_fn(|cx| self.poll_ahead(cx, plan, budget)) => {
                taken.map(|()| None)
            }
            () = tokio::time::sleep(plan.patience) => {
                Err(Refusal::LateBody { waited: plan.patience })
            }
        }
    }

    /// Takes frames until there is as much as `plan` wants, or the budget is used up.
    fn poll_ahead(
        &mut self,
        cx: &mut Context<'_>,
        plan: &Plan,
        budget: &Arc<Semaphore>,
    ) -> Poll<Result<(), Refusal<'static>>> {
        while let Some(rest) = &mut self.rest
            && !plan.is_met(self.bytes)
        {
            let frame = match rest.as_mut().poll_frame(cx) {
                Poll::Pending => {
                    self.pace.waits();
                    return Poll::Pending;
                }
                Poll::Ready(None) => {
                    self.rest = None;
                    break;
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Refusal::IncompleteBody)),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let is_end = rest.is_end_stream();
            self.push(frame);
            self.bytes += bytes as u64;
            self.pace.came(bytes as u64);
            if is_end {
                self.rest = None;
            } else if !self.keep(bytes, budget) {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Puts `frame` to those ahead, in one piece with the last of them if both are small.
    fn push(&mut self, frame: Frame<Bytes>) {
        let last = self.ahead.back_mut().and_then(Frame::data_mut);
        match (last, frame.data_ref()) {
            (Some(last), Some(more)) if last.len() + more.len() <= PIECE => {
                let mut piece = BytesMut::from(std::mem::take(last));
                piece.extend_from_slice(more);
                *last = piece.freeze();
            }
            _ => self.ahead.push_back(frame),
        }
    }

    /// Counts `bytes` against the budget; returns whether there was room for them.
    fn keep(&mut self, bytes: usize, budget: &Arc<Semaphore>) -> bool {
        // What one frame has fits: hyper reads at most some 400 KiB at once.
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(more) = Arc::clone(budget).try_acquire_many_owned(bytes) else { return false };
        match &mut self.kept {
            Some(kept) => kept.merge(more),
            None => self.kept = Some(more),
        }
        true
    }
}

impl Pace {
    /// More of the body is waited for. Returns since when, had it been waited for without a break.
    fn waits(&mut self) -> Instant {
        let since = *self.since.get_or_insert_with(Instant::now);
        since.checked_sub(self.waited).unwrap_or(since)
    }

    /// So many `bytes` came, and no more are waited for.
    fn came(&mut self, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        self.came += bytes;
        if self.came >= PROGRESS {
            (self.came, self.waited) = (0, Duration::ZERO);
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Upload<B> {
    type Data = Bytes;
    type Error = UploadError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError<B::Error>>>> {
        if let Some(frame) = self.ahead.pop_front() {
            self.bytes -= frame.data_ref().map_or(0, Bytes::len) as u64;
            return Poll::Ready(Some(Ok(frame)));
        }
        self.kept = None;
        let this = &mut *self;
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        let next = rest.as_mut().poll_frame(cx);
        let Some(waiting) = &mut this.waiting else {
            return next.map_err(UploadError::Client);
        };
        match &next {
            // A look with a waker that does nothing is no wait.
            Poll::Pending if cx.waker().data().is_null() => {}
            Poll::Pending => {
                waiting.staying.waits_since(Some(this.pace.waits()));
                if waiting.gives_way.as_mut().poll(cx).is_ready() {
                    (this.rest, this.waiting) = (None, None);
                    return Poll::Ready(Some(Err(UploadError::GaveWay)));
                }
            }
            Poll::Ready(Some(Ok(frame))) => {
                if this.pace.since.is_some() {
                    waiting.staying.waits_since(None);
                }
                this.pace.came(frame.data_ref().map_or(0, Bytes::len) as u64);
            }
            Poll::Ready(_) => this.waiting = None,
        }
        next.map_err(UploadError::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.as_ref().is_none_or(|rest| rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), |it| it.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(self.bytes));
        }
        hint.set_lower(rest.lower().saturating_add(self.bytes));
        hint
    }
}

#[cfg(test)]
mod tests;
