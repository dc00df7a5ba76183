//! A handler: the stable name that calls are routed to, over all its generations.

mod active;
mod admission;
mod obstacle;
mod report;
mod stays;
pub(crate) mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::config::{Binding, HandlerConfig, Policy, Settings};
use crate::error::StageError;
use crate::events::Serving;
use crate::generation::{Pass, Place};
use crate::id::{HandlerName, RequestId};
use crate::limit::Limit;
pub(crate) use active::{ActiveCell, Hold};
use admission::Admission;
pub(crate) use admission::{Admitted, Everywhere, Refused};
pub use obstacle::Obstacle;
pub(crate) use report::{Begun, CallReport};
pub(crate) use stays::Staying;

/// See the [module](self). Shared by the data plane, which enters calls, and by the handler's
/// supervisor, which publishes generations.
#[derive(Debug)]
pub(crate) struct Handler<R> {
    name: HandlerName,
    binding: ArcSwap<Binding>,
    policy: Arc<ArcSwap<Policy>>,
    /// The settings that the handler is configured with. A swap uses them unless its request names others.
    configured: ArcSwap<Settings>,
    /// The outgoing requests of all its versions.
    outgoing: Arc<Limit>,
    active: ActiveCell<R>,
    admission: Admission,
    /// What the version that serves runs with; what is configured before there is one.
    settings: ArcSwap<Settings>,
    /// Longest time a call waits for the first generation.
    first_timeout: Duration,
    /// When the runtime began to shut down: the handler's drain counts from here.
    ending_since: OnceLock<tokio::time::Instant>,
}

/// A call that may run: admitted, and inside a generation until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered<R> {
    // Fields drop in this order: the generation is left before the place is given to a waiting
    // call, which then finds the count of its own generation only.
    pub(crate) pass: Pass<R>,
    _admitted: Admitted,
}

impl<R> AsRef<Pass<R>> for Entered<R> {
    fn as_ref(&self) -> &Pass<R> {
        &self.pass
    }
}

/// Why a call did not get to run.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum EnterError {
    #[error("{}", saturated(handler, limit))]
    Saturated { handler: HandlerName, limit: Refused },
    #[error("handler `{handler}` has no active generation yet")]
    NothingActive { handler: HandlerName, why: Option<Arc<Obstacle>> },
    #[error("failed to load the code of handler `{handler}` again")]
    NotLoaded { handler: HandlerName, serving: Serving, waited: Duration, source: Arc<StageError> },
}

/// What is said, wherever it is said, of a call that found no place.
fn saturated(handler: &HandlerName, limit: &Refused) -> String {
    if limit.is_of_host() {
        format!("the host is at its limit, so handler `{handler}` took no call: {limit}")
    } else {
        format!("handler `{handler}` is at its limit: {limit}")
    }
}

impl<R> Handler<R> {
    pub(crate) fn new(
        config: HandlerConfig,
        everywhere: Everywhere,
        first_timeout: Duration,
    ) -> Self {
        let admission = Admission::new(&config, everywhere);
        let HandlerConfig { name, binding, settings, policy } = config;
        let configured = Arc::new(settings);
        Self {
            name,
            binding: ArcSwap::from_pointee(binding),
            outgoing: Arc::new(Limit::new(policy.outgoing)),
            policy: Arc::new(ArcSwap::from_pointee(policy)),
            settings: ArcSwap::new(Arc::clone(&configured)),
            configured: ArcSwap::new(configured),
            active: ActiveCell::new(),
            admission,
            first_timeout,
            ending_since: OnceLock::new(),
        }
    }

    pub(crate) fn name(&self) -> &HandlerName {
        &self.name
    }

    /// Which calls reach the handler.
    pub(crate) fn binding(&self) -> Arc<Binding> {
        self.binding.load_full()
    }

    /// Has these calls reach the handler, for whoever replaces the table.
    pub(crate) fn bind(&self, binding: &Binding) {
        self.binding.store(Arc::new(binding.clone()));
    }

    /// Whether an event of type `event_type` is meant for the handler.
    pub(crate) fn accepts_type(&self, event_type: &str) -> bool {
        self.binding.load().accepts_type(event_type)
    }

    /// The handler's limits on calls, and its rules for swapping and judging versions.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// The same as it is whenever it is looked at.
    pub(crate) fn live_policy(&self) -> Arc<ArcSwap<Policy>> {
        Arc::clone(&self.policy)
    }

    /// Has `policy` hold from now on. What has begun goes on with what it began with.
    pub(crate) fn set_policy(&self, policy: &Policy) {
        self.policy.store(Arc::new(policy.clone()));
        self.admission.set(policy);
        self.outgoing.set(policy.outgoing);
    }

    /// The limit of the outgoing requests of all versions of the handler.
    pub(crate) fn outgoing(&self) -> Arc<Limit> {
        Arc::clone(&self.outgoing)
    }

    /// The settings that the handler is configured with. A swap uses them unless its request names others.
    pub(crate) fn configured(&self) -> Arc<Settings> {
        self.configured.load_full()
    }

