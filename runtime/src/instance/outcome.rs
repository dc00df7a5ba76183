//! How a call went wrong, told from wasmtime's error.

use wasmtime::Trap;

use crate::error::CallFailure;
use crate::events::{MAX_TEXT, cut};
use crate::host::{GuestMemoryExceeded, HostState, MemoryExceeded};

/// Whether `error` of code that calls guests came out of a guest: whatever ends a guest carries the trap,
/// or the backtrace that it had at that point.
pub(crate) fn is_of_guest(error: &wasmtime::Error) -> bool {
    error.is::<Trap>()
        || error.is::<wasmtime::WasmBacktrace>()
        || error.is::<MemoryExceeded>()
        || error.is::<GuestMemoryExceeded>()
}

/// [`failure`] with what the guest said in its panic, if it trapped by one. `state` is that of its store.
pub(crate) fn failure_in<H>(state: &HostState<H>, error: wasmtime::Error) -> CallFailure {
    let panic = if error.is::<Trap>() { state.panic() } else { None };
    match panic {
        Some(panic) => failure(error.context(panic)),
        None => failure(error),
    }
}

/// Classifies what a guest's call ended with.
pub(crate) fn failure(error: wasmtime::Error) -> CallFailure {
    if let Some(exceeded) = error.downcast_ref::<MemoryExceeded>() {
        return CallFailure::Memory { wanted: exceeded.wanted, limit: exceeded.limit };
    }
    if let Some(exceeded) = error.downcast_ref::<GuestMemoryExceeded>() {
        return CallFailure::HostMemory { limit: exceeded.limit };
    }
    if error.is::<Trap>() || error.is::<wasmtime::WasmBacktrace>() {
        return CallFailure::Trap { source: shortened(error) };
    }
    CallFailure::Guest { reason: cut(format!("{error:#}")) }
}

/// `error` with a backtrace of a length that people read: the names of functions are the guest's,
/// and each may have 100 kB.
fn shortened(error: wasmtime::Error) -> wasmtime::Error {
    let text = format!("{error:#}");
    if text.len() <= MAX_TEXT {
        return error;
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => wasmtime::Error::from(*trap).context(cut(text)),
        None => wasmtime::Error::msg(cut(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    #[test]
    fn a_backtrace_with_very_long_names_is_cut_and_the_trap_is_known_still() {
        let names = "n".repeat(100_000);
        let error = wasmtime::Error::from(Trap::UnreachableCodeReached).context(names);
        let failed = failure(error);
        let text = chain(&failed);
        let CallFailure::Trap { source } = failed else { panic!("it is a trap") };
        assert_eq!(source.downcast_ref::<Trap>(), Some(&Trap::UnreachableCodeReached));
        assert!(format!("{source:#}").len() < 2 * MAX_TEXT && text.len() < 2 * MAX_TEXT);
        let short = wasmtime::Error::from(Trap::StackOverflow).context("error in `f`");
        let text = chain(&failure(short));
        assert!(text.contains("error in `f`: "), "{text}");
    }

    #[test]
    fn an_error_of_a_guest_is_cut() {
        let error = wasmtime::Error::msg("e".repeat(30_000_000));
        let CallFailure::Guest { reason } = failure(error) else { panic!() };
        assert!(reason.len() < MAX_TEXT + 100 && reason.ends_with("30000000 bytes in all)"));
    }
}
