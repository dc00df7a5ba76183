//! Makes a runtime's handlers what a plan says: the one place that changes the set of handlers as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::handle::{AnyHandler, HandlerHandle};
use super::plan::{Applied, Change, Plan, Planned};
use super::{AddError, Boots, Runtime};
use crate::config::HandlerConfig;
use crate::error::{Hint as _, Rejected, StageError, chain};
use crate::events::{EventKind, PlanChange, PlanReport};
use crate::handler::Handler;
use crate::handler::table::{RouteTable, TableError};
use crate::id::HandlerName;
use crate::instance::Served;
use crate::supervisor::{Swap, SwapRequest};

/// A handler of a plan after its part of the table, and what is left to do for it.
struct Placed {
    name: HandlerName,
    is_new: bool,
    /// The manifest's keys whose values the plan changes.
    keys: Vec<&'static str>,
    /// That of it which holds whatever becomes of the component.
    kept_keys: Vec<&'static str>,
    handle: HandlerHandle,
    /// What becomes of its component, if anything was asked for.
    answer: Option<oneshot::Receiver<Result<Swap, Rejected>>>,
}

impl Runtime {
    /// Makes the handlers of this runtime those of `plan`: adds, changes and removes as needed. Routes
    /// change all at once. What holds over all versions of a handler changes at once as well, and calls that
    /// are under way go on with what they began with. Other settings are swapped in, as
    /// [`SwapRequest::settings`] does. Handlers that are removed drain. No request fails for any of that.
    ///
    /// Handlers of [`Runtime::add_plugin`] are the embedder's, and no part of a plan.
    ///
    /// Ready when every component is loaded or refused. Of two plans that are applied at once, the later
    /// one holds.
    ///
    /// ```no_run
    /// # async fn example(runtime: wrt::Runtime) -> Result<(), Box<dyn std::error::Error>> {
    /// use wrt::{HandlerConfig, HandlerName, Plan, Planned, Route, Source};
    ///
    /// let config = HandlerConfig::new(HandlerName::new("hello")?).with_route(Route::parse("/hello/*")?);
    /// let hello = Planned::new(config).with_source(Source::file("hello.wasm"));
    /// let applied = runtime.apply(Plan::new([hello]), "the manifest was written").await?;
    /// for refused in applied.refused() {
    ///     eprintln!("{refused}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AddError`] when a setting cannot work, or two handlers want one name or one route. Nothing has
    /// changed then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing once it was polled: the plan's handlers and routes are in place
    /// then, and each swap was asked for. Only the event is not emitted.
    pub async fn apply(&self, plan: Plan, cause: impl Into<String>) -> Result<Applied, AddError> {
        let cause = cause.into();
        let placed = self.place(plan, &cause).inspect_err(|error| {
            let kind = EventKind::Plan(PlanReport::refused(chain(error), error.hints()));
            self.inner.shared.bus.emit(None, Some(&cause), kind);
        });
        let (placed, removed) = placed?;
        let mut handlers: BTreeMap<_, _> =
            removed.into_iter().map(|name| (name, Change::Removed)).collect();
        for placed in placed {
            let (name, change) = placed.settled().await;
            handlers.insert(name, change);
        }
        let applied = Applied { handlers };
        self.inner.shared.bus.emit(None, Some(&cause), EventKind::Plan(applied.report()));
        Ok(applied)
    }

