//! The gates that the models are tried on: the real one, and wrong ones that must be caught.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::gate::{After, Entry, Gate};

/// What a model asks of a gate.
pub(crate) trait Door: Default + Send + Sync + 'static {
    fn try_enter(&self) -> bool;
    fn leave(&self) -> After;
    fn close(&self) -> After;
    fn inside(&self) -> usize;
}

/// What a model asks of a gate that can be held.
pub(crate) trait HoldableDoor: Door {
    fn hold(&self);
    fn release(&self);
}

impl HoldableDoor for Gate {
    fn hold(&self) {
        Gate::hold(self);
    }

    fn release(&self) {
        Gate::release(self);
    }
}

impl Door for Gate {
    fn try_enter(&self) -> bool {
        Gate::try_enter(self) == Entry::Inside
    }

    fn leave(&self) -> After {
        Gate::leave(self)
    }

    fn close(&self) -> After {
        Gate::close(self)
    }

    fn inside(&self) -> usize {
        Gate::inside(self)
    }
}

/// Wrong: the closed bit is not in the atomic that counts, so a call enters after the close.
#[derive(Default)]
pub(crate) struct TwoAtomics {
    closed: AtomicBool,
    inside: AtomicUsize,
}

impl Door for TwoAtomics {
    fn try_enter(&self) -> bool {
        if self.closed.load(Ordering::SeqCst) {
            return false;
        }
        self.inside.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn leave(&self) -> After {
        let last = self.inside.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.closed.load(Ordering::SeqCst) { After::Empty } else { After::Other }
    }

    fn close(&self) -> After {
        let first = !self.closed.swap(true, Ordering::SeqCst);
        let empty = self.inside.load(Ordering::SeqCst) == 0;
        if first && empty { After::Empty } else { After::Other }
    }

    fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }
}

/// Wrong: the right steps in one atomic, with no ordering towards the rest of memory.
#[derive(Default)]
pub(crate) struct Unordered(AtomicUsize);

impl Door for Unordered {
    fn try_enter(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
                (state & 1 == 0).then_some(state + 2)
            })
            .is_ok()
    }

    fn leave(&self) -> After {
        if self.0.fetch_sub(2, Ordering::Relaxed) == 3 { After::Empty } else { After::Other }
    }

    fn close(&self) -> After {
        if self.0.fetch_or(1, Ordering::Relaxed) == 0 { After::Empty } else { After::Other }
    }

    fn inside(&self) -> usize {
        self.0.load(Ordering::Relaxed) / 2
    }
}

/// Wrong: the held bit is not in the atomic that counts, so a call enters while the gate is held.
#[derive(Default)]
pub(crate) struct HeldAside {
    held: AtomicBool,
    gate: Gate,
}

impl Door for HeldAside {
    fn try_enter(&self) -> bool {
        !self.held.load(Ordering::SeqCst) && self.gate.try_enter() == Entry::Inside
    }

    fn leave(&self) -> After {
        self.gate.leave()
    }

    fn close(&self) -> After {
        self.gate.close()
    }

    fn inside(&self) -> usize {
        self.gate.inside()
    }
}

impl HoldableDoor for HeldAside {
    fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }
}

/// Wrong: every closer of an empty gate is told, not only the one that closed it.
#[derive(Default)]
pub(crate) struct TellsEveryCloser(Gate);

impl Door for TellsEveryCloser {
    fn try_enter(&self) -> bool {
        self.0.try_enter() == Entry::Inside
    }

    fn leave(&self) -> After {
        self.0.leave()
    }

    fn close(&self) -> After {
        let after = self.0.close();
        if self.0.inside() == 0 { After::Empty } else { after }
    }

    fn inside(&self) -> usize {
        self.0.inside()
    }
}
