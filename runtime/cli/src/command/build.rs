//! `wrt build`: every handler, in parallel, each reported as it ends.

use std::time::Duration;

use tokio::task::JoinSet;
use wrt::dev::{self, BuildFailure, Built};
use wrt::manifest::Project;
use wrt::{EventBus, HandlerName};

use super::{artifacts, session};
use crate::exit::{AtFault, ExitStatus};
use crate::output::Output;
use crate::settings::BuildSettings;

pub(crate) async fn run(
    project: Project,
    settings: BuildSettings,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let options = session::options(settings, false);
    output.align_to(project.manifest.handlers.iter().map(|entry| &entry.config.name));
    let mut builds = JoinSet::new();
    for entry in &project.manifest.handlers {
        let (name, source) = (entry.config.name.clone(), artifacts::to_build(entry, &project.root));
        let options = options.clone();
        builds.spawn(async move { (name, dev::build_once(&source, &options).await) });
    }
    let total = builds.len();
    let mut failed = Vec::new();
    while let Some(done) = builds.join_next().await {
        let (name, result) = done?;
        match result {
            Ok(built) => report(&name, &built, output)?,
            Err(failure) => {
                report_failure(&name, &failure, output)?;
                failed.push(name.to_string());
            }
        }
    }
    if failed.is_empty() {
        return Ok(ExitStatus::Success);
    }
    failed.sort();
    let names = failed.join("`, `");
    Err(AtFault::new(format!("{} of {total} handlers did not build: `{names}`", failed.len()))
        .into())
}

fn report(name: &HandlerName, built: &Built, output: &mut Output) -> anyhow::Result<()> {
    for note in &built.notes {
        output.say(note);
    }
    let took = built.build_ms.map_or(Duration::ZERO, |ms| Duration::from_secs_f64(ms / 1e3));
    output.built(name, &built.path, took)?;
    Ok(())
}

fn report_failure(
    name: &HandlerName,
    failure: &BuildFailure,
    output: &mut Output,
) -> anyhow::Result<()> {
    // The same event that `dev` reports; here nothing serves.
    let bus = EventBus::new();
    let mut events = bus.subscribe();
    session::emit_failure(&bus, name, "wrt build", failure, None);
    while let Ok(event) = events.try_recv() {
        output.event(&event)?;
    }
    for hint in &failure.hints {
        output.say(&format!("hint: {hint}"));
    }
    Ok(())
}