    /// What [`apply`](Self::apply) would change, as far as no component is needed to tell; nothing is done.
    ///
    /// # Errors
    ///
    /// As [`apply`](Self::apply).
    pub fn compare(&self, plan: &Plan) -> Result<PlanReport, AddError> {
        let known = self.known();
        let (wanted, _) = self.look(&known, plan.handlers.iter())?;
        let removed = unnamed(&known, plan.handlers.iter());
        let mut changes: BTreeMap<_, _> =
            removed.into_iter().map(|name| (name, PlanChange::Removed)).collect();
        for Wanted { handler, handle, planned } in wanted {
            let change = match handle {
                None => PlanChange::Added,
                Some(_) if planned.config.settings.is_single() != handler.is_single() => {
                    let (error, serving) = (StageError::Singleton, handler.serving());
                    let (keys, _) = difference(&handler, &planned.config);
                    let (error, hints) = (chain(&error), error.hints());
                    PlanChange::Refused { error, hints, keys, serving }
                }
                Some(_) => {
                    let (mut keys, settings) = difference(&handler, &planned.config);
                    keys.extend(settings);
                    if keys.is_empty() {
                        continue;
                    }
                    PlanChange::Changed { keys, state: None }
                }
            };
            changes.insert(planned.config.name.clone(), change);
        }
        Ok(PlanReport::of(changes))
    }

    /// The handlers of a plan, each as it is or as it will be, and the table of their routes.
    ///
    /// # Errors
    ///
    /// Why the plan cannot be.
    fn look<'a>(
        &self,
        known: &BTreeMap<HandlerName, HandlerHandle>,
        handlers: impl Iterator<Item = &'a Planned>,
    ) -> Result<(Vec<Wanted<'a>>, RouteTable<Served>), AddError> {
        self.takes_handlers()?;
        let (mut names, mut wanted) = (BTreeSet::new(), Vec::new());
        for planned in handlers {
            let name = &planned.config.name;
            let check = planned.config.check();
            check.map_err(|source| AddError::Config { handler: name.clone(), source })?;
            let taken = || TableError::SameName { name: name.clone() };
            if !names.insert(name) {
                return Err(taken().into());
            }
            let (handler, handle) = match known.get(name) {
                None => (self.new_handler(planned.config.clone()), None),
                Some(handle) => {
                    let served = served(handle).ok_or_else(taken)?;
                    (Arc::clone(served), Some(handle.clone()))
                }
            };
            wanted.push(Wanted { handler, handle, planned });
        }
        let bindings = wanted.iter().map(|it| (&it.handler, &it.planned.config.binding));
        let table = RouteTable::of(bindings)?;
        Ok((wanted, table))
    }

    /// Everything of `plan` that needs no component: the set of handlers, routes and policies. Returns the
    /// handlers of the plan, and the names of those that were removed.
    ///
    /// # Errors
    ///
    /// Why the plan cannot be; nothing has changed then.
    fn place(&self, plan: Plan, cause: &str) -> Result<(Vec<Placed>, Vec<HandlerName>), AddError> {
        // Held to the end, so that two plans do not mix.
        let mut known = self.known();
        let (wanted, table) = self.look(&known, plan.handlers.iter())?;
        // Nothing fails from here on.
        let removed = unnamed(&known, plan.handlers.iter());
        let wanted = wanted.into_iter().map(|Wanted { handler, handle, planned }| {
            let is_new = handle.is_none();
            let (mut keys, settings) = difference(&handler, &planned.config);
            let request = request(planned, &handler, !settings.is_empty(), cause);
            let request = request.map(|it| if plan.is_again { it.again() } else { it });
            let kept_keys = keys.clone();
            keys.extend(settings);
            let handle = handle.unwrap_or_else(|| {
                let guest = self.served_guest(&handler);
                self.start(guest, &handler, AnyHandler::Served(Arc::clone(&handler)), Boots::No)
            });
            let HandlerConfig { name, binding, settings, policy } = &planned.config;
            handler.bind(binding);
            handler.set_policy(policy);
            handler.configure(settings);
            (Placed { name: name.clone(), is_new, keys, kept_keys, handle, answer: None }, request)
        });
        let wanted: Vec<_> = wanted.collect();
        self.inner.plane.routes.store(Arc::new(table));
        for name in &removed {
            // After the table: a request that found the handler in the one before looks again.
            known.remove(name).into_iter().for_each(|handle| handle.stop());
        }
        // Asked for here, so that the requests of two plans come in the order of the plans.
        let placed = wanted.into_iter().map(|(mut placed, request)| {
            known.insert(placed.name.clone(), placed.handle.clone());
            let supervisor = &placed.handle.inner.supervisor;
            placed.answer = request.map(|request| supervisor.swap_aside(request));
            placed
        });
        Ok((placed.collect(), removed))
    }
}

