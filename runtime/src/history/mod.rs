//! What became of each version of a handler, over restarts: which was published, confirmed, rolled
//! back or rejected, and the components to go back to.
//!
//! [`HandlerHistory`] is plain data without IO; [`HistoryStore`] keeps it in a directory:
//!
//! ```text
//! lock                          held by the process that writes here; its text is that process's number
//! handlers/<name>.json          the history of one handler, newest record first
//! handlers/<name>.json.damaged  one that could not be read, for people to look at; `.damaged-2` and so
//!                               on are further ones
//! components/<digest>.wasm      the bytes of a component
//! components/<digest>.json      the settings that a version ran with, without the values of secrets
//! .new-… in either of them      a file that is being written, or was when its writer died
//! ```
//!
//! # Invariants
//!
//! 1. A file is written under another name, synced and renamed, so that a process that is killed at
//!    any step leaves each history as it was or as it shall be.
//! 2. A history that cannot be read or written stops nothing: it begins anew, or is kept in memory, and
//!    each handler's [`NotKept`] says so until it is written.
//! 3. One process at a time writes to a directory; others read it.
//! 4. The newest records that were confirmed, as many as components are kept, and the newest that
//!    was published, are never dropped.

mod components;
mod directory;
mod error;
mod lock;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod versions;
mod writer;

pub use error::{HistoryReadError, HistoryUnavailable, HistoryWriteError, NotKept};
pub use record::{Outcome, Record};
pub use store::HistoryStore;
pub(crate) use store::{FLUSH_PATIENCE, Usage};
pub(crate) use versions::KEPT;
pub use versions::{HandlerHistory, MAX_RECORDS};
