//! Reads the manifest again while the host runs, and has the runtime apply it.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use wrt::dev::Session;
use wrt::events::PlanOutcome;
use wrt::manifest::{Project, ProjectError};
use wrt::{EventKind, Hint as _, Plan, Planned, Runtime, Source, chain};

use super::{artifacts, host, load};
use crate::output::Output;
use crate::settings::{self, Env, HostSettings};

/// Applies one project after the other; what becomes of each is an event of the runtime.
pub(super) struct Replanner {
    /// The settings that the host started with.
    settings: HostSettings,
    runtime: Runtime,
    applying: JoinSet<Option<Project>>,
    /// Whether the manifest is to be read once more, since it was asked for while one was applied.
    next: Option<String>,
}

impl Replanner {
    pub(super) fn new(settings: HostSettings, runtime: Runtime) -> Self {
        Self { settings, runtime, applying: JoinSet::new(), next: None }
    }

    /// Reads the manifest, for this `cause`, and begins to apply it. A manifest that cannot be read changes
    /// nothing, and an event says why.
    pub(super) fn begin(&mut self, cause: &str, env: Env<'_>, output: &mut Output) {
        if !self.applying.is_empty() {
            self.next = Some(cause.to_owned());
            return;
        }
        let project = match settings::open_again(&self.settings, env) {
            Ok(project) => project,
            Err(error) => return self.refuse(cause, &error),
        };
        let (before, now) = (&self.settings.project.manifest, &project.manifest);
        if (&before.host, &before.cache) != (&now.host, &now.cache) {
            output.say("`[host]` and `[cache]` are read at the start: a restart applies what changed there");
        }
        let plan = self.plan(&project);
        let (runtime, cause) = (self.runtime.clone(), cause.to_owned());
        // Loading takes its time, in which the host does everything else.
        self.applying.spawn(async move {
            // A refusal is an event, too.
            runtime.apply(plan, cause).await.ok().map(|_| project)
        });
    }

    /// Ready when a plan was applied or refused; then the host has `session` watch what the plan names.
    /// For ever while no plan is applied.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when this is dropped.
    pub(super) async fn applied(&mut self) -> Option<Project> {
        match self.applying.join_next().await {
            Some(project) => project.ok().flatten(),
            None => std::future::pending().await,
        }
    }

    /// Has `session` watch what `project` names, whose plan was applied. Begins with the next plan if one was
    /// asked for meanwhile.
    pub(super) fn settle(
        &mut self,
        project: Option<Project>,
        session: &mut Option<Session>,
        env: Env<'_>,
        output: &mut Output,
    ) {
        if let Some(project) = project {
            self.settings.project = project;
            let handlers = host::by_name(self.runtime.handlers());
            output.align_to(handlers.keys());
            let lazy = load::lazy(&self.settings);
            load::compile_ahead(&handlers, &lazy);
            if let Some(session) = session {
                session.watch(host::watched(&self.settings, &handlers, &lazy).0);
            }
        }
        if let Some(cause) = self.next.take() {
            self.begin(&cause, env, output);
        }
    }

    /// What `project` wants. A session loads the components of a host that watches.
    fn plan(&self, project: &Project) -> Plan {
        let settings = HostSettings { project: project.clone(), ..self.settings.clone() };
        let lazy: BTreeSet<_> = load::lazy(&settings);
        Plan::new(project.manifest.handlers.iter().map(|entry| {
            let planned = Planned::new(entry.config.clone());
            if settings.watch {
                return planned;
            }
            let path = artifacts::to_serve(entry, &project.root);
            let path = path.unwrap_or_else(|_| artifacts::expected(entry, &project.root));
            let planned = planned.with_source(Source::File(path));
            if lazy.contains(&entry.config.name) { planned.lazily() } else { planned }
        }))
    }

    fn refuse(&self, cause: &str, error: &ProjectError) {
        let kind = EventKind::Plan {
            outcome: PlanOutcome::Refused,
            changes: Default::default(),
            error: Some(chain(error)),
            hints: error.hints(),
        };
        self.runtime.event_bus().emit(None, Some(cause), kind);
    }
}
