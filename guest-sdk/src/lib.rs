//! Write handlers for wrt: one attribute on a plain function, tested with plain `cargo test`.
//!
//! A handler is a library crate of type `cdylib`, built for `wasm32-wasip2`. An HTTP handler is any
//! function from requests to responses:
//!
//! ```
//! use wrt_guest::{Html, Result, config};
//!
//! #[wrt_guest::http]
//! async fn handle() -> Result<Html> {
//!     let greeting = config::get("greeting")?.unwrap_or_else(|| "hello".into());
//!     Ok(Html(format!("<h1>{greeting}</h1>")))
//! }
//! # fn main() {}
//! ```
//!
//! An event handler is a function from a CloudEvent to an optional CloudEvent:
//!
//! ```
//! use wrt_guest::{Event, Json, Result};
//!
//! #[derive(serde::Deserialize)]
//! struct Order {
//!     total: u32,
//! }
//!
//! #[wrt_guest::event]
//! fn handle(event: Event, Json(order): Json<Order>) -> Result<Option<Event>> {
//!     if order.total == 0 {
//!         return Ok(None);
//!     }
//!     Ok(Some(Event::new(format!("{}-due", event.id), "/billing", "payment.due")))
//! }
//! # fn main() {}
//! ```
//!
//! With a [`State`], either keeps a value from call to call, in one long-lived instance, which is
//! handed over when the handler is swapped. [`state`] has the whole chapter: what survives, how to add
//! a field, how to migrate.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! #[derive(Default, Serialize, Deserialize, wrt_guest::State)]
//! struct Counter {
//!     count: u64,
//! }
//!
//! #[wrt_guest::http(state = Counter)]
//! fn handle(counter: &mut Counter) -> String {
//!     counter.count += 1;
//!     counter.count.to_string()
//! }
//! # fn main() {}
//! ```
//!
//! All may be `async` or not, take what implements [`FromRequest`] or [`FromEvent`] and return
//! what implements [`IntoResponse`] or [`IntoAnswer`]; `?` works on every error. What no argument looks
//! at is not asked of the host, so `handle(path: PathAndQuery)` costs less than `handle(uri: Uri)`, and
//! that less than `handle(request: Request)`. An answer of up to 64 KiB goes back in one piece, where
//! the host takes it so. The attribute leaves the function as it is, and the
//! exports and imports of the component exist only on `wasm32`. Natively, host calls go to the fakes
//! in `testing`:
//!
//! ```
//! use wrt_guest::testing::FakeHost;
//! use wrt_guest::{Body, Request, Result, config};
//!
//! fn handle(request: Request) -> Result<String> {
//!     Ok(format!("{} {}", config::get("greeting")?.unwrap_or_default(), request.uri().path()))
//! }
//!
//! let host = FakeHost::new().with_config("greeting", "hi");
//! let answer = host.call(handle, Request::new(Body::empty()));
//! assert_eq!(answer.text(), "hi /");
//! ```
//!
//! # A fast dev profile
//!
//! Each save is built with the dev profile. Cargo's own keeps full debug information of every
//! dependency, which the linker has to write and wrt has to read each time. This one halves the
//! time from save to answer, and a trap still shows lines of your own source:
//!
//! ```toml
//! [profile.dev]
//! debug = "line-tables-only"
//!
//! [profile.dev.package."*"]
//! opt-level = 1
//! debug = false
//! ```
//!
//! # A fast release profile
//!
//! A request goes through several small crates. Optimized as one, they run 30 % fewer instructions
//! for a small page, and the component is a sixth smaller:
//!
//! ```toml
//! [profile.release]
//! lto = true
//! codegen-units = 1
//! ```
//!
//! # Panics
//!
//! A panic in a handler is a trap: its message goes to standard error, which the host shows, the
//! call fails, and the instance is gone. Return an [`Error`] for what can be expected.

// The attributes name this crate by its outside name, in the unit tests too.
extern crate self as wrt_guest;

mod body;
pub mod config;
mod error;
mod event;
mod event_handler;
mod extract;
mod http_handler;
mod json;
mod lifecycle;
pub mod log;
mod query;
mod respond;
pub mod state;
mod stateful;
mod stream;
pub mod time;

#[cfg(target_arch = "wasm32")]
mod guest;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use body::Body;
pub use error::{Error, Result};
pub use event::Event;
pub use event_handler::{EventHandler, FromEvent, IntoAnswer};
pub use extract::{FromRequest, Needs};
pub use http::uri::PathAndQuery;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
pub use http_handler::HttpHandler;
pub use json::Json;
pub use lifecycle::{Context, Fallible, Init, Shutdown};
pub use query::{Queried, query};
pub use respond::{Html, IntoResponse};
pub use state::State;
pub use stateful::{StatefulEventHandler, StatefulHttpHandler};
pub use stream::Sender;
pub use wrt_guest_macros::{State, event, http};

/// A request with this crate's [`Body`]; everything else is the `http` crate's.
pub type Request<B = Body> = ::http::Request<B>;

/// A response with this crate's [`Body`]; everything else is the `http` crate's.
pub type Response<B = Body> = ::http::Response<B>;

/// What the attributes expand to; not for use by hand.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::guest::{bindings, event, http, lifecycle, state};
    pub use crate::state::slot::Slot;
    pub use crate::state::text::{schema, schema_len, schema_str, section, section_len};
    #[cfg(target_arch = "wasm32")]
    pub use wasip2;
}
