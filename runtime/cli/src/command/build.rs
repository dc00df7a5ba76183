//! `wrt build`: every handler, in parallel, compiled into the cache and reported as it ends.

use std::time::Duration;

use tokio::task::JoinSet;
use wrt::dev::{self, BuildFailure, Built};
use wrt::events::{EventKind, Stage};
use wrt::manifest::Project;
use wrt::{EventBus, HandlerName, Hint as _, Runtime, RuntimeConfig, Source, StageError, chain};

use super::signals::Signals;
use super::{artifacts, host, session};
use crate::exit::{AtFault, ExitStatus};
use crate::output::Output;
use crate::settings::BuildSettings;

/// What events of a build give as their cause.
const CAUSE: &str = "wrt build";

/// What became of one handler.
enum Outcome {
    Built(Built, Option<Duration>),
    NotBuilt(BuildFailure),
    NotCompiled(StageError),
}

pub(crate) async fn run(
    project: Project,
    settings: BuildSettings,
    config: RuntimeConfig,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let signals = Signals::listen(false)?;
    let options = session::options(settings, false);
    output.align_to(project.manifest.handlers.iter().map(|entry| &entry.config.name));
    let runtime = Runtime::new(config)?;
    host::warn_of_directories(&runtime, output);
    let mut builds = JoinSet::new();
    for entry in &project.manifest.handlers {
        let (name, source) = (entry.config.name.clone(), artifacts::to_build(entry, &project.root));
        let (options, runtime) = (options.clone(), runtime.clone());
        builds.spawn(async move { (name, build(&source, &options, &runtime).await) });
    }
    let total = builds.len();
    let mut failed = Vec::new();
    let mut stopped = std::pin::pin!(signals.stopped());
    loop {
        // Cancel-safe: a build that has ended stays in the set.
        let done = tokio::select! {
            done = builds.join_next() => done,
            () = &mut stopped => {
                // The compilers of guests are in process groups of their own, and would go on.
                builds.shutdown().await;
                anyhow::bail!("interrupted by a signal; what was being built was ended");
            }
        };
        let Some(done) = done else { break };
        let (name, outcome) = done?;
        match outcome {
            Outcome::Built(built, compiled) => report(&name, &built, compiled, output)?,
            Outcome::NotBuilt(failure) => {
                report_failure(&name, &failure, output)?;
                failed.push(name.to_string());
            }
            Outcome::NotCompiled(error) => {
                report_rejection(&name, &error, output)?;
                failed.push(name.to_string());
            }
        }
    }
    // Writes what was compiled.
    runtime.shutdown().await;
    if failed.is_empty() {
        return Ok(ExitStatus::Success);
    }
    failed.sort();
    let names = failed.join("`, `");
    Err(AtFault::new(format!("{} of {total} handlers did not build: `{names}`", failed.len()))
        .into())
}

async fn build(source: &dev::Source, options: &dev::Options, runtime: &Runtime) -> Outcome {
    let built = match dev::build_once(source, options).await {
        Ok(built) => built,
        Err(failure) => return Outcome::NotBuilt(failure),
    };
    match runtime.precompile(Source::file(&built.path), false).await {
        Ok(compiled) => Outcome::Built(built, compiled),
        Err(error) => Outcome::NotCompiled(error),
    }
}

fn report(
    name: &HandlerName,
    built: &Built,
    compiled: Option<Duration>,
    output: &mut Output,
) -> anyhow::Result<()> {
    for note in &built.notes {
        output.say(note);
    }
    let took = built.build_ms.map_or(Duration::ZERO, |ms| Duration::from_secs_f64(ms / 1e3));
    output.built(name, &built.path, took, compiled)?;
    Ok(())
}

/// The same event that `dev` reports; here nothing serves.
fn emit(output: &mut Output, emit: impl FnOnce(&EventBus)) -> anyhow::Result<()> {
    let bus = EventBus::new();
    let mut events = bus.subscribe();
    emit(&bus);
    while let Ok(event) = events.try_recv() {
        output.event(&event)?;
    }
    Ok(())
}

fn report_rejection(
    name: &HandlerName,
    error: &StageError,
    output: &mut Output,
) -> anyhow::Result<()> {
    let kind = EventKind::Rejected {
        stage: Stage::Compile,
        error: chain(error),
        hints: error.hints(),
        serving: None,
    };
    emit(output, |bus| bus.emit(Some(name), Some(CAUSE), kind))
}

fn report_failure(
    name: &HandlerName,
    failure: &BuildFailure,
    output: &mut Output,
) -> anyhow::Result<()> {
    emit(output, |bus| session::emit_failure(bus, name, CAUSE, failure, None))?;
    for hint in &failure.hints {
        output.say(&format!("hint: {hint}"));
    }
    Ok(())
}
