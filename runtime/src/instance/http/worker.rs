//! One worker of wasmtime's `ProxyHandler`: what makes its store, which calls it accepts, and when the
//! store must go.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime::component::{GuestTaskId, Instance as Handle};
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};

use super::GRACE;
use super::call::{Call, Clock, Expired};
use crate::config::InstanceMode;
use crate::contract::served::Http03;
use crate::error::CallFailure;
use crate::generation::Retirement;
use crate::host::HostState;
use crate::instance::failure_in;
use crate::instance::keeper::{Keeper, Lent, has_grown};
use crate::instance::live::Age;

/// Makes the workers of one generation.
pub(super) struct WorkerMaker {
    pub(super) keeper: Arc<Keeper<Http03>>,
    pub(super) mode: InstanceMode,
    pub(super) concurrent: usize,
    pub(super) timeout: Duration,
    pub(super) retirement: Retirement,
}

impl HandlerState for WorkerMaker {
    type StoreData = HostState;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<HostState, Expiration, Worker>> {
        let lent = self.keeper.take(Instant::now().into()).await;
        let (live, lent) = lent.map_err(wasmtime::Error::new)?;
        // The memory of a singleton is not its client's, so it outlives a client that leaves. It
        // comes back after each call: whoever has it may save its state.
        let is_single = self.mode == InstanceMode::Singleton;
        let clock = Arc::new(Clock::start(self.concurrent == 1 && !is_single));
        let span = self.mode.span(live.age.number);
        let max_idle = match self.mode {
            InstanceMode::Fresh | InstanceMode::Singleton => Duration::ZERO,
            InstanceMode::Pooled { max_idle, .. } => max_idle,
        };
        Ok(Instance {
            expiration: Expiration {
                max_idle,
                timeout: self.timeout.saturating_add(GRACE),
                clock: Arc::clone(&clock),
                sleep: None,
                // Only an instance that waits for further calls has to be told of retirement.
                retiring: span
                    .is_some()
                    .then(|| Box::pin(self.retirement.retiring.clone().cancelled_owned())),
                cut: Box::pin(self.retirement.cut.clone().cancelled_owned()),
            },
            state: Worker {
                max_calls: span.map_or(1, |span| span.calls),
                // A store that makes one call does not live long enough to be too old.
                max_age: span.map_or(Duration::MAX, |span| span.age),
                born: Instant::now(),
                has_grown: AtomicBool::new(false),
                concurrent: self.concurrent,
                timeout: self.timeout,
                retirement: self.retirement.clone(),
                clock,
                is_single,
                lent: Mutex::new(Some((lent, live.instance, live.age))),
                latest: Mutex::new(None),
            },
            store: live.store,
            proxy: Proxy::P3(live.exports),
            view: WasiHttpView::http,
        })
    }
}

/// What one worker accepts.
pub(super) struct Worker {
    max_calls: usize,
    max_age: Duration,
    born: Instant,
    /// Whether its memory has grown so much that it is to be replaced.
    has_grown: AtomicBool,
    concurrent: usize,
    timeout: Duration,
    retirement: Retirement,
    clock: Arc<Clock>,
    is_single: bool,
    /// The right to the instance, and the instance, until the worker ends.
    lent: Mutex<Option<(Lent<Http03>, Handle, Age)>>,
    /// The call that was taken last, which is told of the worker's end.
    latest: Mutex<Option<Call>>,
}

impl Worker {
    /// What ended the worker early, if that is a failure.
    fn failure(
        &self,
        state: &HostState,
        error: wasmtime::Error,
        latest: Option<&Call>,
    ) -> Option<CallFailure> {
        let timeout = self.timeout;
        match self.clock.expired_by() {
            None => Some(failure_in(state, error)),
            Some(Expired::Deadline) if latest.is_some_and(Call::client_is_late) => {
                let reason = "nothing moved for it".to_owned();
                Some(CallFailure::Client { late: true, reason })
            }
            Some(Expired::Deadline) => Some(CallFailure::Deadline { timeout }),
            Some(Expired::Cut) => Some(CallFailure::Cut),
            // Nobody wanted the rest.
            Some(Expired::Abandoned) => None,
        }
    }
}

impl WorkerState for Worker {
    type StoreData = HostState;
    type RequestData = Call;

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        // A retired generation still serves the calls that entered it before it was closed, so a
        // worker without a call accepts one.
        let is_spent = || {
            self.retirement.retiring.is_cancelled()
                || self.born.elapsed() >= self.max_age
                // Ordering: a mark of this worker's own.
                || self.has_grown.load(Ordering::Relaxed)
        };
        if total >= self.max_calls || (total > 0 && is_spent()) {
            ShouldAccept::Never
        } else if concurrent >= self.concurrent {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        store: StoreContextMut<'_, HostState>,
        call: Call,
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        self.has_grown.store(has_grown(store.data()), Ordering::Relaxed);
        self.clock.touch();
        call.taken_by(&self.clock);
        // The value is replaced whole, so a panic elsewhere leaves it sound.
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
        let (timeout, clock) = (self.timeout, Arc::clone(&self.clock));
        // The head of a response is timed by the caller; this one ends a response whose body stands
        // still, whoever is at fault.
        Box::pin(async move { clock.expired(timeout.saturating_add(GRACE)).await })
    }

    fn drop(&self, store: Store<HostState>, result: wasmtime::Result<()>) {
        // The values are taken whole, so a panic elsewhere leaves them sound.
        let lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner).take();
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_well = result.is_ok();
        if let Err(error) = &result {
            tracing::debug!("a worker ended early: {error:#}");
        }
        // Before the store goes: its bodies end with it, and must not look whole.
        let failed =
            result.err().and_then(|error| self.failure(store.data(), error, latest.as_ref()));
        let failed = failed.map(|failure| {
            let again = failure.again();
            self.clock.breaks(failure);
            again
        });
        match lent {
            Some((lent, instance, age)) if is_well && self.is_single => {
                lent.give_back_parts(store, instance, age);
            }
            Some((lent, instance, age)) if is_well && self.max_calls > 1 => {
                lent.retire_parts(store, instance, age);
            }
            lent => {
                drop(store);
                drop(lent);
            }
        }
        self.clock.end();
        if let (Some(latest), Some(failure)) = (latest, failed) {
            latest.end(Err(failure));
        }
    }
}

/// When a worker's store must go, seen from outside of its event loop.
pub(super) struct Expiration {
    max_idle: Duration,
    timeout: Duration,
    clock: Arc<Clock>,
    sleep: Option<Pin<Box<Sleep>>>,
    retiring: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        // Polled even when idle: this registers the waker that ends the idle workers of a retired
        // generation, which nobody asks anything again.
        if self.cut.as_mut().poll(cx).is_ready() {
            self.clock.expires(Expired::Cut);
            return Poll::Ready(());
        }
        if self.clock.poll_abandoned(cx).is_ready() {
            self.clock.expires(Expired::Abandoned);
            return Poll::Ready(());
        }
        let deadline = match status {
            WorkerStatus::Idle => {
                let retiring = self.retiring.as_mut().map(|retiring| retiring.as_mut().poll(cx));
                if matches!(retiring, Some(Poll::Ready(()))) {
                    return Poll::Ready(());
                }
                start + self.max_idle
            }
            WorkerStatus::Requests | WorkerStatus::PostReturn => {
                start.max(self.clock.last()) + self.timeout
            }
        };
        let deadline = tokio::time::Instant::from_std(deadline);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        let expired = sleep.as_mut().poll(cx);
        if expired.is_ready() {
            self.clock.expires(Expired::Deadline);
        }
        expired
    }
}
