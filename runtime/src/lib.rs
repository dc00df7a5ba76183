//! wrt runs WebAssembly components as handlers, and swaps them while they run.
//!
//! A **handler** is a stable name that calls are routed to. What it runs is a **generation**: one
//! immutable version of a component, with its compiled code and its instances. A **swap** stages a
//! new generation off to the side (read, compile, check, try out), publishes it with one pointer
//! store, and drains the one before it. Each call runs wholly on one generation; whatever goes
//! wrong before the publication leaves the active generation untouched.
//!
//! Start with [`Runtime`]. Components that speak HTTP (`wasi:http`) or take events
//! (`wrt:plugin/handler`) need nothing but [`Runtime::add_handler`]; a host with a WIT world of its
//! own describes it with [`Contract`] and uses [`Runtime::add_plugin`].
//!
//! # Compile wrt with optimization, in development too
//!
//! The compiler of components is one of wrt's dependencies. Cargo's default `dev` profile compiles
//! dependencies without optimization; a component then takes some fifteen times as long to load, and
//! the program is five times as large. [`Runtime::new`] writes a warning (`tracing`) when wrt was
//! compiled so. This in the `Cargo.toml` of the workspace mends it, and costs one longer build:
//!
//! ```toml
//! [profile.dev.package."*"]
//! opt-level = 3
//! debug = false
//! debug-assertions = false
//! overflow-checks = false
//! ```
//!
//! # Beside guests that compute
//!
//! A guest that computes yields every 10 ms. A request or an event that computes for longer goes on
//! aside, on threads with low priority. Until then, and for a call of [`Plugin::call`] as long as it
//! lasts, it occupies a thread of the embedder's async runtime, which looks for what has arrived on its
//! sockets after 61 polls of tasks: with tokio's default, others may wait for half a second. So build
//! the runtime with a smaller number, as the program `wrt` does:
//!
//! ```
//! let runtime = tokio::runtime::Builder::new_multi_thread()
//!     .event_interval(8)
//!     .enable_all()
//!     .build();
//! # drop(runtime);
//! ```
//!
//! # Features
//!
//! - `admin`: the module `admin`, a control plane to be served or mounted in an axum router.
//! - `dev`: the module `dev`, a session that watches and builds handlers from source, and swaps what is new.

pub mod cloudevent;
pub mod config;
pub mod events;
pub mod id;
pub mod manifest;

#[cfg(feature = "admin")]
pub mod admin;
mod artifact;
pub mod cache;
mod contract;
#[cfg(feature = "dev")]
pub mod dev;
mod engine;
mod error;
mod files;
#[cfg(any(feature = "fuzz", all(test, feature = "admin", feature = "dev")))]
#[doc(hidden)]
pub mod fuzz;
mod generation;
mod handler;
pub mod history;
mod host;
mod ingress;
mod instance;
mod limit;
mod runtime;
mod snapshot;
mod stage;
mod supervisor;

pub use artifact::{CacheReport, CacheUnavailable, CachedCode, LayerCounts, Source};
pub use cloudevent::CloudEvent;
pub use config::{
    Binding, HandlerConfig, HttpOrigin, InstanceMode, Policy, Route, RuntimeConfig, Settings,
};
pub use contract::{Contract, ContractError, HostState, RefusedImport};
pub use engine::EngineError;
pub use error::{
    CallError, CallFailure, HandOverError, Hint, ProbeError, Rejected, StageError, chain,
};
pub use events::{Event, EventBus, EventKind, EventReceiver, Serving};
pub use handler::Obstacle;
pub use handler::table::TableError;
pub use id::{Digest, GenerationNumber, HandlerName};
pub use ingress::{Body, BodyError, HttpService};
pub use runtime::{
    AddError, Applied, BuildError, Change, ControlError, GenerationStatus, HandlerHandle,
    HandlerStatus, Plan, Planned, Plugin, Removal, Removed, RolledBack, Runtime, Verdict,
};
pub use supervisor::{RollbackRequest, Swap, SwapRequest};
/// The exact wasmtime that wrt is built with, for an embedder's own `bindgen!` (with
/// `wasmtime_crate: wrt::wasmtime`).
///
/// A world whose WIT has `flags` does not compile with this alone: the code that `bindgen!` generates
/// for them names the crate `wasmtime` whatever `wasmtime_crate` says. Such a host adds
/// `wasmtime = "=48.0.8"`, the same version, to its own dependencies.
pub use wasmtime;
/// WASI as wrt links it, in the version that fits [`wasmtime`].
pub use wasmtime_wasi;
/// `wasi:http` as wrt links it, in the version that fits [`wasmtime`].
pub use wasmtime_wasi_http;
