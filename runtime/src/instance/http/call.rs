//! One HTTP call, as the guest's run and the bodies of request and response share it.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::CallFailure;
pub(super) use clock::{Clock, Expired};

mod clock;

/// Learns how a guest ended whose caller has the head of its answer already, or has left.
pub(crate) trait Witness: Send + Sync {
    /// The call failed. `answered` says whether the head of the answer was out.
    fn failed(&self, failure: &CallFailure, answered: bool);
}

/// One call, as the guest's run, the request's body and the response's body share it.
#[derive(Clone, Default)]
pub(crate) struct Call {
    shared: Arc<SharedCall>,
}

struct SharedCall {
    /// Nobody for a probe.
    witness: Option<Arc<dyn Witness>>,
    /// Set when a worker takes the call.
    clock: OnceLock<Arc<Clock>>,
    /// Set when nobody waits for the answer any more.
    abandoned: AtomicBool,
    /// Set when the guest has set an answer, good or not.
    answered: AtomicBool,
    /// Set when the guest's function returned without a trap.
    returned: AtomicBool,
    /// Set when the guest will do nothing more for the call, however it ended.
    ended: AtomicBool,
    /// Whether the client waits for the guest. It does not while it has not taken what is there.
    guest_is_awaited: AtomicBool,
    upload: AtomicU8,
    rest: Mutex<Rest>,
}

/// What few calls need.
#[derive(Default)]
struct Rest {
    head: Head,
    /// How the guest ended, until whoever sends the head takes it.
    failure: Option<CallFailure>,
    /// Of the response's body, to be woken when the guest has ended.
    taker: Option<Waker>,
    /// Of the guest that waits for the request's body.
    reader: Option<Waker>,
    /// What ended the request's body before its end.
    upload_error: Option<String>,
}

/// How far the head of the answer came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Head {
    /// The caller waits for it.
    #[default]
    Awaited,
    /// The client gets it: no other answer can be given any more.
    Out,
    /// The caller left before it was there.
    Unwanted,
}

/// The body of a request is not waited for.
const UPLOAD_AT_REST: u8 = 0;
/// The guest waits for more of it.
const UPLOAD_AWAITED: u8 = 1;
/// The client was too slow with it: the guest's next read fails.
const UPLOAD_LATE: u8 = 2;
/// It ended before its end.
const UPLOAD_BROKEN: u8 = 3;

impl Default for SharedCall {
    fn default() -> Self {
        Self {
            witness: None,
            clock: OnceLock::new(),
            abandoned: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            returned: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            guest_is_awaited: AtomicBool::new(true),
            upload: AtomicU8::new(UPLOAD_AT_REST),
            rest: Mutex::default(),
        }
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("ended", &self.has_ended()).finish_non_exhaustive()
    }
}

