//! HTTP calls of WASI 0.2: the caller runs the guest itself; what it does after its answer has begun
//! goes on in a task.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{Request, Response};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};

use super::call::{Call, Clock};
use super::{GRACE, handler_error};
use crate::contract::served::{Http02, Http02Exports};
use crate::error::CallFailure;
use crate::instance::aside::Movable;
use crate::instance::bounded::{Outlive, within};
use crate::instance::failure_in;
use crate::instance::keeper::Keeper;
use crate::snapshot::Keeps;

/// What the guest made of `response-outparam`.
type Answer = Result<Response, ErrorCode>;

/// How a guest's work for one call ended; with its answer, if it gave that back.
type End = Result<Option<Response>, CallFailure>;

/// What follows a guest's work whose caller has left.
type After = Box<dyn FnOnce(End) + Send>;

/// A guest's work for one call, to its end.
enum Run {
    /// Ends with its caller.
    Callers(Movable<End>),
    /// Goes on when its caller leaves.
    Outlives(Outlive<End, After>),
}

impl Future for Run {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        match self.get_mut() {
            Self::Callers(run) => Pin::new(run).poll(cx),
            Self::Outlives(run) => Pin::new(run).poll(cx),
        }
    }
}

/// The instances of one generation, each lent to one call at a time.
pub(crate) struct Direct {
    keeper: Arc<Keeper<Http02>>,
    timeout: Duration,
    /// Cancelled at the drain deadline.
    cut: CancellationToken,
}

impl Direct {
    /// `cut` is cancelled at the drain deadline.
    pub(crate) fn new(
        keeper: Arc<Keeper<Http02>>,
        timeout: Duration,
        cut: CancellationToken,
    ) -> Self {
        Self { keeper, timeout, cut }
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper<Http02>> {
        &self.keeper
    }

    /// See [`HttpInstances::call`](super::HttpInstances::call).
    pub(super) async fn call(
        &self,
        call: &Call,
        request: Request,
    ) -> Result<Response, CallFailure> {
        let (answer, answered) = oneshot::channel();
        // The memory of a singleton is not its client's, so its call outlives a client that leaves,
        // and goes on by itself from wherever that leaves it.
        let outlives_caller = self.keeper.keeps() != Keeps::Nothing;
        // Made in its box: it is large, and would be moved there otherwise.
        let run = Box::pin(run(Arc::clone(&self.keeper), request, call.clone(), answer));
        let run = Movable::new(run, self.keeper.computing().clone());
        let mut run = if outlives_caller {
            let (work, call) = (self.bounded(call, false, Run::Callers(run)), call.clone());
            Run::Outlives(Outlive::then(work, Box::new(move |end: End| call.end(end.map(drop)))))
        } else {
            Run::Callers(run)
        };
        let caller = LeaveOnDrop(outlives_caller.then_some(call));
        let mut answered = Some(answered);
        let mut begun = within(self.timeout, begin(&mut run, &mut answered)).await;
        if begun.is_none() && call.give_up_on_upload() {
            // The guest waited for its client. Now it has its own time to say something to that.
            call.progress();
            begun = within(self.timeout, begin(&mut run, &mut answered)).await;
        }
        caller.stays();
        match begun.ok_or(CallFailure::Deadline { timeout: self.timeout })? {
            Begun { answer: Some(answer), end } => {
                match end {
                    Some(end) => call.end(end),
                    None if outlives_caller => drop(run),
                    None => {
                        let (rest, end) = (self.bounded(call, true, run), EndOnDrop(call.clone()));
                        tokio::spawn(async move { end.with(rest.await.map(drop)) });
                    }
                }
                answer.map_err(|code| handler_error(code.into()))
            }
            Begun { answer: None, end: Some(Err(failure)) } => Err(failure),
            Begun { answer: None, .. } => Err(unanswered()),
        }
    }

    /// `run` until it ends, stands still for too long, or is cut; or is abandoned, if it may be.
    fn bounded(
        &self,
        call: &Call,
        may_be_abandoned: bool,
        run: Run,
    ) -> impl Future<Output = End> + Send + 'static {
        let (timeout, cut) = (self.timeout, self.cut.clone());
        let clock = Arc::new(Clock::start(may_be_abandoned));
        call.taken_by(&clock);
        let call = call.clone();
        async move {
            let stands_still = async {
                loop {
                    clock.expired(timeout.saturating_add(GRACE)).await;
                    if !call.client_is_late() {
                        return;
                    }
                    // A client that takes nothing is ended by whoever sends to it.
                    clock.touch();
                }
            };
            // Cancel-safe: whichever loses is dropped, and with it the store that it may own.
            tokio::select! {
                ended = run => ended,
                () = stands_still => Err(CallFailure::Deadline { timeout }),
                () = poll_fn(|cx| clock.poll_abandoned(cx)) => Ok(None),
                () = cut.cancelled() => Err(CallFailure::Cut),
            }
        }
    }
}

