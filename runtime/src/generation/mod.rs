//! A generation: one immutable, numbered version of a handler, and the calls inside it.

mod code;
mod drain;
mod gate;
mod latency;
mod tally;
/// The atomics of [`gate`], under a name that the model test can replace.
mod sync {
    pub(super) use std::sync::atomic::{AtomicUsize, Ordering};
}

use std::ops::Deref;
use std::sync::{Arc, Weak};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::artifact::{Lease, Tenant};
use crate::error::StageError;
use crate::events::Serving;
use crate::id::{Digest, GenerationNumber};
use code::Code;
pub(crate) use code::{Loaded, Reload};
pub(crate) use gate::Entry;
use gate::{After, Gate};
#[cfg(test)]
pub(crate) use latency::Histogram;
pub(crate) use latency::{Counted, LOADS, fewest};
pub(crate) use tally::{Counts, Judge, Sample, Tally};

/// Tells those who run calls of a generation that it ends: first those who wait for a further call,
/// at the drain deadline all of them.
///
/// Made before the generation, since what is staged already needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retirement {
    /// Cancelled when the generation is closed: a worker ends with the calls it has.
    pub(crate) retiring: CancellationToken,
    /// Cancelled at the drain deadline: calls in flight end too.
    pub(crate) cut: CancellationToken,
}

impl Retirement {
    /// The same for one of the generation's codes, which may end before the generation does.
    pub(crate) fn of_code(&self) -> Self {
        Self { retiring: self.retiring.child_token(), cut: self.cut.clone() }
    }
}

/// See the [module](self). `R` is the ready form: linked, checked, able to take calls.
#[derive(Debug)]
pub(crate) struct Generation<R> {
    number: GenerationNumber,
    digest: Digest,
    code: Code<R>,
    retirement: Retirement,
    gate: Gate,
    /// Told whenever a call leaves a gate that admits nobody and leaves it empty.
    emptied: Notify,
    tally: Arc<Tally>,
}

impl<R: Send + Sync + 'static> Generation<R> {
    /// A generation that admits calls; it is published by its handler's supervisor only. Without
    /// `reload` it keeps its code for good.
    pub(crate) fn new(
        number: GenerationNumber,
        digest: Digest,
        loaded: Loaded<R>,
        retirement: Retirement,
        reload: Option<Reload<R>>,
    ) -> Arc<Self> {
        let (gate, emptied, tally) = (Gate::default(), Notify::new(), Arc::default());
        let code = Code::new(loaded, reload);
        let generation = Arc::new(Self { number, digest, code, retirement, gate, emptied, tally });
        if let Some(loaded) = generation.code.peek() {
            generation.move_in(&loaded);
        }
        generation
    }

    /// Goes on with `loaded`, which is the same component compiled otherwise.
    pub(crate) fn replace_code(self: &Arc<Self>, loaded: Loaded<R>) {
        let loaded = Arc::new(loaded);
        self.move_in(&loaded);
        self.code.replace(loaded);
    }

    fn move_in(self: &Arc<Self>, loaded: &Loaded<R>) {
        if let Some(lease) = loaded.lease() {
            lease.moved_in(self.as_tenant());
        }
    }

    fn as_tenant(self: &Arc<Self>) -> Weak<dyn Tenant> {
        let this: Weak<Self> = Arc::downgrade(self);
        this
    }
}

impl<R> Generation<R> {
    /// Number and digest, for messages and headers.
    pub(crate) fn serving(&self) -> Serving {
        Serving { generation: self.number, digest: self.digest }
    }

    /// A lease on the code, if it is loaded, that keeps it at hand for a way back.
    pub(crate) fn spare(&self) -> Option<Lease> {
        Some(self.code.peek()?.lease()?.spare())
    }

    /// The code, if it is loaded. That is no call and no use of it.
    pub(crate) fn peek(&self) -> Option<Arc<Loaded<R>>> {
        self.code.peek()
    }

