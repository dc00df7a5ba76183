//! How a handler stands, and what became of each of its generations.

use serde::{Serialize, Serializer};

use super::control::ControlError;
use super::handle::HandlerHandle;
use crate::config::{InstanceMode, Route};
use crate::events::Serving;
use crate::history::{Outcome, Record};
use crate::id::{GenerationNumber, HandlerName};

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

impl HandlerHandle {
    /// How the handler stands.
    #[must_use]
    pub fn status(&self) -> HandlerStatus {
        let (handler, supervisor) = (&self.inner.handler, &self.inner.supervisor);
        let serving = handler.serving();
        let is_lazy = supervisor.is_lazy();
        let problem = match serving {
            None if is_lazy => supervisor.problem(),
            None => handler.obstacle().map(|obstacle| obstacle.error.clone()),
            Some(_) => None,
        };
        let (verdict, rolled_back) = match serving {
            Some(serving) => self.standing(serving.generation),
            // Nobody asks for the history of a handler that was never called.
            None => (None, None),
        };
        HandlerStatus {
            name: handler.name().clone(),
            route: handler.binding().route.clone(),
            instances: handler.settings().instances,
            serving,
            in_flight: handler.in_flight(),
            draining: supervisor.draining(),
            is_confirmed: verdict == Some(Verdict::Confirmed),
            verdict,
            rolled_back,
            not_kept: supervisor.not_kept().map(|problem| problem.reason),
            is_lazy,
            problem,
        }
    }

    /// What became of each version of the handler, newest first.
    #[must_use]
    pub fn history(&self) -> Vec<Record> {
        self.inner.supervisor.look(|history| history.records().to_vec())
    }

    /// How generation `number` of the handler stands, or how it ended.
    ///
    /// # Errors
    ///
    /// [`ControlError::UnknownGeneration`] when nothing is written down about such a generation, or not
    /// any more.
    pub fn generation(&self, number: GenerationNumber) -> Result<GenerationStatus, ControlError> {
        let (record, newest) = self
            .inner
            .supervisor
            .look(|history| (history.find(number).cloned(), history.last_number()));
        let handler = self.name().clone();
        let Some(record) = record else {
            return Err(ControlError::UnknownGeneration { handler, generation: number, newest });
        };
        let why = match &record.outcome {
            Outcome::RolledBack { reason } => Some(reason.clone()),
            Outcome::Rejected { error, .. } => Some(error.clone()),
            _ => None,
        };
        Ok(GenerationStatus {
            handler,
            verdict: self.verdict(&record),
            why,
            is_serving: self.serving().is_some_and(|it| it.generation == number),
            record,
        })
    }

    /// What became of `generation`, which serves, and what was rolled back for it.
    fn standing(&self, generation: GenerationNumber) -> (Option<Verdict>, Option<RolledBack>) {
        let (own, before) = self.inner.supervisor.look(|history| {
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
            Outcome::Published if self.inner.supervisor.on_trial() == Some(record.generation) => {
                Verdict::Probation
            }
            Outcome::Published => Verdict::Published,
            Outcome::Confirmed => Verdict::Confirmed,
            Outcome::RolledBack { .. } => Verdict::RolledBack,
            Outcome::Rejected { .. } => Verdict::Rejected,
        }
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
