//! `wrt build`: every handler, in parallel, compiled into the cache and reported as it ends.

use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use wrt::dev::{BuildFailure, Built, News, build_all};
use wrt::events::{Event, EventKind, Stage};
use wrt::manifest::Project;
use wrt::{HandlerName, Hint as _, Runtime, RuntimeConfig, Source, chain};

use super::signals::Signals;
use super::{artifacts, host};
use crate::exit::{AtFault, ExitStatus};
use crate::output::Output;
use crate::settings::BuildSettings;

/// What events of a build give as their cause.
const CAUSE: &str = "wrt build";

pub(crate) async fn run(
    project: Project,
    settings: BuildSettings,
    config: RuntimeConfig,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let signals = Signals::listen(false, ExitStatus::Unexpected)?;
    let entries = &project.manifest.handlers;
    output.align_to(entries.iter().map(|entry| &entry.config.name));
    output.serves_nothing();
    let runtime = Runtime::new(config)?;
    host::warn_of_directories(&runtime, output);
    let sources = entries
        .iter()
        .map(|entry| (entry.config.name.clone(), artifacts::to_build(entry, &project.root)));
    let (session, mut news) = build_all(sources.collect(), settings.options());
    // The compilers of guests are in process groups of their own, and would go on. In a task, because
    // here it is waited for whoever reads the output.
    let (over, is_over) = oneshot::channel::<()>();
    let stopped = signals.stopped();
    let ending = tokio::spawn(async move {
        tokio::select! {
            () = stopped => {}
            _ = is_over => {}
        }
        session.end().await;
    });
    let reported = tokio::select! {
        reported = report_all(&runtime, &mut news, output) => reported,
        () = signals.stopped() => Ok(Vec::new()),
    };
    // The session may have ended because of a signal, before everything was built.
    let is_interrupted = signals.has_asked_to_stop();
    drop(over);
    ending.await?;
    if is_interrupted {
        anyhow::bail!("interrupted by a signal; what was being built was ended");
    }
    let mut failed = reported?;
    // Writes what was compiled.
    runtime.shutdown().await;
    if failed.is_empty() {
        return Ok(ExitStatus::Success);
    }
    failed.sort();
    let (n, total, names) = (failed.len(), entries.len(), failed.join("`, `"));
    Err(AtFault::new(format!("{n} of {total} handlers did not build: `{names}`")).into())
}

/// Compiles what is built, reports each handler as it ends, and gives the names of those that failed
/// once there is no more news.
///
/// Signals are waited for around this and not in its `select!`, whose `else` comes only when no arm
/// waits any more.
async fn report_all(
    runtime: &Runtime,
    news: &mut mpsc::UnboundedReceiver<(HandlerName, News)>,
    output: &mut Output,
) -> anyhow::Result<Vec<String>> {
    let mut compilations = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        // Cancel-safe: each arm takes its item whole or not at all.
        tokio::select! {
            Some((name, told)) = news.recv() => match told {
                News::Built(built) => drop(compilations.spawn({
                    let runtime = runtime.clone();
                    async move {
                        let source = Source::file(&built.path);
                        (name, built, runtime.precompile(source, false).await)
                    }
                })),
                News::Failed(failure) => {
                    output.event(&event(&name, build_failed(failure)))?;
                    failed.push(name.to_string());
                }
                News::Unavailable { message } => {
                    let hints = vec!["make it, or correct `source` in the manifest".to_owned()];
                    output.event(&event(&name, rejection(Stage::Read, message, hints)))?;
                    failed.push(name.to_string());
                }
                News::Note { message } => {
                    output.event(&event(&name, EventKind::Note { message }))?;
                }
                _ => {}
            },
            Some(done) = compilations.join_next() => match done? {
                (name, built, Ok(compiled)) => report(&name, built, compiled, output)?,
                (name, _, Err(error)) => {
                    let kind = rejection(Stage::Compile, chain(&error), error.hints());
                    output.event(&event(&name, kind))?;
                    failed.push(name.to_string());
                }
            },
            else => return Ok(failed),
        }
    }
}

fn report(
    name: &HandlerName,
    built: Built,
    compiled: Option<Duration>,
    output: &mut Output,
) -> anyhow::Result<()> {
    let build_ms = built.build_ms.unwrap_or_default();
    let kind = EventKind::Built { build_ms, warnings: built.diagnostics };
    output.built(&event(name, kind), &built.path, compiled)?;
    Ok(())
}

/// An event as `dev` reports it; here nothing serves.
fn event(name: &HandlerName, kind: EventKind) -> Event {
    let (handler, cause) = (Some(name.clone()), Some(CAUSE.to_owned()));
    Event { kind, time: SystemTime::now(), handler, cause }
}

fn build_failed(failure: BuildFailure) -> EventKind {
    let BuildFailure { message, hints, diagnostics, .. } = failure;
    EventKind::BuildFailed { message, diagnostics, hints, serving: None }
}

fn rejection(stage: Stage, error: String, hints: Vec<String>) -> EventKind {
    EventKind::Rejected { stage, error, hints, serving: None }
}