    /// How its calls went.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Lets one call in, unless this generation was closed; then the caller loads the current
    /// generation again. When it is held, the caller waits for what comes of that.
    ///
    /// # Errors
    ///
    /// [`Entry::Held`] or [`Entry::Closed`].
    pub(crate) fn try_enter(self: &Arc<Self>) -> Result<Place<R>, Entry> {
        match self.gate.try_enter() {
            Entry::Inside => Ok(Place(Arc::clone(self))),
            refused => Err(refused),
        }
    }

    /// Admits nobody from now on; its successor is active.
    pub(crate) fn close(&self) {
        if self.gate.close() == After::Empty {
            self.emptied.notify_waiters();
        }
    }

    /// Admits nobody until [`release`](Self::release); calls inside go on.
    pub(crate) fn hold(&self) {
        self.gate.hold();
    }

    /// Admits calls again, which whoever waits has to be told.
    pub(crate) fn release(&self) {
        self.gate.release();
    }

    /// Waits until nobody is inside. Without a held or closed gate the next call may be inside when
    /// this is ready.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, dropped or not.
    pub(crate) async fn emptied(&self) {
        loop {
            // Registered before the look, so that a call that leaves in between is not missed.
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.gate.inside() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// Calls inside at this moment.
    pub(crate) fn in_flight(&self) -> usize {
        self.gate.inside()
    }
}

impl<R: Send + Sync> Tenant for Generation<R> {
    fn was_used(&self) -> bool {
        self.code.take_used()
    }

    fn vacate(&self) -> bool {
        self.in_flight() == 0 && self.code.vacate()
    }
}

/// A call's place inside a generation: while it exists, the generation is not drained.
#[derive(Debug)]
pub(crate) struct Place<R>(Arc<Generation<R>>);

impl<R> Place<R> {
    /// The call with the code it runs, if that is loaded.
    pub(crate) fn with_code(self) -> Result<Pass<R>, Self> {
        match self.0.code.get() {
            Some(code) => Ok(Pass { code, place: self, since: Instant::now() }),
            None => Err(self),
        }
    }

    /// What this call is in.
    pub(crate) fn serving(&self) -> Serving {
        self.0.serving()
    }
}

impl<R: Send + Sync + 'static> Place<R> {
    /// The call with the code it runs, which is loaded first.
    ///
    /// # Errors
    ///
    /// Why the code could not be loaded again.
    ///
    /// # Cancel safety
    ///
    /// The call leaves the generation.
    pub(crate) async fn load_code(self) -> Result<Pass<R>, StageError> {
        let generation = &self.0;
        let move_in = |lease: &Lease| lease.moved_in(generation.as_tenant());
        let code = generation.code.load(&generation.retirement, move_in).await?;
        Ok(Pass { code, place: self, since: Instant::now() })
    }
}

impl<R> Drop for Place<R> {
    fn drop(&mut self) {
        self.0.tally.called();
        match self.0.gate.leave() {
            After::Empty | After::AtRest => self.0.emptied.notify_waiters(),
            // Nobody waits on an open gate.
            After::Other => {}
        }
    }
}

/// One call's stay in a generation, with the code it runs.
///
/// It travels with the call to its very end, which for a streamed answer is the last byte.
#[derive(Debug)]
pub(crate) struct Pass<R> {
    // Dropped in this order, so that a drained generation has no code in use.
    code: Arc<Loaded<R>>,
    place: Place<R>,
    since: Instant,
}

impl<R> Deref for Pass<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.code.ready
    }
}

impl<R> Pass<R> {
    /// Which generation this call is in.
    pub(crate) fn serving(&self) -> Serving {
        self.place.serving()
    }

    /// When this call began to run.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Calls that are inside at this moment, this one among them.
    pub(crate) fn in_flight(&self) -> usize {
        self.place.0.in_flight()
    }

    /// How the calls of this generation went, to be told of a failure.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        self.place.0.tally()
    }

    /// Cancelled when this call must end because the drain deadline has passed.
    pub(crate) fn cut(&self) -> &CancellationToken {
        &self.place.0.retirement.cut
    }
}
