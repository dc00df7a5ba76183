//! State that is handed over when a handler is swapped.
//!
//! # State over swaps
//!
//! A handler with `instances = "singleton"` in its manifest has one instance, and what that instance
//! has in memory lives from call to call. `state = Type` in the attribute makes a value of that type
//! the first argument of the handler. When the component is swapped, the old instance saves the
//! value and the new instance begins with it:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wrt_guest::{Method, State};
//!
//! #[derive(Default, Serialize, Deserialize, State)]
//! struct Counter {
//!     count: u64,
//! }
//!
//! #[wrt_guest::http(state = Counter)]
//! fn handle(counter: &mut Counter, method: Method) -> String {
//!     if method == Method::POST {
//!         counter.count += 1;
//!     }
//!     counter.count.to_string()
//! }
//! # fn main() {}
//! ```
//!
//! | what | over a swap |
//! |---|---|
//! | the state, whatever size the manifest allows | is carried, whole or not at all |
//! | calls under way | end in the old instance, before its state is saved |
//! | statics, thread-locals, caches beside the state | are gone |
//! | bodies that are being streamed, open connections, timers | are gone; do not keep them in the state |
//! | fields with `#[serde(skip)]` | begin with their default |
//!
//! If the new component cannot take the state over, the swap is rejected with the reason, and the
//! old instance goes on with its state. A trap, or a call that the host has to cut, ends the
//! instance and its state: the next instance begins anew, as the first did. What must outlive that
//! belongs into a store outside.
//!
//! ## How a state begins
//!
//! With its `Default`, or with a function that the attribute names. The function may take the
//! [`Context`](crate::Context), be `async`, and fail: then the new component is rejected. A second
//! function may run at the end of an instance:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wrt_guest::{Context, Event, Result, State, config, log};
//!
//! #[derive(Serialize, Deserialize, State)]
//! struct Seen {
//!     limit: usize,
//!     ids: Vec<String>,
//! }
//!
//! #[wrt_guest::event(state = Seen, init = begin, shutdown = end)]
//! fn handle(seen: &mut Seen, event: Event) -> Result<Option<Event>> {
//!     if seen.ids.contains(&event.id) {
//!         return Ok(None);
//!     }
//!     seen.ids.truncate(seen.limit - 1);
//!     seen.ids.insert(0, event.id.clone());
//!     Ok(Some(event))
//! }
//!
//! fn begin(context: Context) -> Result<Seen> {
//!     log::info!("{} begins as generation {}", context.handler, context.generation);
//!     let limit = config::get("limit")?.ok_or("setting `limit` is missing")?.parse()?;
//!     Ok(Seen { limit, ids: Vec::new() })
//! }
//!
//! fn end(seen: Seen) {
//!     log::info!("ends with {} events", seen.ids.len());
//! }
//! # fn main() {}
//! ```
//!
//! Both work without a state too: `#[wrt_guest::http(init = begin, shutdown = end)]`, on functions
//! that return `()` or `Result<()>`. They run once in each instance. After a swap with state, `init`
//! is not called in the new instance.
//!
//! ## How to change a state
//!
//! What serde reads from the old JSON without loss is carried, and the version stays:
//!
//! | change | how |
//! |---|---|
//! | a new field | `#[serde(default)]`, or an `Option` |
//! | another name of a field or variant | the old one as `#[serde(alias = "…")]` |
//! | a wider number | `u8` to `u64`, `u32` to `i64`, `f32` to `f64`, `u32` to `f64` and the like |
//! | `T` to `Option<T>` | as it is |
//! | `Option<T>` to `T` | as it is, where the value is there |
//! | a new variant of an enum | as it is |
//! | a set or an array to a `Vec`, a `char` to text, anything to `serde_json::Value` | as it is |
//!
//! A field that is removed, renamed, narrowed or of another type would lose what is in it. Without a
//! migration such a component is rejected, with the name of each field.
//!
//! ## How to migrate
//!
//! Raise the version and name a function that makes the state from an earlier one:
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wrt_guest::testing::FakeHost;
//! use wrt_guest::{Result, State, state};
//!
//! #[derive(Serialize, Deserialize, State)]
//! struct Old {
//!     count: u64,
//! }
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
//! #[state(version = 2, migrate = migrate)]
//! struct Counter {
//!     counts: Vec<u64>,
//! }
//!
//! fn migrate(from_version: u32, payload: &[u8]) -> Result<Counter> {
//!     match from_version {
//!         1 => Ok(Counter { counts: vec![state::read::<Old>(payload)?.count] }),
//!         other => Err(format!("version {other} is not known").into()),
//!     }
//! }
//!
//! // What a swap does, natively.
//! let host = FakeHost::new();
//! let snapshot = host.save(&Old { count: 7 });
//! let (counter, how) = host.restore::<Counter>(&snapshot).unwrap();
//! assert_eq!(counter, Counter { counts: vec![7] });
//! assert_eq!(how, state::Restored::Migrated);
//! ```
//!
//! The function is asked for every version but its own, also a newer one: after a rollback, the old
//! component finds the state of the new one. For its own version it is asked only if the fields do
//! not fit. Its error rejects the swap.
//!
//! ## How it is written
//!
//! The state travels as JSON, so an `f32` or `f64` in it has to be finite, and the keys of its maps
//! text or numbers. Its schema is made of the names and types of its fields as serde writes them,
//! and of no names of types: these may be renamed and moved. It stands in the snapshot and,
//! with the version, in the section `wrt:state` of the component, for tools.

