//! A host for native tests: settings, log lines and time are kept in memory.
//!
//! Every test has a [`FakeHost`] of its own, and calls the handler through it or directly.

use crate::http_handler::error_response;
use crate::log::Level;
use crate::{Error, Event, EventHandler, HttpHandler, IntoResponse, Request, Response, Result};
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

    /// Sends a request to a handler and reads the whole response.
    ///
    /// An error that is the handler's own becomes a 500 without details, as in a host, and
    /// [`Answer::error`] has it.
    ///
    /// # Panics
    ///
    /// When the handler's response ends in an error, and when it waits for what can never come.
    pub fn call<H: HttpHandler<S>, S>(&self, handler: H, request: Request) -> Answer {
        block_on(async {
            let result = handler.call(request).await.or_else(error_response);
            let (response, error) = match result {
                Ok(response) => (response, None),
                Err(error) => (failure()?, Some(error)),
            };
            let (head, body) = response.into_parts();
            let body = body.bytes().await?;
            Ok::<_, Error>(Answer { status: head.status, headers: head.headers, body, error })
        })
        .expect("the response must have a body that can be read to its end")
    }

    /// Sends an event to a handler.
    ///
    /// # Errors
    ///
    /// The handler's.
    pub fn send<H: EventHandler<S>, S>(&self, handler: H, event: Event) -> Result<Option<Event>> {
        block_on(handler.call(event))
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
