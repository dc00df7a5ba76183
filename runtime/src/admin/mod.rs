//! The control plane: REST and server-sent events over one runtime, to be served or mounted.
//!
//! ```text
//! GET  /healthz                        the process answers
//! GET  /readyz                         every handler can answer, and the runtime is not about to end
//! GET  /metrics                        Prometheus' text form
//! GET  /v1/handlers                    {"handlers": [status …]}
//! GET  /v1/handlers/{name}             status
//! GET  /v1/handlers/{name}/history     {"handler": …, "records": [record …]}, newest first
//! GET  /v1/handlers/{name}/generations/{N}  what became of generation N, and why
//! POST /v1/handlers/{name}/swap        body: the component; ?cause=TEXT, ?fresh=true, ?again=true,
//!                                      ?as-other-kind=true
//! POST /v1/handlers/{name}/rollback    ?to=N, ?fresh=true
//! POST /v1/handlers/{name}/confirm
//! GET  /v1/plan                        what each handler is to be, and what serves
//! PUT  /v1/plan                        the host reads its manifest again, and applies it; ?dry-run=true,
//!                                      ?again=true
//! GET  /v1/events                      server-sent events, resumable with `Last-Event-ID`
//! GET  /v1/cache                       what the cache of compiled code holds and did
//! ```
//!
//! Errors are problem documents (RFC 9457). Everything but the first two wants the bearer token.
//!
//! # Invariants
//!
//! 1. Whoever has not shown the token learns no more than that the process runs and is ready.
//! 2. No page of a browser can act here: foreign names and origins are refused, and no answer has a
//!    header that would let another origin read it.
//! 3. What a client is told of a swap is what became of it, not what was asked for.

mod backlog;
mod changes;
mod events;
mod guard;
mod health;
mod metrics;
mod overview;
mod plan;
mod problem;
mod query;
mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use axum::Router;
use axum::http::Uri;
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::ingress;
use crate::runtime::Runtime;
use backlog::Feed;
use problem::Problem;

pub use plan::{PlanRequest, Planner, Planning};
pub use token::{Token, TokenError};

/// Bytes that a component in a request may have: twice the largest debug build that was seen.
const MAX_COMPONENT: usize = 64 * 1024 * 1024;

/// Time that answers under way get when serving ends. Short, because streams of events have no end
/// of their own, and swaps stand whether their answers arrive or not.
const DRAIN: Duration = Duration::from_millis(500);

/// What is chosen about a control plane.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AdminConfig {
    /// What clients have to show.
    pub token: Token,
    /// Where it is bound, if that is known. At a loopback address, requests to other names are
    /// refused, since a page could make its own name lead here. Default `None`: no name is refused.
    pub bound: Option<SocketAddr>,
    /// Bytes that a component in a request may have. Default 64 MiB.
    pub max_component: usize,
    /// The planner that applies the plan of a `PUT /v1/plan` request. Default `None`: the control plane
    /// refuses the request.
    pub planner: Option<Arc<dyn Planner>>,
}

impl AdminConfig {
    /// The defaults, with the `token` that clients have to show.
    #[must_use]
    pub fn new(token: Token) -> Self {
        Self { token, bound: None, max_component: MAX_COMPONENT, planner: None }
    }

    /// Says where it is bound.
    #[must_use]
    pub fn bound_to(mut self, address: SocketAddr) -> Self {
        self.bound = Some(address);
        self
    }

    /// Has `planner` apply a plan when `PUT /v1/plan` asks for that.
    #[must_use]
    pub fn with_planner(mut self, planner: Arc<dyn Planner>) -> Self {
        self.planner = Some(planner);
        self
    }

    /// Sets how many bytes a component in a request may have.
    #[must_use]
    pub fn with_max_component(mut self, bytes: usize) -> Self {
        self.max_component = bytes;
        self
    }
}

/// What every request looks at. Cheap to clone.
#[derive(Clone)]
struct Shared {
    runtime: Runtime,
    config: Arc<AdminConfig>,
    feed: Arc<Feed>,
}

/// The control plane of `runtime` as a router, for a server or router of the embedder's own. Events
/// are kept for its clients from here on, and streams of events end when [`Runtime::shutdown`] has
/// drained every handler.
///
/// It holds `runtime`, which therefore is not dropped before it. A server that waits for open requests
/// before its program shuts the runtime down waits for streams of events, too, and these for the
/// runtime: use [`router_until`] there.
///
/// # Panics
///
/// When called outside of a tokio runtime, whose tasks it uses.
#[must_use = "a router that nobody serves does nothing"]
pub fn router(runtime: Runtime, config: AdminConfig) -> Router {
    router_until(runtime, config, std::future::pending())
}

/// [`router`] with streams of events that end as soon as `stop` is ready: what also tells the server to
/// stop, such as the future that is given to `axum::serve(…).with_graceful_shutdown`.
///
/// # Panics
///
/// As [`router`].
#[must_use = "a router that nobody serves does nothing"]
pub fn router_until(
    runtime: Runtime,
    config: AdminConfig,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Router {
    let ended = runtime.ended();
    let end = async move {
        // Cancel-safe: both only wait.
        tokio::select! {
            () = ended => {}
            () = stop => {}
        }
    };
    let feed = Arc::new(Feed::start(runtime.events(), end));
    let shared = Shared { runtime, config: Arc::new(config), feed };
    let handler = Router::new()
        .route("/", get(overview::handler))
        .route("/history", get(overview::history))
        .route("/generations/{number}", get(overview::generation))
        .route("/swap", post(changes::swap))
        .route("/rollback", post(changes::rollback))
        .route("/confirm", post(changes::confirm));
    let guarded = Router::new()
        .route("/metrics", get(metrics::show))
        .route("/v1/handlers", get(overview::handlers))
        .nest("/v1/handlers/{name}", handler)
        .route("/v1/plan", get(plan::show).put(plan::apply))
        .route("/v1/events", get(events::stream))
        .route("/v1/cache", get(overview::cache))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .fallback(async |uri: Uri| Problem::no_such_page(uri.path()))
        .layer(middleware::from_fn_with_state(shared.clone(), guard::token));
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .merge(guarded)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::origin))
        .with_state(shared)
}

/// Serves a [`router`] on `listener` until `stop` is ready, then gives answers under way a moment to
/// finish. Returns how many connections had to be cut, streams of events among them.
///
/// 128 connections that have not shown the token are open at once, each for 30 seconds at most; a further
/// one ends the oldest of them. So nobody without the token keeps those with it out.
///
/// # Cancel safety
///
/// Dropping the future closes the listener and every connection at once.
pub async fn serve(listener: TcpListener, router: Router, stop: impl Future<Output = ()>) -> usize {
    let stop = async {
        stop.await;
        DRAIN
    };
    ingress::serve_strangers(listener, router, stop).await
}
