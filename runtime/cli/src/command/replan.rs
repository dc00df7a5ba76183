//! Reads the manifest again while the host runs, and has the runtime apply it.

use std::collections::BTreeSet;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use wrt::admin::{PlanRequest, Planner, Planning};
use wrt::dev::Session;
use wrt::events::PlanReport;
use wrt::manifest::{CacheSection, HostSection, Project, ProjectError};
use wrt::{EventKind, Hint as _, Plan, Planned, Runtime, Source, chain};

use super::{artifacts, host, load};
use crate::output::Output;
use crate::settings::{self, Env, HostSettings};

/// Requests of the control plane that may wait for the host at once.
const MAX_ASKED: usize = 16;

/// Somebody who asks the host to read its manifest again.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request: PlanRequest,
    pub(super) answer: oneshot::Sender<PlanReport>,
}

/// Hands the plan requests of the control plane to the host.
#[derive(Debug)]
pub(super) struct Asker(mpsc::Sender<Asked>);

impl Asker {
    /// A planner for the control plane, and the receiver from which the host takes the requests.
    pub(super) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (ask, asked) = mpsc::channel(MAX_ASKED);
        (Self(ask), asked)
    }
}

impl Planner for Asker {
    fn plan(&self, request: PlanRequest) -> Planning {
        let ask = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            // A host that ends takes no more requests, and drops those that wait.
            let _ = ask.send(Asked { request, answer }).await;
            let ends = || PlanReport::refused("the host is shutting down".to_owned(), Vec::new());
            answered.await.unwrap_or_else(|_| ends())
        })
    }
}

/// Where the outcome of one plan is sent, besides the events: to the requests that wait for it.
type Answers = Vec<oneshot::Sender<PlanReport>>;

/// Applies one project after the other; what becomes of each is an event of the runtime.
pub(super) struct Replanner {
    /// The settings of the host, with the project that was applied last.
    settings: HostSettings,
    /// What the manifest says of the host itself, as it was at the start.
    started_with: (HostSection, CacheSection),
    /// Whether the host has begun to apply a first plan.
    has_begun: bool,
    /// Whether the manifest was refused when the host read it last.
    is_refused: bool,
    /// Compiles what waits for a first call.
    ahead: Option<AbortHandle>,
    runtime: Runtime,
    applying: JoinSet<Option<Project>>,
    /// Why the manifest is to be read once more, as somebody asked for that while a plan was applied.
    next: Option<(String, Answers, bool)>,
}

impl Replanner {
    pub(super) fn new(settings: HostSettings, runtime: Runtime) -> Self {
        let manifest = &settings.project.manifest;
        let started_with = (manifest.host.clone(), manifest.cache.clone());
        let applying = JoinSet::new();
        Self {
            settings,
            started_with,
            has_begun: false,
            is_refused: false,
            ahead: None,
            runtime,
            applying,
            next: None,
        }
    }

    /// Whether the host has begun to apply a first plan.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// [`begin`](Self::begin), unless the manifest is the manifest that was applied last: a file that was
    /// written need not say something else. After a manifest that was refused, the applied one is news: its
    /// author reads that the fault is gone.
    pub(super) fn begin_if_other(&mut self, cause: &str, env: Env<'_>, output: &mut Output) {
        let is_same = settings::open_again(&self.settings, env)
            .is_ok_and(|project| project == self.settings.project);
        if !is_same || self.is_refused || !self.applying.is_empty() {
            self.begin(cause, Vec::new(), false, env, output);
        }
    }