/// Ends its call as one that failed when it is dropped before [`with`](Self::with): a panic of the host's
/// ends the task, and the store with it.
struct EndOnDrop(Call);

impl EndOnDrop {
    fn with(self, ended: Result<(), CallFailure>) {
        self.0.end(ended);
    }
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if !self.0.has_ended() {
            let reason = "the host gave up the task that ran it".to_owned();
            self.0.end(Err(CallFailure::Guest { reason }));
        }
    }
}

/// Says that the caller has left when it is dropped before [`stays`](Self::stays).
struct LeaveOnDrop<'a>(Option<&'a Call>);

impl LeaveOnDrop<'_> {
    fn stays(mut self) {
        self.0 = None;
    }
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(call) = self.0 {
            call.leave();
        }
    }
}

/// Runs the guest for `request`. An instance whose call went well is given back.
async fn run(
    keeper: Arc<Keeper<Http02>>,
    request: Request,
    call: Call,
    answer: oneshot::Sender<Answer>,
) -> End {
    let (mut live, lent) = keeper.take(Instant::now()).await?;
    let called = async {
        let mut http = live.store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request)?;
        let sets = call.clone();
        let answer = http.new_response_outparam_from_callback(move |value| {
            sets.answers();
            // Without a receiver the caller has left.
            let _ = answer.send(value);
        })?;
        match &live.exports {
            Http02Exports::Whole(handle) => {
                let (whole,) = handle.call_async(&mut live.store, (request, answer)).await?;
                Ok(whole)
            }
            Http02Exports::Proxy(guest) => {
                let handler = guest.wasi_http_incoming_handler();
                handler.call_handle(&mut live.store, request, answer).await?;
                Ok(None)
            }
        }
    };
    // Dropped at its end, since it borrows the instance.
    let whole = {
        let mut called = pin!(called);
        poll_fn(|cx| {
            call.guest_runs();
            called.as_mut().poll(cx)
        })
        .await
    };
    let whole = whole.map_err(|error| failure_in(live.store.data(), error))?;
    if whole.is_none() && !call.has_answered() {
        // Whatever made it forget its answer may be with the instance for good, so that goes.
        return Err(unanswered());
    }
    call.returned();
    let hooks = live.store.data_mut().http().hooks;
    let response = whole.map(|whole| whole.into_response(|name| hooks.is_forbidden_header(name)));
    // An answer that cannot be sent is no reason to end the instance, whose memory may be of worth.
    lent.give_back(live);
    response.transpose().map_err(|reason| CallFailure::Guest { reason })
}

fn unanswered() -> CallFailure {
    CallFailure::Guest { reason: "it returned without having set a response".to_owned() }
}

/// How far a guest came: it has answered, ended, or both.
struct Begun {
    answer: Option<Answer>,
    end: Option<Result<(), CallFailure>>,
}

/// Runs the guest until its answer is there, or cannot come any more; then `answered` is none.
async fn begin(run: &mut Run, answered: &mut Option<oneshot::Receiver<Answer>>) -> Begun {
    poll_fn(|cx| {
        // The guest first, as it makes the answer.
        let end = match Pin::new(&mut *run).poll(cx) {
            Poll::Ready(Ok(Some(whole))) => {
                return Poll::Ready(Begun { answer: Some(Ok(whole)), end: Some(Ok(())) });
            }
            Poll::Ready(end) => Some(end.map(drop)),
            Poll::Pending => None,
        };
        if let Some(receiver) = answered {
            match Pin::new(receiver).poll(cx) {
                Poll::Ready(answer) => {
                    *answered = None;
                    if let Ok(answer) = answer {
                        return Poll::Ready(Begun { answer: Some(answer), end });
                    }
                }
                Poll::Pending => {}
            }
        }
        if end.is_some() { Poll::Ready(Begun { answer: None, end }) } else { Poll::Pending }
    })
    .await
}
