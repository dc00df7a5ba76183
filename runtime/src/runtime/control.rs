//! Handlers by name, for whoever controls a runtime from outside: status, swap, rollback, confirm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::Runtime;
use crate::config::{HandlerConfig, InstanceMode, Route};
use crate::error::{Hint, Rejected, StageError};
use crate::events::Serving;
use crate::handler::{Handler, Obstacle};
use crate::history::{HandlerHistory, NotKept, Outcome, Record};
use crate::id::{GenerationNumber, HandlerName};
use crate::supervisor::{RollbackRequest, Stop, SupervisorHandle, Swap, SwapRequest};

/// Names that a hint lists at most: more is no hint.
const MAX_NAMES: usize = 10;

/// How a handler stands, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HandlerStatus {
    /// Its name.
    pub name: HandlerName,
    /// Which request paths reach it; none when only the embedder calls it.
    #[serde(serialize_with = "route")]
    pub route: Option<Route>,
    /// How its instances are used.
    #[serde(serialize_with = "instances")]
    pub instances: InstanceMode,
    /// What answers its calls; nothing before the first generation.
    pub serving: Option<Serving>,
    /// Calls inside the active generation, streamed responses included.
    pub in_flight: usize,
    /// Replaced generations whose calls have not ended yet.
    pub draining: usize,
    /// Whether what serves is the version to start with.
    pub is_confirmed: bool,
    /// What became of the version that serves, so far.
    pub verdict: Option<Verdict>,
    /// The generation that was rolled back for the one that serves, if that is how it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<RolledBack>,
    /// Why what becomes of its versions is not on the disk, where it should be: a restart would not know
    /// of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_kept: Option<String>,
    /// Whether its first component waits for a first call, so that it is ready without one.
    pub is_lazy: bool,
    /// Why a call would find nothing to run: the first component was refused or did not build. For a
    /// handler that waits for a first call: its file cannot be read or is no component, or was refused and
    /// has not changed since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What became of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// It serves, and is observed.
    Probation,
    /// It serves, or did until another took its place; nobody has vouched for it.
    Published,
    /// It has proved itself, or somebody has vouched for it.
    Confirmed,
    /// It was published and taken back.
    RolledBack,
    /// It never answered a call.
    Rejected,
}

/// A generation that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RolledBack {
    /// Its number.
    pub generation: GenerationNumber,
    /// Why, in words.
    pub why: String,
}

/// How one generation of a handler stands, or how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct GenerationStatus {
    /// The handler.
    pub handler: HandlerName,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it was rolled back, or rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether it answers the handler's calls.
    pub is_serving: bool,
    /// What is written down about it.
    pub record: Record,
}

impl HandlerStatus {
    /// Whether a call would be answered, as far as is known without loading anything.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.serving.is_some() || self.is_lazy && self.problem.is_none()
    }
}

/// A handler was not controlled as it was asked; what was serving still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// There is no such handler.
    #[error("unknown handler `{handler}`")]
    Unknown {
        /// The name.
        handler: HandlerName,
        /// The names that there are.
        known: Vec<HandlerName>,
    },
    /// Nothing is written down about such a generation.
    #[error("unknown generation {generation} of handler `{handler}`")]
    UnknownGeneration {
        /// The handler.
        handler: HandlerName,
        /// The number that was asked for.
        generation: GenerationNumber,
        /// The newest number that there is.
        newest: Option<GenerationNumber>,
    },
    /// The candidate was refused.
    #[error(transparent)]
    Rejected(Rejected),
    /// The handler's supervisor has ended, so that nothing can be confirmed any more.
    #[error("failed to confirm the active generation of `{handler}`")]
    NotConfirmed {
        /// The handler.
        handler: HandlerName,
        /// What answers its calls.
        serving: Option<Serving>,
        /// How the supervisor ended.
        source: StageError,
    },
    /// Nothing is active that could be confirmed.
    #[error("`{handler}` has no active generation to confirm")]
    NothingToConfirm {
        /// The handler.
        handler: HandlerName,
    },
}

impl ControlError {
    /// What answers the handler's calls, in spite of the error.
    #[must_use]
    pub fn serving(&self) -> Option<Serving> {
        match self {
            Self::Rejected(rejected) => rejected.serving,
            Self::NotConfirmed { serving, .. } => *serving,
            Self::Unknown { .. }
            | Self::UnknownGeneration { .. }
            | Self::NothingToConfirm { .. } => None,
        }
    }
}

