//! Component bytes to executable code, off the async threads.

use std::time::Instant;

use wasmtime::component::Component;

use super::{Artifact, ComponentBytes, blocking, kind, wasi03};
use crate::engine::Engine;
use crate::error::StageError;
use crate::events::{CompiledBy, Tier};

/// Largest component that is compiled. A script engine with its library has some 20 MiB; ten times
/// that keeps a mistake (a disk image, say) from occupying the compiler for minutes.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Compiles `component`.
///
/// # Errors
///
/// [`StageError`] when the bytes are too many, not a component, of WASI 0.3 without the opt-in, or
/// refused by the compiler.
///
/// # Cancel safety
///
/// The compilation goes on when this is dropped; its result is dropped with it.
pub(crate) async fn compile(
    engine: &Engine,
    component: &ComponentBytes,
) -> Result<Artifact, StageError> {
    let (engine, component) = (engine.clone(), component.clone());
    blocking(move || compile_now(&engine, &component)).await
}

fn compile_now(engine: &Engine, component: &ComponentBytes) -> Result<Artifact, StageError> {
    let ComponentBytes { bytes, digest } = component;
    let size = bytes.len() as u64;
    if size > MAX_BYTES {
        return Err(StageError::TooLarge { bytes: size, limit: MAX_BYTES });
    }
    if let Some(found) = kind::not_a_component(bytes) {
        return Err(StageError::NotAComponent { found });
    }
    let (started, reused) = (Instant::now(), engine.functions_reused());
    let compiled = Component::from_binary(engine.wasmtime(), bytes)
        .map_err(|source| refusal(engine, component, source))?;
    Ok(Artifact {
        digest: *digest,
        component: compiled,
        bytes: size,
        compile_time: started.elapsed(),
        // Two compilations at once may each count the other's functions; it is a figure for people.
        compiled_by: if engine.functions_reused() > reused {
            CompiledBy::Functions
        } else {
            CompiledBy::Compiler
        },
        tier: Tier::Optimized,
    })
}

/// Why the compiler refused `component`, as far as more than its own words can be said.
fn refusal(engine: &Engine, component: &ComponentBytes, source: wasmtime::Error) -> StageError {
    let ComponentBytes { bytes, digest } = component;
    match wasi03::interface_in(bytes) {
        // Without the opt-in the engine does not know the types that WASI 0.3 is made of.
        Some(interface) if !engine.allows_wasi03() => {
            StageError::Wasi03 { interface: interface.to_owned(), source }
        }
        _ => StageError::Compile { digest: digest.short(), bytes: bytes.len() as u64, source },
    }
}