/// A handler of a plan: the one that is there, or a new one.
struct Wanted<'a> {
    handler: Arc<Handler<Served>>,
    /// `None` for a new one.
    handle: Option<HandlerHandle>,
    planned: &'a Planned,
}

/// The handlers whose components wrt serves, and that a plan does not name.
fn unnamed<'a>(
    known: &BTreeMap<HandlerName, HandlerHandle>,
    handlers: impl Iterator<Item = &'a Planned>,
) -> Vec<HandlerName> {
    let named: BTreeSet<_> = handlers.map(|planned| &planned.config.name).collect();
    let goes = |(name, handle): (&HandlerName, &HandlerHandle)| {
        (!named.contains(name) && served(handle).is_some()).then(|| name.clone())
    };
    known.iter().filter_map(goes).collect()
}

/// The handler behind `handle`, if wrt serves its components.
fn served(handle: &HandlerHandle) -> Option<&Arc<Handler<Served>>> {
    match &handle.inner.handler {
        AnyHandler::Served(handler) => Some(handler),
        AnyHandler::Typed(_) => None,
    }
}

/// What of `config` differs from what `handler` goes by: what holds over all of its versions, and settings.
/// Settings that were refused, or that a rollback has changed since, differ from what serves.
fn difference(
    handler: &Handler<Served>,
    config: &HandlerConfig,
) -> (Vec<&'static str>, Vec<&'static str>) {
    let HandlerConfig { binding, settings, policy, .. } = config;
    let mut others = binding.changed_from(&handler.binding());
    others.extend(policy.changed_from(&handler.policy()));
    let before = match handler.serving() {
        Some(_) => handler.settings(),
        None => handler.configured(),
    };
    (others, settings.changed_from(&before))
}

/// What the supervisor of `handler` is asked for, so that its component runs as `planned`.
fn request(
    planned: &Planned,
    handler: &Handler<Served>,
    has_other_settings: bool,
    cause: &str,
) -> Option<SwapRequest> {
    let Planned { config, source, is_lazy, .. } = planned;
    let serves = handler.serving().is_some();
    match source {
        Some(source) => {
            let request = SwapRequest::new(source.clone(), cause).standing();
            Some(if *is_lazy && !serves { request.lazily() } else { request })
        }
        None if has_other_settings && serves && !planned.waits_with_settings => {
            Some(SwapRequest::settings(config.settings.clone(), cause))
        }
        None => None,
    }
}

impl Placed {
    /// What the plan meant for the handler, when its component is loaded or refused. A component that waits
    /// for a first call is not waited for.
    async fn settled(self) -> (HandlerName, Change) {
        let Self { name, is_new, keys, kept_keys, handle, answer } = self;
        let is_put_off = handle.inner.supervisor.is_lazy();
        let outcome = match answer.filter(|_| !is_put_off) {
            None => None,
            Some(answer) => match answer.await {
                Ok(outcome) => Some(outcome),
                // The supervisor has ended, with the runtime or by another plan.
                Err(_) => return (name, Change::Removed),
            },
        };
        let state = match outcome {
            Some(Ok(Swap::Swapped { state, .. })) => Some(state),
            _ => None,
        };
        let change = match outcome {
            Some(Err(rejected)) => Change::Refused { rejected, keys: kept_keys },
            Some(Ok(Swap::Superseded)) => Change::Superseded,
            _ if is_new => Change::Added,
            _ if state.is_some() || !keys.is_empty() => Change::Changed { keys, state },
            _ => Change::Unchanged,
        };
        (name, change)
    }
}