impl Hint for ControlError {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Unknown { known, .. } if known.is_empty() => {
                "this runtime has no handlers".to_owned()
            }
            Self::Unknown { known, .. } => {
                let names: Vec<_> =
                    known.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
                let others = known.len() - names.len();
                let others =
                    if others > 0 { format!(" and {others} others") } else { String::new() };
                format!("there are {}{others}", names.join(", "))
            }
            Self::UnknownGeneration { newest: Some(newest), .. } => {
                format!("the newest is {newest}; `wrt history` lists those that are known")
            }
            Self::UnknownGeneration { newest: None, .. } => {
                "the handler has none yet: load a component first".to_owned()
            }
            Self::Rejected(rejected) => return rejected.source.hints(),
            Self::NotConfirmed { source, .. } => return source.hints(),
            Self::NothingToConfirm { .. } => {
                "load a component first, or wait until its first one is ready".to_owned()
            }
        };
        vec![hint]
    }
}

/// What is read of a handler whatever its calls look like.
trait Observed: Send + Sync {
    fn config(&self) -> &HandlerConfig;
    fn serving(&self) -> Option<Serving>;
    fn in_flight(&self) -> usize;
    fn obstacle(&self) -> Option<Arc<Obstacle>>;
    fn begin_ending(&self);
}

impl<R: Send + Sync + 'static> Observed for Handler<R> {
    fn config(&self) -> &HandlerConfig {
        self.config()
    }

    fn serving(&self) -> Option<Serving> {
        self.serving()
    }

    fn in_flight(&self) -> usize {
        self.active().in_flight()
    }

    fn obstacle(&self) -> Option<Arc<Obstacle>> {
        self.active().obstacle()
    }

    fn begin_ending(&self) {
        self.begin_ending();
    }
}

/// A handler as a runtime knows it by name.
pub(super) struct Controlled {
    handler: Arc<dyn Observed>,
    supervisor: Arc<SupervisorHandle>,
    stop: Stop,
    is_lazy: LazyMark,
}

/// Set when the first component of a handler was put off until a first call. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct LazyMark(Arc<AtomicBool>);