    /// Reads the manifest, for this `cause`, and begins to apply it. A manifest that cannot be read changes
    /// nothing, and an event says why. The `answers` are told, too.
    pub(super) fn begin(
        &mut self,
        cause: &str,
        mut answers: Answers,
        is_again: bool,
        env: Env<'_>,
        output: &mut Output,
    ) {
        if !self.applying.is_empty() {
            let (_, earlier, again) = self.next.take().unwrap_or_default();
            answers.extend(earlier);
            self.next = Some((cause.to_owned(), answers, is_again || again));
            return;
        }
        let read = self.read(env);
        self.is_refused = read.is_err();
        let project = match read {
            Ok(project) => project,
            Err(report) => {
                let kind = EventKind::Plan(report.clone());
                self.runtime.event_bus().emit(None, Some(cause), kind);
                return tell(answers, &report);
            }
        };
        let notes = self.notes(&project);
        notes.iter().for_each(|note| output.say(note));
        let plan = self.plan(&project);
        let plan = if is_again { plan.again() } else { plan };
        self.has_begun = true;
        let (runtime, cause) = (self.runtime.clone(), cause.to_owned());
        // Loading takes its time, in which the host does everything else.
        self.applying.spawn(async move {
            match runtime.apply(plan, cause).await {
                Ok(applied) => {
                    let mut report = applied.report();
                    report.notes = notes;
                    report.notes.extend(not_kept(&runtime, &report).await);
                    tell(answers, &report);
                    Some(project)
                }
                // An event tells of it.
                Err(error) => {
                    tell(answers, &PlanReport::refused(chain(&error), error.hints()));
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
        self.is_refused = project.is_none();
        if let Some(project) = project {
            self.settings.project = project;
            let handlers = host::by_name(self.runtime.handlers());
            output.align_to(handlers.keys());
            let lazy = load::lazy(&self.settings);
            if let Some(session) = session {
                session.watch(host::watched(&self.settings, &handlers, &lazy).0);
            }
            // One at a time, whatever the number of plans.
            let ahead = load::compile_ahead(&handlers, &lazy);
            self.ahead.replace(ahead).into_iter().for_each(|before| before.abort());
        }
        if let Some((cause, answers, is_again)) = self.next.take() {
            self.begin(&cause, answers, is_again, env, output);
        }
    }

    /// The project as it is on the disk now, held to what a start asks of it.
    fn read(&self, env: Env<'_>) -> Result<Project, PlanReport> {
        let project = settings::open_again(&self.settings, env).map_err(|error| refused(&error))?;
        if self.settings.build.is_none() {
            let fault = artifacts::check_built(&project).map(drop);
            fault.map_err(|fault| PlanReport::refused(chain(&fault), fault.hints().to_vec()))?;
        }
        Ok(project)
    }

    /// What the manifest would change, as far as no component is needed to tell.
    pub(super) fn compare(&self, env: Env<'_>) -> PlanReport {
        let project = match self.read(env) {
            Ok(project) => project,
            Err(report) => return report,
        };
        match self.runtime.compare(&self.plan(&project)) {
            Ok(mut report) => {
                report.notes = self.notes(&project);
                report
            }
            Err(error) => PlanReport::refused(chain(&error), error.hints()),
        }
    }

    /// What `project` says that only a restart applies.
    fn notes(&self, project: &Project) -> Vec<String> {
        let (host, cache) = &self.started_with;
        let sections = [
            ("[host]", *host != project.manifest.host),
            ("[cache]", *cache != project.manifest.cache),
        ];
        let changed = sections.into_iter().filter(|(_, is_changed)| *is_changed);
        changed
            .map(|(section, _)| {
                format!("`{section}` is read at the start: a restart applies its changes")
            })
            .collect()
    }

    /// What `project` wants. A session loads the components of a host that watches.
    fn plan(&self, project: &Project) -> Plan {
        let settings = HostSettings { project: project.clone(), ..self.settings.clone() };
        let lazy: BTreeSet<_> = load::lazy(&settings);
        Plan::new(project.manifest.handlers.iter().map(|entry| {
            let planned = Planned::new(entry.config.clone());
            if settings.watch {
                // The session loads another source, and settings are not tried with the one before.
                let before = self.settings.project.manifest.handlers.iter();
                let mut before = before.filter(|it| it.config.name == entry.config.name);
                let is_other = before.next().is_some_and(|it| it.source != entry.source);
                return if is_other { planned.with_settings_later() } else { planned };
            }
            let path = artifacts::to_serve(entry, &project.root);
            let path = path.unwrap_or_else(|_| artifacts::expected(entry, &project.root));
            let planned = planned.with_source(Source::File(path));
            if lazy.contains(&entry.config.name) { planned.lazily() } else { planned }
        }))
    }
}

/// Waits until what the plan changed is on the disk, for the next start; says what is not.
async fn not_kept(runtime: &Runtime, report: &PlanReport) -> Vec<String> {
    let mut problems = Vec::new();
    for handler in runtime.handlers().iter().filter(|it| report.changes.contains_key(it.name())) {
        if let Err(problem) = handler.history_kept().await {
            problems.push(format!(
                "a restart may not know of `{}`: {}",
                handler.name(),
                chain(&problem)
            ));
        }
    }
    problems
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
