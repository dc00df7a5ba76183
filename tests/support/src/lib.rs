//! What tests and benchmarks share: guests, server processes, load, and the judge of a history.
//!
//! Nothing here depends on the `wrt` library: the server is started as users start it, and seen
//! only through its sockets, its output and `/proc`.

pub mod files;
pub mod guests;
pub mod history;
pub mod load;
pub mod proc_stat;
pub mod process;
