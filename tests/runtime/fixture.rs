//! A runtime that serves on a socket of its own, and what tests wait for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wrt::events::RecvError;
use wrt::{
    EventKind, EventReceiver, HandlerConfig, HandlerHandle, HandlerName, Route, Runtime,
    RuntimeConfig, Source, Swap,
};
use wrt_test_support::guests::{self, Profile};

use crate::client::{Answer, Client};

/// How long anything is waited for. It only bounds a test that has failed already.
const WAIT_LIMIT: Duration = Duration::from_secs(60);

/// Pause between two looks at a value that cannot wake who waits for it.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A runtime and the socket it serves. Dropping it ends both at once.
pub(crate) struct Fixture {
    pub(crate) runtime: Runtime,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<usize>,
}

impl Fixture {
    /// A runtime that names the generation in each answer.
    pub(crate) async fn start() -> Self {
        let mut config = RuntimeConfig::default();
        config.expose_generation = true;
        Self::with(config).await
    }

    pub(crate) async fn with(config: RuntimeConfig) -> Self {
        let runtime = Runtime::new(config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn({
            let runtime = runtime.clone();
            async move {
                let stopped = async { stopped.await.unwrap_or_default() };
                runtime.serve(listener, stopped).await
            }
        });
        Self { runtime, address, stop, serving }
    }

    /// A runtime with one handler `h` on route `/` that runs `component`.
    pub(crate) async fn serving(component: &[u8]) -> (Self, HandlerHandle) {
        Self::serving_as(config(), component).await
    }

    /// The same with settings of its own.
    pub(crate) async fn serving_as(
        config: HandlerConfig,
        component: &[u8],
    ) -> (Self, HandlerHandle) {
        let fixture = Self::start().await;
        let handler = fixture.runtime.add_handler(config).unwrap();
        swapped(handler.load(bytes(component)).await);
        (fixture, handler)
    }

    /// Handler `h`, looked up by its name.
    pub(crate) fn handler(&self) -> HandlerHandle {
        self.runtime.handler(&name("h")).unwrap()
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One GET over a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client().await.get(path).await
    }

    /// Waits until exactly `n` stores are alive.
    pub(crate) async fn wait_for_stores(&self, n: usize) {
        let found = || self.runtime.live_stores();
        wait_until(|| found() == n, || format!("{n} live stores, there are {}", found())).await;
    }

    /// Ends it in order; returns how many connections were cut.
    pub(crate) async fn stop(self) -> usize {
        let _ = self.stop.send(());
        let cut = limited("the server's end", self.serving).await.unwrap();
        limited("the runtime's end", self.runtime.shutdown()).await;
        assert_eq!(self.runtime.live_stores(), 0, "stores outlive the runtime");
        cut
    }
}

/// The settings of handler `h` on route `/`.
pub(crate) fn config() -> HandlerConfig {
    HandlerConfig::new(name("h")).with_route(Route::parse("/").unwrap())
}

pub(crate) fn name(name: &str) -> HandlerName {
    HandlerName::new(name).unwrap()
}

/// The component of the special guest `name`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    std::fs::read(guests::guest(name).unwrap()).unwrap()
}

/// The component of the example plugin `name`.
pub(crate) fn plugin(name: &str) -> Vec<u8> {
    std::fs::read(guests::plugin(name, Profile::Dev).unwrap()).unwrap()
}

/// Another component that behaves as `component`.
pub(crate) fn variant(component: &[u8], number: u64) -> Source {
    Source::bytes(guests::variant(component, number))
}

pub(crate) fn bytes(component: &[u8]) -> Source {
    Source::bytes(component.to_vec())
}

/// What serves after a swap that must have published something.
pub(crate) fn swapped(answer: Result<Swap, wrt::Rejected>) -> wrt::Serving {
    match answer {
        Ok(Swap::Swapped { serving, .. }) => serving,
        other => panic!("expected a swap, found {other:?}"),
    }
}

/// `handler/N;DIGEST12`, as the response header names a generation of handler `h`.
pub(crate) fn label(serving: wrt::Serving) -> String {
    format!("h/{};{}", serving.generation, serving.digest.short())
}

/// Waits for `future`, at most the limit.
pub(crate) async fn limited<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(WAIT_LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Waits until `is_so`; `status` says for what, and how things stand.
pub(crate) async fn wait_until(mut is_so: impl FnMut() -> bool, status: impl Fn() -> String) {
    let deadline = Instant::now() + WAIT_LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {}", status());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The next event that `pick` wants.
pub(crate) async fn next_event<T>(
    events: &mut EventReceiver,
    what: &str,
    mut pick: impl FnMut(EventKind) -> Option<T>,
) -> T {
    limited(what, async {
        loop {
            match events.recv().await {
                Ok(event) => {
                    if let Some(found) = pick(event.kind) {
                        return found;
                    }
                }
                Err(RecvError::Missed(missed)) => panic!("missed {missed:?}"),
                Err(RecvError::Closed) => panic!("no more events, and none was {what}"),
            }
        }
    })
    .await
}

/// The generation and outcome of the next call that failed.
pub(crate) async fn next_failure(events: &mut EventReceiver) -> (u64, &'static str) {
    next_event(events, "a failed call", |event| match event {
        EventKind::CallFailed { generation, outcome, .. } => Some((generation.get(), outcome)),
        _ => None,
    })
    .await
}

/// How the next call that failed is told.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) outcome: &'static str,
    pub(crate) answered: bool,
    pub(crate) error: String,
}

/// What is told of the next call that failed.
pub(crate) async fn next_failed(events: &mut EventReceiver) -> Failed {
    next_event(events, "a failed call", |event| match event {
        EventKind::CallFailed { outcome, answered, error, .. } => {
            Some(Failed { outcome, answered, error })
        }
        _ => None,
    })
    .await
}

/// How many calls were cut when the next generation was drained.
pub(crate) async fn next_drained(events: &mut EventReceiver) -> (u64, usize) {
    next_event(events, "a drained generation", |event| match event {
        EventKind::Drained { generation, cut, .. } => Some((generation.get(), cut)),
        _ => None,
    })
    .await
}
