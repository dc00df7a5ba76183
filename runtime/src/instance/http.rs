//! HTTP instances of one generation, on wasmtime's `ProxyHandler`: one worker task for each store.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{
    HandlerState, Instance, ProxyHandler, ProxyPre, Request, Response, ShouldAccept,
    WorkerExpiration, WorkerState, WorkerStatus,
};

use super::{StoreFactory, failure};
use crate::config::InstanceMode;
use crate::engine::TICK;
use crate::error::CallFailure;
use crate::generation::Retirement;
use crate::host::HostState;

/// Calls that one WASI 0.3 instance serves at once when it is pooled; a trap fails all of them, so
/// it stays low. wasmtime's own choice.
const CONCURRENT_03: usize = 16;

/// Time that a worker lives longer than its call's timeout, so that the call ends with its own
/// message first. Only a guest that neither answers nor yields lives that long.
const GRACE: Duration = Duration::from_millis(50).saturating_add(TICK);

/// The HTTP instances of one generation.
pub(crate) struct HttpInstances {
    proxy: ProxyHandler<Workers>,
    timeout: Duration,
}

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

    /// A worker takes the call.
    fn taken_by(&self, clock: &Arc<Clock>) {
        clock.serve(&self.shared);
        // Set once: a call is given to one worker only.
        let _ = self.shared.clock.set(Arc::clone(clock));
        // Ordering: see `abandon`.
        fence(Ordering::SeqCst);
        if self.shared.abandoned.load(Ordering::Relaxed) {
            clock.abandon(&self.shared);
        }
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
struct Clock {
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
    fn start(exclusive: bool) -> Self {
        Self {
            exclusive,
            latest: Mutex::default(),
            started: Instant::now(),
            touched: AtomicU64::new(0),
            ended: CancellationToken::new(),
            error: Mutex::new(None),
        }
    }

    fn touch(&self) {
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

    fn poll_abandoned(&self, cx: &Context<'_>) -> Poll<()> {
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

    fn end(&self, error: Option<wasmtime::Error>) {
        // The value is replaced whole, so a panic elsewhere leaves it sound.
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.ended.cancel();
    }

    /// What ended the worker early, as soon as it has ended; `None` when it goes on.
    async fn error(&self) -> Option<wasmtime::Error> {
        tokio::time::timeout(GRACE, self.ended.cancelled()).await.ok()?;
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn last(&self) -> Instant {
        self.started + Duration::from_millis(self.touched.load(Ordering::Relaxed))
    }
}

impl HttpInstances {
    pub(crate) fn new(
        pre: ProxyPre<HostState>,
        factory: StoreFactory<()>,
        mode: InstanceMode,
        timeout: Duration,
        retirement: Retirement,
    ) -> Self {
        let concurrent = match (&pre, mode) {
            (ProxyPre::P3(_), InstanceMode::Pooled { .. }) => CONCURRENT_03,
            _ => 1,
        };
        let state = Workers { pre, factory, mode, concurrent, timeout, retirement };
        Self { proxy: ProxyHandler::new(state), timeout }
    }

    /// Proves that the component can be instantiated.
    ///
    /// # Errors
    ///
    /// What the instantiation ended with, within the handler's timeout.
    pub(crate) async fn try_out(&self) -> Result<(), CallFailure> {
        let timeout = self.timeout;
        let made = async {
            let workers = self.proxy.state();
            let mut store = workers.factory.store();
            workers.pre.instantiate_async(&mut store).await.map(drop)
        };
        match tokio::time::timeout(timeout, made).await {
            Ok(result) => result.map_err(|error| match failure(error, timeout) {
                CallFailure::Guest { reason } => {
                    CallFailure::Instantiate { source: wasmtime::Error::msg(reason) }
                }
                other => other,
            }),
            Err(_) => Err(CallFailure::Deadline { timeout }),
        }
    }

    /// Sends one request through an instance; ready with the head of the response.
    ///
    /// # Errors
    ///
    /// [`CallFailure`]; the instance is then gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the guest, unless its instance serves other calls too.
    pub(crate) async fn call(&self, call: Call, request: Request) -> Result<Response, CallFailure> {
        let timeout = self.timeout;
        let unanswered = AbandonOnDrop(Some(&call));
        let answer = tokio::time::timeout(timeout, self.proxy.handle(call.clone(), request)).await;
        unanswered.disarm();
        match answer {
            Ok(Ok(response)) => {
                call.progress();
                Ok(response)
            }
            Ok(Err(error)) => Err(match failure(error, timeout) {
                // A trap reaches the worker alone; the call hears only that its answer is lost.
                lost @ (CallFailure::Guest { .. } | CallFailure::Trap { .. }) => {
                    let error = match call.shared.clock.get() {
                        Some(clock) => clock.error().await,
                        None => None,
                    };
                    error.map_or(lost, |error| failure(error, timeout))
                }
                other => other,
            }),
            Err(_) => {
                call.abandon();
                Err(CallFailure::Deadline { timeout })
            }
        }
    }
}

/// Abandons its call unless that was answered first.
struct AbandonOnDrop<'a>(Option<&'a Call>);

impl AbandonOnDrop<'_> {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.0 {
            call.abandon();
        }
    }
}

