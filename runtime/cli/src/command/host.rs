//! `wrt dev` and `wrt serve`: one process, one loop over everything that can happen.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use wrt::dev::{self, Notice, Session, WatchedSource};
use wrt::{
    Event, EventKind, HandlerHandle, HandlerName, Hint as _, Rejected, Runtime, Source, Swap,
    SwapRequest, chain,
};

use super::bind::bind;
use super::control::Control;
use super::session::{self, Next};
use super::signals::Signals;
use super::{artifacts, limits};
use crate::exit::{AtFault, ExitStatus};
use crate::output::Output;
use crate::settings::{BuildSettings, HostSettings};

type Swaps = JoinSet<Result<Swap, Rejected>>;

/// Everything that can happen while serving.
enum Happened {
    Event(Result<Event, broadcast::error::RecvError>),
    Notice(Notice),
    Swapped(Result<Swap, Rejected>),
    Signal,
    /// Serving has ended after it was told to stop.
    Ended,
}

pub(crate) async fn run(settings: HostSettings, output: &mut Output) -> anyhow::Result<ExitStatus> {
    let mut signals = Signals::listen()?;
    limits::raise();
    let runtime = Runtime::new(settings.runtime.clone())?;
    let mut events = runtime.events();
    let handlers = add_handlers(&settings, &runtime)?;
    output.align_to(handlers.keys());
    let listener = bind(&settings.listen, "--listen").await?;
    let control = Control::start(&settings.admin, settings.state_dir.as_deref(), &runtime).await?;
    let url = format!("http://{}", listener.local_addr().context("failed to read the address")?);
    runtime.event_bus().emit(None, None, EventKind::Listening { url });

    // Nothing to rebuild or watch: a candidate that is refused now will never be accepted.
    let final_verdict = !settings.watch;
    let mut swaps = Swaps::new();
    // Both ends of a channel that nobody uses stand for the session of a host that watches nothing.
    let (_unused, mut notices) = mpsc::channel(1);
    let mut _session = None;
    if final_verdict {
        load(&settings, &handlers, &runtime, &mut swaps)?;
    } else {
        let (started, told) = start_session(&settings)?;
        (_session, notices) = (Some(started), told);
    }
    // The line of the address comes first, whatever else there is to say.
    flush(&mut events, output)?;
    warn_of_directories(&runtime, output);
    control.introduce(output);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut stop = Some(stop);
    let mut serving = tokio::spawn({
        let runtime = runtime.clone();
        async move {
            runtime
                .serve(listener, async {
                    // A dropped sender stops it as well.
                    let _ = stopped.await;
                })
                .await;
            runtime.shutdown().await;
        }
    });
    loop {
        // Cancel-safe: each arm takes its item whole or not at all.
        let happened = tokio::select! {
            biased; // Events first, so that people read them in the order things happened.
            event = events.recv() => Happened::Event(event),
            Some(notice) = notices.recv() => Happened::Notice(notice),
            Some(swap) = swaps.join_next() => Happened::Swapped(swap?),
            () = signals.next() => Happened::Signal,
            _ = &mut serving => Happened::Ended,
        };
        match happened {
            Happened::Event(Ok(event)) => output.event(&event)?,
            Happened::Event(Err(broadcast::error::RecvError::Lagged(n))) => output.lagged(n),
            Happened::Event(Err(broadcast::error::RecvError::Closed)) | Happened::Ended => {
                flush(&mut events, output)?;
                return Ok(ExitStatus::Success);
            }
            Happened::Notice(notice) => {
                match session::on_notice(notice, &handlers, runtime.event_bus()) {
                    Next::Done => {}
                    Next::Say(line) => output.say(&line),
                    Next::Swap(handler, request) => {
                        swaps.spawn(async move { handler.request_swap(request).await });
                    }
                }
            }
            Happened::Swapped(Err(rejected)) if final_verdict && rejected.serving.is_none() => {
                // The rejection is an event too, which says why.
                flush(&mut events, output)?;
                return Ok(ExitStatus::Input);
            }
            Happened::Swapped(_) => {}
            Happened::Signal => match stop.take() {
                Some(stop) => {
                    output.say("stopping: calls in flight finish first; again to stop at once");
                    // The server may have ended by itself.
                    let _ = stop.send(());
                }
                None => return Ok(ExitStatus::Success),
            },
        }
    }
}

