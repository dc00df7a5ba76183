//! A generation: one immutable, numbered version of a handler, and the calls inside it.

mod drain;
mod gate;
/// The atomics of [`gate`], under a name that the model test can replace.
mod sync {
    pub(super) use std::sync::atomic::{AtomicUsize, Ordering};
}

use std::ops::Deref;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::events::Serving;
use crate::id::{Digest, GenerationNumber};
use gate::{After, Gate};

/// Ends the stores of a generation: first the idle ones, at the drain deadline all of them.
///
/// Made before the generation, since what is staged already needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retirement {
    /// Cancelled when the generation is closed: idle stores end, no store is made for reuse.
    pub(crate) retiring: CancellationToken,
    /// Cancelled at the drain deadline: calls in flight end too.
    pub(crate) cut: CancellationToken,
}

/// See the [module](self). `R` is the ready form: linked, checked, able to take calls.
#[derive(Debug)]
pub(crate) struct Generation<R> {
    number: GenerationNumber,
    digest: Digest,
    ready: R,
    retirement: Retirement,
    gate: Gate,
    /// Cancelled when the closed gate is empty.
    empty: CancellationToken,
}

impl<R> Generation<R> {
    /// A generation that admits calls; it is published by its handler's supervisor only.
    pub(crate) fn new(
        number: GenerationNumber,
        digest: Digest,
        ready: R,
        retirement: Retirement,
    ) -> Self {
        let (gate, empty) = (Gate::default(), CancellationToken::new());
        Self { number, digest, ready, retirement, gate, empty }
    }

    /// Number and digest, for messages and headers.
    pub(crate) fn serving(&self) -> Serving {
        Serving { generation: self.number, digest: self.digest }
    }

    /// Lets one call in, unless this generation was closed; then the caller loads the current
    /// generation again.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Pass<R>> {
        self.gate.try_enter().then(|| Pass(Arc::clone(self)))
    }

    /// Calls inside at this moment.
    pub(crate) fn in_flight(&self) -> usize {
        self.gate.inside()
    }

    fn announce(&self, after: After) {
        if after == After::Empty {
            self.empty.cancel();
        }
    }
}

/// One call's stay in a generation: while it exists, the generation is not drained.
///
/// It travels with the call to its very end, which for a streamed answer is the last byte.
#[derive(Debug)]
pub(crate) struct Pass<R>(Arc<Generation<R>>);

impl<R> Deref for Pass<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0.ready
    }
}

impl<R> Pass<R> {
    /// Which generation this call is in.
    pub(crate) fn serving(&self) -> Serving {
        self.0.serving()
    }

    /// Cancelled when this call must end because the drain deadline has passed.
    pub(crate) fn cut(&self) -> &CancellationToken {
        &self.0.retirement.cut
    }
}

impl<R> Drop for Pass<R> {
    fn drop(&mut self) {
        let after = self.0.gate.leave();
        self.0.announce(after);
    }
}