impl LazyMark {
    pub(super) fn set(&self) {
        // Ordering, here and below: it is read by people and probes, and guards nothing.
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Controlled {
    pub(super) fn new<R: Send + Sync + 'static>(
        handler: Arc<Handler<R>>,
        supervisor: Arc<SupervisorHandle>,
        stop: Stop,
        is_lazy: LazyMark,
    ) -> Self {
        Self { handler, supervisor, stop, is_lazy }
    }

    /// Ends its supervisor.
    pub(super) fn stop(&self) {
        self.stop.remove();
    }

    /// Waits until its supervisor has ended; returns how many calls were cut for that.
    pub(super) async fn over(&self) -> usize {
        self.supervisor.over().await
    }

    /// Starts the clock of its drain. Returns what stops its supervisor.
    pub(super) fn begin_ending(&self) -> Stop {
        self.handler.begin_ending();
        self.stop.clone()
    }

    /// Time that its calls get to end when the runtime ends.
    pub(super) fn drain(&self) -> Duration {
        self.handler.config().policy.drain
    }

    fn status(&self) -> HandlerStatus {
        let (config, serving) = (self.handler.config(), self.handler.serving());
        let is_lazy = self.is_lazy.is_set();
        let problem = match serving {
            None if is_lazy => self.supervisor.problem(),
            None => self.handler.obstacle().map(|obstacle| obstacle.error.clone()),
            Some(_) => None,
        };
        let (verdict, rolled_back) = match serving {
            Some(serving) => self.standing(serving.generation),
            // Nobody asks for the history of a handler that was never called.
            None => (None, None),
        };
        HandlerStatus {
            name: config.name.clone(),
            route: config.binding.route.clone(),
            instances: config.settings.instances,
            serving,
            in_flight: self.handler.in_flight(),
            draining: self.supervisor.draining(),
            is_confirmed: verdict == Some(Verdict::Confirmed),
            verdict,
            rolled_back,
            not_kept: self.supervisor.not_kept().map(|problem| problem.reason),
            is_lazy,
            problem,
        }
    }

    /// What became of `generation`, which serves, and what was rolled back for it.
    fn standing(&self, generation: GenerationNumber) -> (Option<Verdict>, Option<RolledBack>) {
        let (own, before) = self.supervisor.look(|history| {
            let published = |record: &&Record| !matches!(record.outcome, Outcome::Rejected { .. });
            let mut records = history.records().iter().filter(published);
            let own = records.by_ref().find(|record| record.generation == generation);
            // What is older than all that is known is unknown as well.
            (own.cloned(), own.and_then(|_| records.next()).cloned())
        });
        let verdict = own.map(|record| self.verdict(&record));
        let rolled_back = before.and_then(|record| match record.outcome {
            Outcome::RolledBack { reason } => {
                Some(RolledBack { generation: record.generation, why: reason })
            }
            _ => None,
        });
        (verdict, rolled_back)
    }

    fn verdict(&self, record: &Record) -> Verdict {
        match record.outcome {
            Outcome::Published if self.supervisor.on_trial() == Some(record.generation) => {
                Verdict::Probation
            }
            Outcome::Published => Verdict::Published,
            Outcome::Confirmed => Verdict::Confirmed,
            Outcome::RolledBack { .. } => Verdict::RolledBack,
            Outcome::Rejected { .. } => Verdict::Rejected,
        }
    }

    /// How `generation` stands, or how it ended.
    fn generation(&self, generation: GenerationNumber) -> Option<GenerationStatus> {
        let record = self.supervisor.look(|history| history.find(generation).cloned())?;
        let why = match &record.outcome {
            Outcome::RolledBack { reason } => Some(reason.clone()),
            Outcome::Rejected { error, .. } => Some(error.clone()),
            _ => None,
        };
        Some(GenerationStatus {
            handler: self.supervisor.name().clone(),
            verdict: self.verdict(&record),
            why,
            is_serving: self.handler.serving().is_some_and(|it| it.generation == generation),
            record,
        })
    }

    async fn swap(&self, request: SwapRequest) -> Result<Swap, ControlError> {
        if request.is_lazy {
            self.is_lazy.set();
        }
        self.supervisor.swap(request).await.map_err(ControlError::Rejected)
    }

    fn history(&self) -> HandlerHistory {
        self.supervisor.history()
    }

    async fn roll_back(&self, request: RollbackRequest) -> Result<Swap, ControlError> {
        self.supervisor.roll_back(request).await.map_err(ControlError::Rejected)
    }

    async fn confirm(&self) -> Result<Serving, ControlError> {
        let handler = || self.supervisor.name().clone();
        match self.supervisor.confirm().await {
            Ok(Some(serving)) => Ok(serving),
            Ok(None) => Err(ControlError::NothingToConfirm { handler: handler() }),
            Err(source) => {
                let serving = self.supervisor.serving();
                Err(ControlError::NotConfirmed { handler: handler(), serving, source })
            }
        }
    }
}

impl Runtime {
    /// How every handler stands, in the order of their names.
    #[must_use]
    pub fn statuses(&self) -> Vec<HandlerStatus> {
        // Looked at outside of the lock.
        let known: Vec<_> = self.handlers().values().cloned().collect();
        known.iter().map(|known| known.status()).collect()
    }

    /// How the handler called `name` stands; `None` when there is none.
    #[must_use]
    pub fn status(&self, name: &HandlerName) -> Option<HandlerStatus> {
        self.controlled(name).ok().map(|known| known.status())
    }

    /// [`HandlerHandle::request_swap`](crate::HandlerHandle::request_swap) by the handler's name.
    ///
    /// # Errors
    ///
    /// [`ControlError::Unknown`], or [`ControlError::Rejected`] when the candidate was refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the request stands, only its answer is not awaited.
    pub async fn request_swap(
        &self,
        name: &HandlerName,
        request: SwapRequest,
    ) -> Result<Swap, ControlError> {
        self.controlled(name)?.swap(request).await
    }

    /// Publishes an earlier version of the handler as a new generation: version `to`, or the one
    /// before the active one, as [`HandlerHandle::roll_back`](crate::HandlerHandle::roll_back) does.
    ///
    /// # Errors
    ///
    /// [`ControlError`] when there is no such handler or version, or it was refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the request stands, only its answer is not awaited.
    pub async fn rollback(
        &self,
        name: &HandlerName,
        to: Option<GenerationNumber>,
    ) -> Result<Swap, ControlError> {
        self.request_rollback(name, RollbackRequest::new(to)).await
    }

