//! Loads compiled code: the one place that turns bytes into something that runs.

#![allow(
    unsafe_code,
    reason = "wasmtime cannot check compiled code, so that it is ours is shown here, once"
)]

use wasmtime::component::Component;

use super::disk::{Bucket, EntryKind, EntryName, Verified};
use crate::engine::Engine;

/// The component that `code` was compiled from, ready to run under `engine`.
///
/// # Errors
///
/// When `code` is something else than compiled code of this engine, or wasmtime finds that it is of
/// another version, processor or configuration.
pub(super) fn load(engine: &Engine, code: &Verified) -> wasmtime::Result<Component> {
    let EntryName { kind, bucket, .. } = *code.name();
    if kind != EntryKind::Code || bucket != Bucket::new(engine.bucket()) {
        return Err(wasmtime::Error::msg("it is no compiled code of this engine"));
    }
    // SAFETY: `deserialize` wants bytes that `serialize` returned, unchanged. Who holds a
    // `Verified` has them: it can be made in one way only, from a file whose keyed MAC over all of
    // its content was right, and the key is known to this user's wrt processes alone. Under the
    // kind and bucket that were looked at above they sign nothing but what `serialize` returned for
    // this engine (`Inner::save` in `pipeline.rs`). The bytes are in memory that nobody else writes to,
    // and `deserialize` copies them.
    unsafe { Component::deserialize(engine.wasmtime(), code.payload()) }
}
