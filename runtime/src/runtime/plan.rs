//! A plan: the handlers that a runtime is to have, and the outcome of applying the plan.

use std::collections::BTreeMap;

use crate::artifact::Source;
use crate::config::HandlerConfig;
use crate::error::{Hint as _, Rejected, chain};
use crate::events::{PlanChange, PlanReport, StateOutcome};
use crate::id::HandlerName;

/// The handlers that a runtime is to have, for [`Runtime::apply`](crate::Runtime::apply): all of those whose
/// components wrt serves. A handler that is not named here is taken away.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Plan {
    /// The handlers, in any order.
    pub handlers: Vec<Planned>,
    /// Whether a version that was rolled back may be published once more.
    pub is_again: bool,
}

/// One handler of a [`Plan`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Planned {
    /// Everything that is chosen about the handler.
    pub config: HandlerConfig,
    /// The component that the handler is to run. `None` where somebody else loads it, such as a
    /// `dev::Session`; only settings are then swapped.
    pub source: Option<Source>,
    /// Whether a handler that runs nothing yet waits for its first call with its component.
    pub is_lazy: bool,
    /// Whether other settings wait for the component that somebody else loads, because that is another one,
    /// too.
    pub waits_with_settings: bool,
}

impl Plan {
    /// A plan of these handlers.
    pub fn new(handlers: impl IntoIterator<Item = Planned>) -> Self {
        Self { handlers: handlers.into_iter().collect(), is_again: false }
    }

    /// The same although a component may have been rolled back with these settings. Otherwise that is
    /// refused until its bytes or its settings change.
    #[must_use]
    pub fn again(mut self) -> Self {
        self.is_again = true;
        self
    }
}

impl Planned {
    /// A handler whose component somebody else loads.
    #[must_use]
    pub fn new(config: HandlerConfig) -> Self {
        Self { config, source: None, is_lazy: false, waits_with_settings: false }
    }

    /// The same with the component of `source`.
    #[must_use]
    pub fn with_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The same whose settings come with the component that somebody else loads: what serves goes on with its
    /// own until then.
    #[must_use]
    pub fn with_settings_later(mut self) -> Self {
        self.waits_with_settings = true;
        self
    }

    /// The same, put off until the first call wants it, if the handler runs nothing yet.
    #[must_use]
    pub fn lazily(mut self) -> Self {
        self.is_lazy = true;
        self
    }
}

/// The outcome of applying a [`Plan`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The change of each handler that the plan names, and of each handler that the plan removes.
    pub handlers: BTreeMap<HandlerName, Change>,
}

/// The change that a plan made to one handler.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change {
    /// The handler is new.
    Added,
    /// The handler is what it was.
    Unchanged,
    /// The handler goes by the plan now.
    Changed {
        /// What differs from before, by its keys in the manifest; empty where only the component does.
        keys: Vec<&'static str>,
        /// What became of the handler's state, where a version was swapped in.
        state: Option<StateOutcome>,
    },
    /// The handler was taken away, and its calls drain.
    Removed,
    /// A newer request for the handler came before its component was published, and holds in its place.
    Superseded,
    /// The handler's component does not run with these settings, or cannot be loaded. Its routes, and what
    /// holds over all of its versions, are those of the plan; the version that served before goes on.
    Refused {
        /// Why, and what serves.
        rejected: Rejected,
        /// What differs from before all the same, by its keys in the manifest.
        keys: Vec<&'static str>,
    },
}

impl Applied {
    /// Whether every handler is what it was.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.handlers.values().all(|change| matches!(change, Change::Unchanged))
    }

    /// The same as the event that tells of it.
    #[must_use]
    pub fn report(&self) -> PlanReport {
        let change = |change: &Change| match change {
            Change::Unchanged => None,
            Change::Added => Some(PlanChange::Added),
            Change::Removed => Some(PlanChange::Removed),
            Change::Superseded => Some(PlanChange::Superseded),
            Change::Changed { keys, state } => {
                Some(PlanChange::Changed { keys: keys.clone(), state: *state })
            }
            Change::Refused { rejected, keys } => Some(PlanChange::Refused {
                error: chain(&rejected.source),
                hints: rejected.source.hints(),
                keys: keys.clone(),
                serving: rejected.serving,
            }),
        };
        let changes = self.handlers.iter();
        PlanReport::of(changes.filter_map(|(name, it)| Some((name.clone(), change(it)?))).collect())
    }

    /// The handlers that do not go by the plan, each with the reason.
    pub fn refused(&self) -> impl Iterator<Item = &Rejected> {
        self.handlers.values().filter_map(|change| match change {
            Change::Refused { rejected, .. } => Some(rejected),
            _ => None,
        })
    }
}