    /// [`Runtime::rollback`] with a cause, or without the state.
    ///
    /// # Errors
    ///
    /// As [`Runtime::rollback`].
    ///
    /// # Cancel safety
    ///
    /// As [`Runtime::rollback`].
    pub async fn request_rollback(
        &self,
        name: &HandlerName,
        request: RollbackRequest,
    ) -> Result<Swap, ControlError> {
        self.controlled(name)?.roll_back(request).await
    }

    /// Makes what serves the version to start with.
    ///
    /// # Errors
    ///
    /// [`ControlError`] when there is no such handler, or nothing is active.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the request stands, only its answer is not awaited.
    pub async fn confirm(&self, name: &HandlerName) -> Result<Serving, ControlError> {
        self.controlled(name)?.confirm().await
    }

    /// Waits until what became of each version of the handler is on the disk. Ready at once where there
    /// is no [`state_dir`](crate::RuntimeConfig::state_dir), or no such handler.
    ///
    /// # Errors
    ///
    /// [`NotKept`] when the disk has refused it or has not answered for 5 s, or the directory cannot be
    /// used at all. What was asked of the handler is done all the same, and what the disk refused is tried
    /// again.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same.
    pub async fn history_kept(&self, name: &HandlerName) -> Result<(), NotKept> {
        let Ok(known) = self.controlled(name) else { return Ok(()) };
        if let Some(problem) = self.history_problem() {
            return Err(NotKept::new(name, problem));
        }
        match known.supervisor.flush().await {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// What became of each version of the handler, newest first; `None` when there is no such
    /// handler.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, dropped or not.
    pub async fn history(&self, name: &HandlerName) -> Option<Vec<Record>> {
        Some(self.controlled(name).ok()?.history().records().to_vec())
    }

    /// Compiles what waits for the first call of the handler called `name` into the cache directory,
    /// unless nothing waits or its code is there; on a thread that gives way to everything else. A
    /// component that cannot be compiled makes the handler not ready, with that reason, until its file
    /// changes or a call loads it; what may pass by itself, such as a compiler that is too busy, does not.
    ///
    /// # Errors
    ///
    /// [`ControlError`] when there is no such handler, or what waits cannot be read or compiled.
    ///
    /// # Cancel safety
    ///
    /// What was begun goes on.
    pub async fn compile_ahead(&self, name: &HandlerName) -> Result<(), ControlError> {
        let known = self.controlled(name)?;
        let Some(source) = known.supervisor.waits_for_a_call() else { return Ok(()) };
        let then = known.supervisor.stamp();
        let Err(source) = self.precompile(source, true).await else { return Ok(()) };
        known.supervisor.cannot_load(&source, then);
        let serving = known.handler.serving();
        Err(ControlError::Rejected(Rejected { handler: name.clone(), serving, source }))
    }

    /// How generation `number` of the handler stands, or how it ended.
    ///
    /// # Errors
    ///
    /// [`ControlError::Unknown`] when there is no such handler, and [`ControlError::UnknownGeneration`]
    /// when nothing is written down about such a generation, or not any more.
    pub fn generation(
        &self,
        name: &HandlerName,
        number: GenerationNumber,
    ) -> Result<GenerationStatus, ControlError> {
        let known = self.controlled(name)?;
        let unknown = || {
            let newest = known.supervisor.look(HandlerHistory::last_number);
            let handler = name.clone();
            ControlError::UnknownGeneration { handler, generation: number, newest }
        };
        known.generation(number).ok_or_else(unknown)
    }

    /// Whether there is a handler called `name`.
    ///
    /// # Errors
    ///
    /// [`ControlError::Unknown`] when there is none.
    #[cfg(feature = "admin")]
    pub(crate) fn expect_handler(&self, name: &HandlerName) -> Result<(), ControlError> {
        self.controlled(name).map(drop)
    }

    fn controlled(&self, name: &HandlerName) -> Result<Arc<Controlled>, ControlError> {
        let handlers = self.handlers();
        handlers.get(name).cloned().ok_or_else(|| {
            let known = handlers.keys().cloned().collect();
            ControlError::Unknown { handler: name.clone(), known }
        })
    }
}

// The signature is serde's.
fn route<S: Serializer>(route: &Option<Route>, serializer: S) -> Result<S::Ok, S::Error> {
    match route {
        Some(route) => serializer.collect_str(route),
        None => serializer.serialize_none(),
    }
}

fn instances<S: Serializer>(mode: &InstanceMode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match mode {
        InstanceMode::Fresh => "fresh",
        InstanceMode::Pooled { .. } => "pooled",
        InstanceMode::Singleton => "singleton",
    })
}
