//! One HTTP call as its worker and its response body share it, and the worker's clock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::GRACE;

/// One call, as its worker and its response body share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    shared: Arc<SharedCall>,
}

#[derive(Debug, Default)]
struct SharedCall {
    /// Set when a worker takes the call.
    clock: OnceLock<Arc<Clock>>,
    /// Set when nobody waits for the answer any more.
    abandoned: AtomicBool,
    /// Set when the guest has done everything that it had to do for the call.
    ended: AtomicBool,
}

impl Call {
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

    /// The guest has ended well, so all of its answer is there.
    pub(super) fn end(&self) {
        // Ordering: told to whoever gets the answer, by the task that made it.
        self.shared.ended.store(true, Ordering::Relaxed);
    }

    /// Whether all of the answer is there, so that nothing of its body has to be waited for.
    pub(crate) fn has_ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
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

    /// What ended its worker early; see [`Clock::error`].
    pub(super) async fn worker_error(&self) -> Option<wasmtime::Error> {
        self.shared.clock.get()?.error().await
    }

    /// The response made progress: its worker gets the whole timeout again.
    pub(crate) fn progress(&self) {
        if let Some(clock) = self.shared.clock.get() {
            clock.touch();
        }
    }
}

/// When a worker's calls last made progress.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// Milliseconds after `started`.
    touched: AtomicU64,
    /// Whether the worker serves one call at a time, and so may end with it.
    exclusive: bool,
    latest: Mutex<Latest>,
    /// Cancelled when the worker's store is gone.
    ended: CancellationToken,
    /// What ended the worker early, for the call that it served.
    error: Mutex<Option<wasmtime::Error>>,
}

/// The call that a worker took last.
#[derive(Debug, Default)]
struct Latest {
    call: Weak<SharedCall>,
    is_abandoned: bool,
    /// The worker's, to be woken when the call is abandoned.
    waker: Option<Waker>,
}

impl Clock {
    pub(super) fn start(exclusive: bool) -> Self {
        Self {
            exclusive,
            latest: Mutex::default(),
            started: Instant::now(),
            touched: AtomicU64::new(0),
            ended: CancellationToken::new(),
            error: Mutex::new(None),
        }
    }

    pub(super) fn touch(&self) {
        // 2^64 ms do not pass. Ordering: a lone value; a late view costs a grace period's
        // precision at most.
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.touched.store(elapsed, Ordering::Relaxed);
    }

    fn serve(&self, call: &Arc<SharedCall>) {
        let mut latest = self.latest();
        latest.call = Arc::downgrade(call);
        // The call before has ended by itself, so whoever abandoned it wants nothing any more.
        latest.is_abandoned = false;
    }

    /// Ends the worker if it serves `call` and no other: it may have gone on to the next one while
    /// the last bytes of an answer were still on their way.
    fn abandon(&self, call: &Arc<SharedCall>) {
        let mut latest = self.latest();
        if !self.exclusive || latest.call.as_ptr() != Arc::as_ptr(call) {
            return;
        }
        latest.is_abandoned = true;
        let waker = latest.waker.take();
        drop(latest);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn poll_abandoned(&self, cx: &Context<'_>) -> Poll<()> {
        let mut latest = self.latest();
        if latest.is_abandoned {
            return Poll::Ready(());
        }
        latest.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        // Each field is replaced whole, so a panic elsewhere leaves it sound.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&self, error: Option<wasmtime::Error>) {
        // The value is replaced whole, so a panic elsewhere leaves it sound.
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.ended.cancel();
    }

    /// What ended the worker early, as soon as it has ended; `None` when it goes on.
    pub(super) async fn error(&self) -> Option<wasmtime::Error> {
        tokio::time::timeout(GRACE, self.ended.cancelled()).await.ok()?;
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ready when nothing has moved for `patience`.
    pub(super) async fn expired(&self, patience: Duration) {
        loop {
            let deadline = self.last() + patience;
            tokio::time::sleep_until(deadline.into()).await;
            if self.last() + patience <= Instant::now() {
                return;
            }
        }
    }

    pub(super) fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.touched.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests;