/// Says why compiled code is not kept, if it is not.
pub(crate) fn warn_of_directories(runtime: &Runtime, output: &mut Output) {
    if let Some(problem) = runtime.cache_problem() {
        output.warn(&chain(problem), &problem.hints());
    }
    if let Some(problem) = runtime.history_problem() {
        output.warn(&chain(problem), &problem.hints());
    }
}

fn add_handlers(
    settings: &HostSettings,
    runtime: &Runtime,
) -> anyhow::Result<BTreeMap<HandlerName, HandlerHandle>> {
    let configs = settings.project.manifest.handlers.iter().map(|entry| entry.config.clone());
    let handles = runtime.add_handlers(configs)?;
    Ok(handles.into_iter().map(|handle| (handle.name().clone(), handle)).collect())
}

/// Handlers that are made ready at the start; with more than these, each waits for its first call.
/// Few enough to be ready at once from compiled code, and a refused one is told at the start.
const EAGER: usize = 64;

/// Time that a host with many handlers is left to its first callers before it compiles ahead.
const AHEAD_AFTER: Duration = Duration::from_secs(1);

/// Loads what `serve` serves: at once, or with the first call of each handler.
fn load(
    settings: &HostSettings,
    handlers: &BTreeMap<HandlerName, HandlerHandle>,
    runtime: &Runtime,
    swaps: &mut Swaps,
) -> anyhow::Result<()> {
    let project = &settings.project;
    let is_eager = project.manifest.handlers.len() <= EAGER;
    let mut later = Vec::new();
    for entry in &project.manifest.handlers {
        let Some(handler) = handlers.get(&entry.config.name).cloned() else { continue };
        let path = artifacts::to_serve(entry, &project.root)?;
        if is_eager && !path.is_file() {
            return Err(AtFault::new(format!("`{}` does not exist", path.display()))
                .hint("build the handler, or correct the path")
                .into());
        }
        let source = Source::File(path);
        let request = SwapRequest::new(source.clone(), "first load");
        if is_eager || entry.config.preload {
            swaps.spawn(async move { handler.request_swap(request).await });
        } else {
            handler.load_when_called(request);
            later.push(source);
        }
    }
    let runtime = runtime.clone();
    tokio::spawn(async move {
        tokio::time::sleep(AHEAD_AFTER).await;
        for source in later {
            // Told when a call wants it; until then it may be mended.
            if let Err(error) = runtime.precompile(source, true).await {
                tracing::debug!(error = chain(&error), "compiled nothing ahead");
            }
        }
    });
    Ok(())
}

/// Starts to watch, and in `dev` to build.
fn start_session(settings: &HostSettings) -> anyhow::Result<(Session, mpsc::Receiver<Notice>)> {
    let root = &settings.project.root;
    let sources = settings.project.manifest.handlers.iter().map(|entry| {
        let source = match settings.build {
            Some(_) => artifacts::to_build(entry, root),
            None => dev::Source::Wasm { path: artifacts::to_serve(entry, root)? },
        };
        Ok(WatchedSource { handler: entry.config.name.clone(), source })
    });
    let sources: Vec<_> = sources.collect::<anyhow::Result<_>>()?;
    let build = settings.build.unwrap_or(BuildSettings { release: false, add_target: false });
    Ok(Session::start(sources, session::options(build, settings.watch)))
}

/// Writes out what happened last.
fn flush(events: &mut broadcast::Receiver<Event>, output: &mut Output) -> anyhow::Result<()> {
    while let Ok(event) = events.try_recv() {
        output.event(&event)?;
    }
    Ok(())
}
