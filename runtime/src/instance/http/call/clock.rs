//! A worker's clock: when its calls last moved, and what ended it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::SharedCall;
use crate::error::CallFailure;
use crate::instance::http::GRACE;

/// When a worker's calls last made progress.
pub(crate) struct Clock {
    started: Instant,
    /// Milliseconds after `started`.
    touched: AtomicU64,
    /// Whether the worker serves one call at a time, and so may end with it.
    exclusive: bool,
    latest: Mutex<Latest>,
    /// Cancelled when the worker's store is gone.
    ended: CancellationToken,
    /// Why the worker was ended from outside.
    expired: OnceLock<Expired>,
    /// What ended the worker early, for the calls that it served.
    failure: Mutex<Failure>,
}

/// Why a worker was ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    Cut,
    Abandoned,
    Deadline,
}

/// What ended a worker early.
enum Failure {
    None,
    /// Nobody was told yet.
    Untold(CallFailure),
    /// One of its calls was told the failure itself; the others are told this.
    Told(String),
}

/// The call that a worker took last.
#[derive(Default)]
struct Latest {
    call: Weak<SharedCall>,
    is_abandoned: bool,
    /// The worker's, to be woken when the call is abandoned.
    waker: Option<Waker>,
}

impl Clock {
    pub(crate) fn start(exclusive: bool) -> Self {
        Self {
            exclusive,
            latest: Mutex::default(),
            started: Instant::now(),
            touched: AtomicU64::new(0),
            ended: CancellationToken::new(),
            expired: OnceLock::new(),
            failure: Mutex::new(Failure::None),
        }
    }

    pub(crate) fn touch(&self) {
        // 2^64 ms do not pass. Ordering: a lone value; a late view costs a grace period's
        // precision at most.
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.touched.store(elapsed, Ordering::Relaxed);
    }

    pub(super) fn serve(&self, call: &Arc<SharedCall>) {
        let mut latest = self.latest();
        latest.call = Arc::downgrade(call);
        // The call before has ended by itself, so whoever abandoned it wants nothing any more.
        latest.is_abandoned = false;
    }

    /// Ends the worker if it serves `call` and no other: it may have gone on to the next one while
    /// the last bytes of an answer were still on their way.
    pub(super) fn abandon(&self, call: &Arc<SharedCall>) {
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

    pub(crate) fn poll_abandoned(&self, cx: &Context<'_>) -> Poll<()> {
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

    /// The worker is ended from outside.
    pub(crate) fn expires(&self, why: Expired) {
        // The first reason is the one that counts.
        let _ = self.expired.set(why);
    }

    /// Why the worker was ended from outside, if it was.
    pub(crate) fn expired_by(&self) -> Option<Expired> {
        self.expired.get().copied()
    }

    /// The worker ends early. To be said before its store is dropped, so that a body that ends with
    /// the store is known to be no whole one.
    pub(crate) fn breaks(&self, failure: CallFailure) {
        *self.failure_slot() = Failure::Untold(failure);
    }

    /// The worker's store is gone.
    pub(crate) fn end(&self) {
        self.ended.cancel();
    }

    /// What ended the worker early, as soon as it has ended; `None` when it goes on.
    pub(crate) async fn failure(&self) -> Option<CallFailure> {
        tokio::time::timeout(GRACE, self.ended.cancelled()).await.ok()?;
        self.broken_by()
    }

    /// What ended the worker early, if it did by now.
    pub(crate) fn broken_by(&self) -> Option<CallFailure> {
        let mut slot = self.failure_slot();
        match std::mem::replace(&mut *slot, Failure::None) {
            Failure::None => None,
            Failure::Untold(failure) => {
                *slot = Failure::Told(crate::error::chain(&failure));
                Some(failure)
            }
            Failure::Told(text) => {
                let reason = format!("another call ended the instance that both had: {text}");
                *slot = Failure::Told(text);
                Some(CallFailure::Guest { reason })
            }
        }
    }

    fn failure_slot(&self) -> MutexGuard<'_, Failure> {
        // The value is replaced whole, so a panic elsewhere leaves it sound.
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when nothing has moved for `patience`.
    pub(crate) async fn expired(&self, patience: Duration) {
        loop {
            let deadline = self.last() + patience;
            tokio::time::sleep_until(deadline.into()).await;
            if self.last() + patience <= Instant::now() {
                return;
            }
        }
    }

    pub(crate) fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.touched.load(Ordering::Relaxed))
    }
}
