//! Entry gate of a generation: counts the calls inside and refuses new ones once closed.
//!
//! A call loads the current generation and then enters it; in between, a swap may have replaced
//! and closed that generation. Entering can therefore fail, and the caller loads again.
//!
//! # Invariants
//!
//! 1. The closed bit and the count share one atomic, so no call enters after `close` returned.
//! 2. The closed bit is never cleared.
//! 3. Exactly one party learns that a closed gate became empty: the last to leave, or the closer
//!    when nobody was inside.

// The model test compiles this file with loom's atomics under the same name.
use super::sync::{AtomicUsize, Ordering};

const CLOSED: usize = 1;
const ONE_INSIDE: usize = 2;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Bit 0: closed. The rest: calls inside, in steps of [`ONE_INSIDE`].
    state: AtomicUsize,
}

/// What leaving or closing found.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[must_use = "the one who empties a closed gate has to tell who waits for that"]
pub(crate) enum After {
    /// The gate is closed and nobody is inside; told exactly once.
    Empty,
    /// The gate is open, or somebody is still inside, or it was closed before.
    Other,
}

impl Gate {
    /// Counts one call in, unless the gate is closed.
    pub(crate) fn try_enter(&self) -> bool {
        // Ordering: acquire pairs with the release in `close`, so a call that is refused also sees
        // the generation that was published before the gate was closed.
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state & CLOSED == 0).then_some(state + ONE_INSIDE)
            })
            .is_ok()
    }

    /// Counts one call out. To be called once for each successful [`Gate::try_enter`].
    pub(crate) fn leave(&self) -> After {
        // Ordering: release makes the call's effects visible to whoever sees the empty gate;
        // acquire lets the last one out see those of all others.
        let before = self.state.fetch_sub(ONE_INSIDE, Ordering::AcqRel);
        debug_assert!(before >= ONE_INSIDE, "a call left that had not entered");
        if before == ONE_INSIDE | CLOSED { After::Empty } else { After::Other }
    }

    /// Admits nobody from now on.
    pub(crate) fn close(&self) -> After {
        // Ordering: release publishes what came before (the new generation) to refused callers;
        // acquire sees the effects of calls that have left when the gate is empty already.
        let before = self.state.fetch_or(CLOSED, Ordering::AcqRel);
        if before == 0 { After::Empty } else { After::Other }
    }

    /// Calls inside at this moment.
    pub(crate) fn inside(&self) -> usize {
        // Ordering: a figure for people; nothing is decided on it.
        self.state.load(Ordering::Relaxed) / ONE_INSIDE
    }
}
