//! Reads the manifest again while the host runs, and has the runtime apply it.

use std::collections::BTreeSet;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use wrt::admin::{Planner, Planning};
use wrt::dev::Session;
use wrt::events::PlanReport;
use wrt::manifest::{Project, ProjectError};
use wrt::{EventKind, Hint as _, Plan, Planned, Runtime, Source, chain};

use super::{artifacts, host, load};
use crate::output::Output;
use crate::settings::{self, Env, HostSettings};

/// Requests of the control plane that may wait for the host at once.
const MAX_ASKED: usize = 16;

/// Somebody who asks the host to read its manifest again.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) is_dry: bool,
    pub(super) answer: oneshot::Sender<PlanReport>,
}

/// Asks the host for what the control plane is asked for.
#[derive(Debug)]
pub(super) struct Asker(mpsc::Sender<Asked>);

impl Asker {
    /// One that asks, and where the host finds that.
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (ask, asked) = mpsc::channel(MAX_ASKED);
        (Self(ask), asked)
    }
}

impl Planner for Asker {
    fn plan(&self, is_dry: bool) -> Planning {
        let ask = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            // A host that ends takes no more requests, and drops those that wait.
            let _ = ask.send(Asked { is_dry, answer }).await;
            let ends = || PlanReport::refused("the host is shutting down".to_owned(), Vec::new());
            answered.await.unwrap_or_else(|_| ends())
        })
    }
}

/// Who hears of a plan besides the readers of events.
type Answers = Vec<oneshot::Sender<PlanReport>>;

/// Applies one project after the other; what becomes of each is an event of the runtime.
pub(super) struct Replanner {
    /// The settings that the host started with.
    settings: HostSettings,
    runtime: Runtime,
    applying: JoinSet<Option<Project>>,
    /// Why the manifest is to be read once more, as somebody asked for that while a plan was applied.
    next: Option<(String, Answers)>,
}

impl Replanner {
    pub(super) fn new(settings: HostSettings, runtime: Runtime) -> Self {
        Self { settings, runtime, applying: JoinSet::new(), next: None }
    }

    /// Reads the manifest, for this `cause`, and begins to apply it. A manifest that cannot be read changes
    /// nothing, and an event says why. The `answers` are told, too.
    pub(super) fn begin(
        &mut self,
        cause: &str,
        mut answers: Answers,
        env: Env<'_>,
        output: &mut Output,
    ) {
        if !self.applying.is_empty() {
            let (_, earlier) = self.next.take().unwrap_or_default();
            answers.extend(earlier);
            self.next = Some((cause.to_owned(), answers));
            return;
        }
        let project = match settings::open_again(&self.settings, env) {
            Ok(project) => project,
            Err(error) => {
                let report = refused(&error);
                let kind = EventKind::Plan(report.clone());
                self.runtime.event_bus().emit(None, Some(cause), kind);
                return tell(answers, &report);
            }
        };
        let (before, now) = (&self.settings.project.manifest, &project.manifest);
        if (&before.host, &before.cache) != (&now.host, &now.cache) {
            output.say("`[host]` and `[cache]` are read at the start: a restart applies what changed there");
        }
        let plan = self.plan(&project);
        let (runtime, cause) = (self.runtime.clone(), cause.to_owned());
        // Loading takes its time, in which the host does everything else.
        self.applying.spawn(async move {
            match runtime.apply(plan, cause).await {
                Ok(applied) => {
                    tell(answers, &applied.report());
                    Some(project)
                }
                // An event tells of it.
                Err(error) => {
                    tell(answers, &PlanReport::refused(chain(&error), Vec::new()));
                    None
                }
            }
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
        if let Some((cause, answers)) = self.next.take() {
            self.begin(&cause, answers, env, output);
        }
    }

    /// What the manifest would change, as far as no component is needed to tell.
    pub(super) fn compare(&self, env: Env<'_>) -> PlanReport {
        let project = match settings::open_again(&self.settings, env) {
            Ok(project) => project,
            Err(error) => return refused(&error),
        };
        let compared = self.runtime.compare(&self.plan(&project));
        compared.unwrap_or_else(|error| PlanReport::refused(chain(&error), Vec::new()))
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
}

/// A manifest that cannot be read.
fn refused(error: &ProjectError) -> PlanReport {
    PlanReport::refused(chain(error), error.hints())
}

fn tell(answers: Answers, report: &PlanReport) {
    for answer in answers {
        // Whoever asked may be gone.
        let _ = answer.send(report.clone());
    }
}
