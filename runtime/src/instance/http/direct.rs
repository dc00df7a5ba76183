//! HTTP calls of WASI 0.2: the caller runs the guest itself; what it does after its answer has begun
//! goes on in a task.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::handler::{Proxy, Request, Response};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};

use super::GRACE;
use super::call::{Call, Clock};
use crate::contract::served::{Http, HttpExports};
use crate::error::CallFailure;
use crate::events::cut;
use crate::instance::aside::Movable;
use crate::instance::bounded::{Outlive, within};
use crate::instance::failure;
use crate::instance::keeper::Keeper;
use crate::snapshot::Keeps;

/// What the guest made of `response-outparam`.
type Answer = Result<Response, ErrorCode>;

/// How a guest's work for one call ended; with its answer, if it gave that back.
type End = Result<Option<Response>, CallFailure>;

/// A guest's work for one call, to its end.
enum Run {
    /// Ends with its caller.
    Callers(Movable<End>),
    /// Goes on when its caller leaves.
    Outlives(Outlive<End>),
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
pub(super) struct Direct {
    pub(super) keeper: Arc<Keeper<Http>>,
    pub(super) timeout: Duration,
    /// Cancelled at the drain deadline.
    pub(super) cut: CancellationToken,
}

impl Direct {
    /// See [`HttpInstances::call`](super::HttpInstances::call).
    pub(super) async fn call(
        &self,
        call: &Call,
        request: Request,
    ) -> Result<Response, CallFailure> {
        let (answer, answered) = oneshot::channel();
        let run = run(Arc::clone(&self.keeper), request, answer, self.timeout);
        // The memory of a singleton is not its client's, so its call outlives a client that leaves,
        // and goes on by itself from wherever that leaves it.
        let outlives_caller = self.keeper.keeps() != Keeps::Nothing;
        let run = Movable::new(Box::pin(run), self.keeper.computing());
        let mut run = if outlives_caller {
            Run::Outlives(Outlive::new(self.bounded(call, false, Run::Callers(run))))
        } else {
            Run::Callers(run)
        };
        let begun = within(self.timeout, begin(&mut run, answered)).await;
        match begun.ok_or(CallFailure::Deadline { timeout: self.timeout })? {
            Begun { answer: Some(answer), end } => {
                match end {
                    Some(Ok(())) => call.end(),
                    Some(Err(failure)) => ended_early(&failure),
                    None if outlives_caller => drop(run),
                    None => {
                        let rest = self.bounded(call, true, run);
                        tokio::spawn(async {
                            if let Err(failure) = rest.await {
                                ended_early(&failure);
                            }
                        });
                    }
                }
                answer.map_err(|code| CallFailure::Guest { reason: cut(code.to_string()) })
            }
            Begun { answer: None, end: Some(Err(failure)) } => Err(failure),
            Begun { answer: None, .. } => {
                let reason = "guest never invoked `response-outparam::set` method".to_owned();
                Err(CallFailure::Guest { reason })
            }
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
        async move {
            // Cancel-safe: whichever loses is dropped, and with it the store that it may own.
            tokio::select! {
                ended = run => ended,
                () = clock.expired(timeout.saturating_add(GRACE)) => {
                    Err(CallFailure::Deadline { timeout })
                }
                () = poll_fn(|cx| clock.poll_abandoned(cx)) => Ok(None),
                () = cut.cancelled() => Err(CallFailure::Cut),
            }
        }
    }
}

/// Runs the guest for `request`. An instance whose call went well is given back.
async fn run(
    keeper: Arc<Keeper<Http>>,
    request: Request,
    answer: oneshot::Sender<Answer>,
    timeout: Duration,
) -> End {
    let (mut live, lent) = keeper.take(Instant::now()).await?;
    let called = async {
        let mut http = live.store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request)?;
        let answer = http.new_response_outparam(answer)?;
        match &live.exports {
            HttpExports::Whole(handle) => {
                let (whole,) = handle.call_async(&mut live.store, (request, answer)).await?;
                Ok(whole)
            }
            HttpExports::Proxy(Proxy::P2(guest)) => {
                let handler = guest.wasi_http_incoming_handler();
                handler.call_handle(&mut live.store, request, answer).await?;
                Ok(None)
            }
            HttpExports::Proxy(Proxy::P3(_)) => wasmtime::bail!("it is a handler of WASI 0.3"),
        }
    };
    let whole = called.await.map_err(|error| failure(error, timeout))?;
    let hooks = live.store.data_mut().http().hooks;
    let response = whole.map(|whole| whole.into_response(|name| hooks.is_forbidden_header(name)));
    let response = response.transpose().map_err(|reason| CallFailure::Guest { reason })?;
    lent.give_back(live);
    Ok(response)
}

/// How far a guest came: it has answered, ended, or both.
struct Begun {
    answer: Option<Answer>,
    end: Option<Result<(), CallFailure>>,
}

/// Runs the guest until its answer is there, or cannot come any more.
async fn begin(run: &mut Run, mut answered: oneshot::Receiver<Answer>) -> Begun {
    let mut is_awaited = true;
    poll_fn(|cx| {
        // The guest first, as it makes the answer.
        let end = match Pin::new(&mut *run).poll(cx) {
            Poll::Ready(Ok(Some(whole))) => {
                return Poll::Ready(Begun { answer: Some(Ok(whole)), end: Some(Ok(())) });
            }
            Poll::Ready(end) => Some(end.map(drop)),
            Poll::Pending => None,
        };
        if is_awaited {
            match Pin::new(&mut answered).poll(cx) {
                Poll::Ready(Ok(answer)) => {
                    return Poll::Ready(Begun { answer: Some(answer), end });
                }
                Poll::Ready(Err(_)) => is_awaited = false,
                Poll::Pending => {}
            }
        }
        if end.is_some() { Poll::Ready(Begun { answer: None, end }) } else { Poll::Pending }
    })
    .await
}

fn ended_early(failure: &CallFailure) {
    tracing::debug!("a guest ended after its answer had begun: {}", crate::error::chain(failure));
}