impl Call {
    /// A call whose failure `witness` learns when no caller is left to be told.
    pub(crate) fn new(witness: Arc<dyn Witness>) -> Self {
        let shared = SharedCall { witness: Some(witness), ..SharedCall::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Nobody waits for the answer any more: its worker ends, unless it serves other calls too.
    /// Without this a client that goes away would leave its store behind until the timeout.
    pub(crate) fn abandon(&self) {
        self.shared.abandoned.store(true, Ordering::Relaxed);
        // Ordering: this writes one thing and looks at another, and the worker that takes the call
        // does the reverse; with a fence between in both, one of the two sees the other's write.
        fence(Ordering::SeqCst);
        if let Some(clock) = self.shared.clock.get() {
            clock.abandon(&self.shared);
        }
    }

    /// The guest has set an answer.
    pub(super) fn answers(&self) {
        // Ordering: looked at by the task that runs the guest.
        self.shared.answered.store(true, Ordering::Relaxed);
    }

    /// Whether the guest has set an answer.
    pub(super) fn has_answered(&self) -> bool {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// The guest's function returned. To be said before its store is given back or dropped, so that
    /// a body that ends with the store tells a return from a failure.
    pub(super) fn returned(&self) {
        // Ordering: the end of the body's channel publishes it.
        self.shared.returned.store(true, Ordering::Release);
    }

    /// Whether the guest's function returned.
    pub(crate) fn has_returned(&self) -> bool {
        self.shared.returned.load(Ordering::Acquire)
    }

    /// The guest does nothing more for the call. A failure is told now if nobody is left to take it.
    pub(super) fn end(&self, ended: Result<(), CallFailure>) {
        let mut rest = self.rest();
        // Ordering: the lock publishes it to those who act on it.
        self.shared.ended.store(true, Ordering::Relaxed);
        let taker = rest.taker.take();
        let untold = match (ended, rest.head) {
            (Ok(()), _) => None,
            (Err(failure), Head::Awaited) => {
                rest.failure = Some(failure);
                None
            }
            (Err(failure), Head::Out) => Some((failure, true)),
            (Err(failure), Head::Unwanted) => Some((failure, false)),
        };
        drop(rest);
        if let (Some((failure, answered)), Some(witness)) = (untold, &self.shared.witness) {
            witness.failed(&self.blamed(failure), answered);
        }
        if let Some(taker) = taker {
            taker.wake();
        }
    }

    /// Whether the guest does nothing more for the call.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// The head of the answer goes to the client, unless the guest has ended already: then how it
    /// ended, and another answer may be given.
    pub(crate) fn send_head(&self) -> Option<Result<(), CallFailure>> {
        let mut rest = self.rest();
        if self.has_ended() {
            return Some(rest.failure.take().map_or(Ok(()), Err));
        }
        rest.head = Head::Out;
        // Nobody has asked for the body yet.
        self.shared.guest_is_awaited.store(false, Ordering::Relaxed);
        None
    }

    /// The caller leaves before the head is there.
    pub(super) fn leave(&self) {
        self.rest().head = Head::Unwanted;
    }

    /// Wakes `waker` when the guest has ended; ready when it has.
    pub(crate) fn poll_ended(&self, cx: &Context<'_>) -> Poll<()> {
        let mut rest = self.rest();
        if self.has_ended() {
            return Poll::Ready(());
        }
        rest.taker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether the client waits for the guest from now on, and not the guest for its client.
    pub(crate) fn guest_is_awaited(&self, is_awaited: bool) {
        // Ordering: a lone value, looked at once in a timeout.
        self.shared.guest_is_awaited.store(is_awaited, Ordering::Relaxed);
    }

    /// Whether it is the client that nothing moves for. A guest that waits for the body of the
    /// request is told that there is no more of it.
    pub(super) fn client_is_late(&self) -> bool {
        self.give_up_on_upload() || !self.shared.guest_is_awaited.load(Ordering::Relaxed)
    }

    /// A worker takes the call.
    pub(super) fn taken_by(&self, clock: &Arc<Clock>) {
        clock.serve(&self.shared);
        // Set once: a call is given to one worker only.
        let _ = self.shared.clock.set(Arc::clone(clock));
        // Ordering: see `abandon`.
        fence(Ordering::SeqCst);
        if self.shared.abandoned.load(Ordering::Relaxed) {
            clock.abandon(&self.shared);
        }
    }

    /// What ended its worker early; see [`Clock::failure`].
    pub(super) async fn worker_failure(&self) -> Option<CallFailure> {
        self.shared.clock.get()?.failure().await
    }

    /// What ended its worker early, if it ended so by now.
    pub(crate) fn broken_by(&self) -> Option<CallFailure> {
        self.shared.clock.get()?.broken_by()
    }

    /// The response made progress: its worker gets the whole timeout again.
    pub(crate) fn progress(&self) {
        if let Some(clock) = self.shared.clock.get() {
            clock.touch();
        }
    }

    /// `failure`, or what the client did before it: a guest that cannot read its request to the end
    /// has nothing better to do than to fail.
    pub(crate) fn blamed(&self, failure: CallFailure) -> CallFailure {
        let state = self.shared.upload.load(Ordering::Relaxed);
        if !matches!(state, UPLOAD_LATE | UPLOAD_BROKEN) {
            return failure;
        }
        let guest = match failure {
            CallFailure::Handler { reason, .. } | CallFailure::Guest { reason } => reason,
            // The whole trap would be told as the client's; its first line says enough.
            CallFailure::Trap { source } => source.root_cause().to_string(),
            // These have nothing to do with what was read.
            other => return other,
        };
        let late = state == UPLOAD_LATE;
        let error = self.rest().upload_error.clone();
        let error = error.unwrap_or_else(|| LATE.to_owned());
        CallFailure::Client { late, reason: format!("{error}; the guest said: {guest}") }
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        // Each field is replaced whole, so a panic elsewhere leaves it sound.
        self.shared.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a read of a request's body fails whose client was too slow.
const LATE: &str = "the client was too slow with the request's body";

/// The side of the request's body.
impl Call {
    /// The guest runs on; what it waits for, it says anew.
    pub(super) fn guest_runs(&self) {
        let upload = &self.shared.upload;
        // Ordering, here and below: the value alone counts. Only the task that runs the guest moves
        // between these two states, and the others are final.
        if upload.load(Ordering::Relaxed) == UPLOAD_AWAITED {
            self.move_upload(UPLOAD_AWAITED, UPLOAD_AT_REST);
        }
    }

    /// The guest waits for the body, unless it is told that there is no more: then why.
    pub(super) fn awaits_upload(&self, cx: &Context<'_>) -> Result<(), &'static str> {
        // A look with a waker that does nothing is no wait. Such a waker has no data; its table of
        // functions may have several addresses, so it cannot be told by `will_wake`.
        if cx.waker().data().is_null() {
            return self.upload_goes_on();
        }
        // First the waker, so that who gives up on the body finds it.
        self.rest().reader = Some(cx.waker().clone());
        self.move_upload(UPLOAD_AT_REST, UPLOAD_AWAITED);
        self.upload_goes_on()
    }

    /// Whether the guest may read on; why not.
    pub(super) fn upload_goes_on(&self) -> Result<(), &'static str> {
        match self.shared.upload.load(Ordering::SeqCst) {
            UPLOAD_LATE => Err(LATE),
            _ => Ok(()),
        }
    }

    /// The guest got something of the body.
    pub(super) fn upload_came(&self) {
        self.move_upload(UPLOAD_AWAITED, UPLOAD_AT_REST);
    }

    /// The body ended before its end, because the client was too slow or for another reason. A client that
    /// was too slow before stays so.
    pub(super) fn upload_broke(&self, error: String, is_late: bool) {
        self.rest().upload_error = Some(error);
        let is_late = is_late || self.upload_goes_on().is_err();
        let ended = if is_late { UPLOAD_LATE } else { UPLOAD_BROKEN };
        self.shared.upload.store(ended, Ordering::SeqCst);
    }

    /// If the guest waits for the body, its reads fail from now on; returns whether it does.
    pub(super) fn give_up_on_upload(&self) -> bool {
        if !self.move_upload(UPLOAD_AWAITED, UPLOAD_LATE) {
            return false;
        }
        let reader = self.rest().reader.take();
        if let Some(reader) = reader {
            reader.wake();
        }
        true
    }

    fn move_upload(&self, from: u8, to: u8) -> bool {
        let upload = &self.shared.upload;
        upload.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests;
