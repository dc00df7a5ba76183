//! Models of the runtime's hand-made synchronisation: loom tries every order of events on it.
//!
//! The files under test are the runtime's own, compiled here with loom's atomics.

#[cfg(test)]
#[path = "../../../runtime/src/generation/gate.rs"]
mod gate;

/// What `gate.rs` finds as its neighbour `sync`: loom's atomics instead of the standard library's.
#[cfg(test)]
mod sync {
    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};
}

#[cfg(test)]
mod gates;

#[cfg(test)]
mod models;
