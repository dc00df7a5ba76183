//! Models of the runtime's hand-made synchronisation: loom tries every order of events on it.
//!
//! The files under test are the runtime's own, compiled here with loom's atomics. That needs the
//! feature `model`; without it, the one test of this crate switches it on and runs the models.

#[cfg(all(test, feature = "model"))]
#[path = "../../../runtime/src/generation/gate.rs"]
mod gate;

/// What `gate.rs` finds as its neighbour `sync`: loom's atomics instead of the standard library's.
#[cfg(all(test, feature = "model"))]
mod sync {
    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};
}

#[cfg(all(test, feature = "model"))]
mod gates;

#[cfg(all(test, feature = "model"))]
mod models;

#[cfg(all(test, not(feature = "model")))]
mod run;
