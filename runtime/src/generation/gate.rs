//! Entry gate of a generation: counts the calls inside, refuses new ones once closed, and can hold
//! them for a while.
//!
//! A call loads the current generation and then enters it; in between, a swap may have replaced
//! and closed that generation. Entering can therefore fail, and the caller loads again. A hand-over
//! of state holds the gate: callers wait until it is released, or until a successor is published.
//!
//! # Invariants
//!
//! 1. The closed bit, the held bit and the count share one atomic, so no call enters after `close`
//!    or `hold` returned.
//! 2. The closed bit is never cleared.
//! 3. Exactly one party learns that a closed gate became empty: the last to leave, or the closer
//!    when nobody was inside. Who holds the gate looks at `inside`, and is told
//!    of each time that it becomes zero.

// The model test compiles this file with loom's atomics under the same name.
use super::sync::{AtomicUsize, Ordering};

const CLOSED: usize = 1;
const HELD: usize = 2;
const ALL_BITS: usize = CLOSED | HELD;
const ONE_INSIDE: usize = 4;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Bit 0: closed. Bit 1: held. The rest: calls inside, in steps of [`ONE_INSIDE`].
    state: AtomicUsize,
}

/// How an attempt to enter ended.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Entry {
    /// The call is inside and has to leave.
    Inside,
    /// The gate is held: it opens again, or a successor takes the calls.
    Held,
    /// The gate is closed for good; there is a successor.
    Closed,
}

/// What leaving or closing found.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
#[must_use = "the one who empties a closed gate has to tell who waits for that"]
pub(crate) enum After {
    /// The gate is closed and nobody is inside; told exactly once.
    Empty,
    /// The gate is held, and nobody is inside. Whoever holds it may have to be told.
    AtRest,
    /// The gate is open, or somebody is still inside, or it was closed before.
    Other,
}

impl Gate {
    /// Counts one call in, unless the gate is held or closed.
    pub(crate) fn try_enter(&self) -> Entry {
        // Ordering: acquire pairs with the release in `close`, so a call that is refused also sees
        // the generation that was published before the gate was closed.
        let entered = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & ALL_BITS == 0).then_some(state + ONE_INSIDE)
        });
        match entered {
            Ok(_) => Entry::Inside,
            Err(state) if state & CLOSED != 0 => Entry::Closed,
            Err(_) => Entry::Held,
        }
    }

    /// Counts one call out. To be called once for each [`Entry::Inside`].
    pub(crate) fn leave(&self) -> After {
        // Ordering: release makes the call's effects visible to whoever sees the empty gate;
        // acquire lets the last one out see those of all others.
        let before = self.state.fetch_sub(ONE_INSIDE, Ordering::AcqRel);
        debug_assert!(before >= ONE_INSIDE, "a call left that had not entered");
        match before - ONE_INSIDE {
            CLOSED | ALL_BITS => After::Empty,
            HELD => After::AtRest,
            _ => After::Other,
        }
    }

    /// Admits nobody until the gate is released.
    pub(crate) fn hold(&self) {
        // Ordering: as in `close`.
        self.state.fetch_or(HELD, Ordering::AcqRel);
    }

    /// Admits calls again, unless the gate is closed.
    pub(crate) fn release(&self) {
        // Ordering: release shows the calls that enter next what was done while nobody was inside.
        self.state.fetch_and(!HELD, Ordering::AcqRel);
    }

    /// Admits nobody from now on.
    pub(crate) fn close(&self) -> After {
        // Ordering: release publishes what came before (the new generation) to refused callers;
        // acquire sees the effects of calls that have left when the gate is empty already.
        let before = self.state.fetch_or(CLOSED, Ordering::AcqRel);
        if before & !HELD == 0 { After::Empty } else { After::Other }
    }

    /// Calls inside at this moment.
    pub(crate) fn inside(&self) -> usize {
        // Ordering: acquire shows who finds a held gate empty what the calls did that have left.
        self.state.load(Ordering::Acquire) / ONE_INSIDE
    }
}