mod compare;
mod restore;
mod schema;
pub(crate) mod slot;
#[cfg(test)]
mod tests;
pub(crate) mod text;

pub use restore::read;
pub(crate) use restore::restore;
pub use schema::{Part, Schema, Shape};

use crate::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;

/// Makes a state of type `S` from one of an earlier version: its version, and its JSON.
pub type Migrate<S> = fn(from_version: u32, payload: &[u8]) -> Result<S>;

/// What a handler keeps from call to call, and hands over when it is swapped.
///
/// `#[derive(wrt_guest::State)]` implements it for types with serde's `Serialize` and `Deserialize`,
/// and `#[state(version = 2, migrate = function)]` sets what differs from the first version. The
/// structs and enums within a state derive it too. See the [module](self) for all of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the state of a handler",
    label = "expected something that implements `State`",
    note = "derive it, with serde's traits: `#[derive(Serialize, Deserialize, wrt_guest::State)]`; \
            a state has no generic parameters"
)]
pub trait State: Schema + Serialize + DeserializeOwned + 'static {
    /// Counts the shapes of this state's history, beginning with 1.
    const VERSION: u32;

    /// Makes a state from that of another version.
    const MIGRATE: Option<Migrate<Self>>;

    /// What the JSON of a state looks like, leaf by leaf.
    const SCHEMA: &'static str;
}

/// A saved state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The shape of `payload`.
    pub schema: String,
    /// The version of that shape.
    pub version: u32,
    /// The state as JSON.
    pub payload: Vec<u8>,
}

/// How a snapshot was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// As it was; fields that are new have their defaults.
    Carried,
    /// By the state's own migration.
    Migrated,
}

/// Why a snapshot was not taken over; the old instance goes on with its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreError {
    /// It has another shape, and nothing says how to come from it to this one.
    Incompatible(String),
    /// It should have been possible and was not.
    Failed(String),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Incompatible(text) | Self::Failed(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for RestoreError {}

/// Saves a state, and leaves it as it is.
///
/// # Errors
///
/// It has no JSON form: a map has keys that are neither text nor numbers, or the author's own
/// `Serialize` failed.
pub(crate) fn save<S: State>(state: &S) -> Result<Snapshot> {
    let payload = serde_json::to_vec(state)?;
    Ok(Snapshot { schema: S::SCHEMA.into(), version: S::VERSION, payload })
}