/// Makes the workers of one generation.
struct Workers {
    pre: ProxyPre<HostState>,
    factory: StoreFactory<()>,
    mode: InstanceMode,
    concurrent: usize,
    timeout: Duration,
    retirement: Retirement,
}

impl HandlerState for Workers {
    type StoreData = HostState;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<HostState, Expiration, Worker>> {
        let mut store = self.factory.store();
        let proxy = self.pre.instantiate_async(&mut store).await?;
        let clock = Arc::new(Clock::start(self.concurrent == 1));
        let (max_calls, max_idle) = match self.mode {
            InstanceMode::Fresh => (1, Duration::ZERO),
            InstanceMode::Pooled { max_calls, max_idle } => (max_calls, max_idle),
        };
        Ok(Instance {
            store,
            proxy,
            view: WasiHttpView::http,
            expiration: Expiration {
                max_idle,
                timeout: self.timeout.saturating_add(GRACE),
                clock: Arc::clone(&clock),
                sleep: None,
                // Only an instance that waits for further calls has to be told of retirement.
                retiring: (max_calls > 1)
                    .then(|| Box::pin(self.retirement.retiring.clone().cancelled_owned())),
                cut: Box::pin(self.retirement.cut.clone().cancelled_owned()),
            },
            state: Worker {
                max_calls,
                concurrent: self.concurrent,
                timeout: self.timeout,
                retirement: self.retirement.clone(),
                clock,
            },
        })
    }
}

/// What one worker accepts.
struct Worker {
    max_calls: usize,
    concurrent: usize,
    timeout: Duration,
    retirement: Retirement,
    clock: Arc<Clock>,
}

impl WorkerState for Worker {
    type StoreData = HostState;
    type RequestData = Call;

    fn should_accept_request(&self, concurrent: usize, total: usize) -> ShouldAccept {
        // A retired generation still serves the calls that entered it before it was closed, so a
        // worker without a call accepts one.
        let retiring = total > 0 && self.retirement.retiring.is_cancelled();
        if total >= self.max_calls || retiring {
            ShouldAccept::Never
        } else if concurrent >= self.concurrent {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, HostState>,
        call: Call,
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        self.clock.touch();
        call.taken_by(&self.clock);
        let (timeout, clock) = (self.timeout, Arc::clone(&self.clock));
        Box::pin(async move {
            // The head of a response is timed by the caller; this one ends a response whose body
            // stands still, whoever is at fault.
            loop {
                let deadline = clock.last() + timeout + GRACE;
                tokio::time::sleep_until(deadline.into()).await;
                if clock.last() + timeout + GRACE <= Instant::now() {
                    return;
                }
            }
        })
    }

    fn drop(&self, store: Store<HostState>, result: wasmtime::Result<()>) {
        drop(store);
        if let Err(error) = &result {
            tracing::debug!("a worker ended early: {error:#}");
        }
        self.clock.end(result.err());
    }
}

/// When a worker's store must go, seen from outside of its event loop.
struct Expiration {
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
        if self.cut.as_mut().poll(cx).is_ready() || self.clock.poll_abandoned(cx).is_ready() {
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
        sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;
