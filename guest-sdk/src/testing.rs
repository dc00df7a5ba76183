//! A host for native tests: settings, log lines and time are kept in memory.
//!
//! Every test has a [`FakeHost`] of its own, and calls the handler through it or directly.

use crate::http_handler::error_response;
use crate::log::Level;
use crate::state::{RestoreError, Restored, Snapshot};
use crate::{
    Error, Event, EventHandler, HttpHandler, IntoResponse, Request, Response, Result, State,
    StatefulEventHandler, StatefulHttpHandler,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

thread_local! {
    /// What host calls on this thread see and leave behind.
    static WORLD: RefCell<World> = RefCell::default();
}

#[derive(Default)]
struct World {
    config: HashMap<String, String>,
    logs: Vec<LogLine>,
    slept: Duration,
}

/// A line that a handler logged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The module that wrote it.
    pub context: String,
    /// What it says.
    pub message: String,
}

/// The host as the handlers of one test see it.
///
/// It belongs to the thread that made it, one at a time, and what it was told ends with it.
#[derive(Debug)]
#[must_use = "the host ends when this is dropped"]
pub struct FakeHost {
    /// Another thread would not see this host, so it must not be sent there.
    _not_send: std::marker::PhantomData<*const ()>,
}

impl FakeHost {
    /// A host without settings.
    #[allow(clippy::new_without_default, reason = "making one changes what the thread sees")]
    pub fn new() -> Self {
        WORLD.take();
        Self { _not_send: std::marker::PhantomData }
    }

    /// Adds a setting.
    pub fn with_config(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        WORLD.with_borrow_mut(|world| world.config.insert(key.into(), value.into()));
        self
    }

    /// Sends a request to a handler and reads the whole response. As in a host, the handler sees of
    /// the request what its arguments [need](crate::FromRequest::NEEDS).
    ///
    /// An error that is the handler's own becomes a 500 without details, as in a host, and
    /// [`Answer::error`] has it.
    ///
    /// # Panics
    ///
    /// When the handler's response ends in an error, and when it waits for what can never come.
    pub fn call<H: HttpHandler<S>, S>(&self, handler: H, request: Request) -> Answer {
        block_on(answer(handler.call(H::NEEDS.keep(request))))
    }

    /// As [`call`](Self::call), for a handler with a state: what the call does to it is seen by the
    /// next.
    ///
    /// ```
    /// use wrt_guest::testing::FakeHost;
    /// use wrt_guest::{Body, Request};
    ///
    /// fn handle(count: &mut u64, by: String) -> String {
    ///     *count += by.len() as u64;
    ///     count.to_string()
    /// }
    ///
    /// let (host, mut count) = (FakeHost::new(), 7);
    /// assert_eq!(host.call_with(handle, &mut count, Request::new(Body::from("abc"))).text(), "10");
    /// assert_eq!(count, 10);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`call`](Self::call).
    pub fn call_with<H: StatefulHttpHandler<S, Shape>, S, Shape>(
        &self,
        handler: H,
        state: &mut S,
        request: Request,
    ) -> Answer {
        block_on(answer(handler.call(state, H::NEEDS.keep(request))))
    }

    /// Sends an event to a handler.
    ///
    /// # Errors
    ///
    /// The handler's.
    pub fn send<H: EventHandler<S>, S>(&self, handler: H, event: Event) -> Result<Option<Event>> {
        block_on(handler.call(event))
    }

    /// As [`send`](Self::send), for a handler with a state: what the call does to it is seen by the
    /// next.
    ///
    /// # Errors
    ///
    /// The handler's.
    pub fn send_with<H: StatefulEventHandler<S, Shape>, S, Shape>(
        &self,
        handler: H,
        state: &mut S,
        event: Event,
    ) -> Result<Option<Event>> {
        block_on(handler.call(state, event))
    }

    /// Saves a state, as the first half of a swap does.
    ///
    /// # Panics
    ///
    /// When the state has no JSON form.
    pub fn save<S: State>(&self, state: &S) -> Snapshot {
        crate::state::save(state).expect("the state must have a JSON form")
    }

    /// Makes a state of a type from a snapshot, as the second half of a swap does. The snapshot may
    /// be of another type: that of the component before.
    ///
    /// # Errors
    ///
    /// Those that would reject the swap.
    pub fn restore<S: State>(&self, snapshot: &Snapshot) -> Result<(S, Restored), RestoreError> {
        crate::state::restore(snapshot)
    }

    /// The lines logged so far.
    pub fn logs(&self) -> Vec<LogLine> {
        WORLD.with_borrow(|world| world.logs.clone())
    }

    /// How long the handlers have slept, which took no time.
    pub fn slept(&self) -> Duration {
        WORLD.with_borrow(|world| world.slept)
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        WORLD.take();
    }
}

/// Reads the whole response of a call.
async fn answer(call: impl Future<Output = Result<Response>>) -> Answer {
    let read = async {
        let (response, error) = match call.await.or_else(error_response) {
            Ok(response) => (response, None),
            Err(error) => (failure()?, Some(error)),
        };
        let (head, body) = response.into_parts();
        let body = body.bytes().await?;
        Ok::<_, Error>(Answer { status: head.status, headers: head.headers, body, error })
    };
    read.await.expect("the response must have a body that can be read to its end")
}

fn failure() -> Result<Response> {
    (StatusCode::INTERNAL_SERVER_ERROR, "the handler failed\n").into_response()
}

/// A response that has been read to its end.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The handler's own error, of which the client is told nothing.
    pub error: Option<Error>,
}

impl Answer {
    /// The body as text.
    ///
    /// # Panics
    ///
    /// When it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body must be text")
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// When it is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).expect("the body must be the expected JSON")
    }
}

/// Runs a future to its end on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}

pub(crate) fn config(key: &str) -> Option<String> {
    WORLD.with_borrow(|world| world.config.get(key).cloned())
}

pub(crate) fn log(level: Level, context: &str, message: String) {
    let line = LogLine { level, context: context.into(), message };
    WORLD.with_borrow_mut(|world| world.logs.push(line));
}

pub(crate) fn sleep(duration: Duration) {
    WORLD.with_borrow_mut(|world| world.slept += duration);
}