    /// Has versions run with `settings` where nobody says otherwise. What serves goes on as it is.
    pub(crate) fn configure(&self, settings: &Settings) {
        self.configured.store(Arc::new(settings.clone()));
    }

    /// What the version that serves runs with; what is configured before there is one.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// Whether the handler's calls go to one instance, one at a time.
    pub(crate) fn is_single(&self) -> bool {
        self.admission.is_single()
    }

    /// Longest time of a call of the version that serves.
    pub(crate) fn timeout(&self) -> Duration {
        self.settings.load().timeout
    }

    /// The version that is published next runs with `settings`.
    pub(crate) fn runs_with(&self, settings: &Arc<Settings>) {
        self.settings.store(Arc::clone(settings));
    }

    /// Starts the clock of the handler's drain, unless it runs already. Calls are let in as before.
    pub(crate) fn begin_ending(&self) {
        let _ = self.ending_since.get_or_init(tokio::time::Instant::now);
    }

    /// Time that calls of a generation that is closed now get to end.
    pub(crate) fn drain(&self) -> Duration {
        self.policy.load().drain.saturating_sub(self.ending_for())
    }

    /// Time since the clock of the handler's drain was started; zero as long as it was not.
    pub(crate) fn ending_for(&self) -> Duration {
        self.ending_since.get().map_or(Duration::ZERO, tokio::time::Instant::elapsed)
    }

    /// The swap point, for the supervisor.
    pub(crate) fn active(&self) -> &ActiveCell<R> {
        &self.active
    }

    /// A call that was let in, and that may have to give way to those that wait: it streams its answer, or
    /// waits for its client's body.
    pub(crate) fn stay(&self, streams: bool) -> Staying {
        self.admission.stay(streams)
    }

    /// What is active now, for messages.
    pub(crate) fn serving(&self) -> Option<Serving> {
        self.active.serving()
    }
}

impl<R: Send + Sync + 'static> Handler<R> {
    /// Lets one call in: its turn among the running calls, then the generation that is active when
    /// the turn comes.
    ///
    /// # Errors
    ///
    /// [`EnterError`] when the queue is full or nothing became active in time.
    pub(crate) fn enter(&self) -> impl Future<Output = Result<Entered<R>, EnterError>> {
        self.enter_with(None)
    }

    /// The same for a call that may have been `admitted`.
    ///
    /// # Errors
    ///
    /// Those of [`enter`](Self::enter).
    pub(crate) async fn enter_with(
        &self,
        admitted: Option<Admitted>,
    ) -> Result<Entered<R>, EnterError> {
        // Most calls wait for nothing, so that whoever makes one after the other would keep its
        // thread from all other tasks.
        tokio::task::coop::consume_budget().await;
        // Most calls find a place at once, and the future that waits for one would be moved.
        let admitted = match admitted.or_else(|| self.admission.try_admit()) {
            Some(admitted) => admitted,
            None => self.wait_for_turn().await?,
        };
        let place = match self.active.try_enter() {
            Some(place) => place,
            None => self.enter_first().await?,
        };
        let pass = match place.with_code() {
            Ok(pass) => pass,
            Err(place) => self.load_again(place).await?,
        };
        Ok(Entered { pass, _admitted: admitted })
    }

    /// Admits a call as soon as there is a place that nobody waits for in the queue; the caller bounds it.
    ///
    /// # Cancel safety
    ///
    /// Nothing is admitted when this is dropped before it is ready.
    pub(crate) async fn admit_last(&self) -> Admitted {
        self.admission.admit_last().await
    }

    async fn wait_for_turn(&self) -> Result<Admitted, EnterError> {
        let admitted = self.admission.admit().await;
        admitted.map_err(|limit| EnterError::Saturated { handler: self.name().clone(), limit })
    }

    async fn enter_first(&self) -> Result<Place<R>, EnterError> {
        match tokio::time::timeout(self.first_timeout, self.active.enter()).await {
            Ok(Some(place)) => Ok(place),
            _ => {
                let (handler, why) = (self.name().clone(), self.active.obstacle());
                Err(EnterError::NothingActive { handler, why })
            }
        }
    }

    /// The code left memory while nobody called. Bounded by the compiler's own timeout.
    async fn load_again(&self, place: Place<R>) -> Result<Pass<R>, EnterError> {
        let (serving, started) = (place.serving(), Instant::now());
        place.load_code().await.map_err(|source| EnterError::NotLoaded {
            handler: self.name().clone(),
            serving,
            waited: started.elapsed(),
            source: Arc::new(source),
        })
    }
}

/// Numbers the requests of a process.
#[derive(Debug, Default)]
pub(crate) struct RequestIds(AtomicU64);

impl RequestIds {
    pub(crate) fn next(&self) -> RequestId {
        // Ordering: only uniqueness matters.
        RequestId(self.0.fetch_add(1, Ordering::Relaxed))
    }
}
