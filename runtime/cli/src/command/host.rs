//! `wrt dev` and `wrt serve`: one process, one loop over everything that can happen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use wrt::dev::{self, Session, WatchedSource};
use wrt::events::{RecvError, TryRecvError};
use wrt::manifest::Project;
use wrt::{
    Event, EventKind, EventReceiver, HandlerHandle, HandlerName, Hint as _, Rejected, Runtime,
    Swap, chain,
};

use super::bind::bind;
use super::control::Control;
use super::load;
use super::manifest::ManifestFile;
use super::replan::{self, Asker, Replanner};
use super::signals::{Asked, Heard, Signals};
use super::{artifacts, limits};
use crate::exit::{AtFault, ExitStatus};
use crate::output::Output;
use crate::settings::{BuildSettings, Env, HostSettings};

pub(super) type Swaps = JoinSet<Result<Swap, Rejected>>;

/// Everything that can happen while serving.
enum Happened {
    Event(Result<Event, RecvError>),
    Swapped,
    Signal(Heard),
    /// Somebody wrote to the manifest.
    ManifestWritten,
    /// A client of the control plane wants the manifest to be read again.
    Asked(replan::Asked),
    /// A plan was applied, the one of this project, or refused.
    Planned(Option<Project>),
    /// Serving has ended, after so many connections were cut.
    Ended(Result<usize, JoinError>),
}

pub(crate) async fn run(
    settings: HostSettings,
    env: Env<'_>,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let mut signals = Signals::listen(settings.has_manifest, ExitStatus::Success)?;
    limits::raise();
    let mut config = settings.runtime.clone();
    if settings.project.manifest.host.guest_memory.is_none() {
        config.guest_memory = limits::guest_memory().unwrap_or(config.guest_memory);
    }
    let runtime = Runtime::new(config)?;
    let mut events = runtime.events();
    let handlers = add_handlers(&settings, &runtime)?;
    output.align_to(handlers.keys());
    let listener = bind(&settings.listen, "--listen").await?;
    let (asker, mut asked) = Asker::new();
    let state_dir = settings.state_dir.as_deref();
    let control = Control::start(&settings.admin, state_dir, &runtime, asker).await?;
    let url = format!("http://{}", listener.local_addr().context("failed to read the address")?);
    runtime.event_bus().emit(None, None, EventKind::Listening { url });

    let lazy = load::lazy(&settings);
    let notes = match settings.build {
        Some(_) => Vec::new(),
        None => artifacts::check_built(&settings.project)?,
    };
    let mut swaps = Swaps::new();
    let mut watched = None;
    // Nothing to rebuild or watch: what is refused now is not tried again by itself.
    let mut loading = None;
    if settings.watch {
        watched = Some(to_watch(&settings, &handlers, &lazy)?);
    } else {
        let loaded = load::load(&settings, &handlers, &lazy, &mut swaps)?;
        output.expect_no_retry(&loaded);
        loading = Some(loaded);
    }
    // The line of the address comes first, whatever else there is to say.
    flush(&mut events, output)?;
    warn_of_directories(&runtime, output);
    control.introduce(output);
    notes.iter().for_each(|note| output.say(note));
    // Only now, because its events come after what was said until here.
    let mut session = watched.map(|watched| {
        let build = settings.build.unwrap_or(BuildSettings { release: false, add_target: false });
        load::compile_ahead(&handlers, &lazy);
        Session::start(watched, build.options())
    });
    let mut replanner = Replanner::new(settings.clone(), runtime.clone());
    let mut serving = serve(&runtime, listener, &signals, settings.pre_stop);
    let mut stopping: Option<Instant> = None;
    // Who wants changes to be applied expects it of the manifest, too.
    let manifest = settings.project.manifest_path.clone().filter(|_| settings.watch);
    let mut manifest = ManifestFile::new(manifest);
    loop {
        // Cancel-safe: each arm takes its item whole or not at all.
        let happened = tokio::select! {
            biased; // Signals before all, and events in the order things happened.
            heard = signals.next() => Happened::Signal(heard),
            event = events.recv() => Happened::Event(event),
            Some(swap) = swaps.join_next() => {
                // What became of it is an event.
                let _ = swap?;
                Happened::Swapped
            }
            ended = &mut serving => Happened::Ended(ended),
            () = manifest.written() => Happened::ManifestWritten,
            project = replanner.applied() => Happened::Planned(project),
            Some(asked) = asked.recv() => Happened::Asked(asked),
        };
        match happened {
            Happened::Event(Ok(event)) => output.event(&event)?,
            Happened::Event(Err(RecvError::Missed(missed))) => output.missed(missed),
            Happened::Event(Err(RecvError::Closed)) => {
                return Ok(ExitStatus::Success);
            }
            Happened::Ended(ended) => {
                flush(&mut events, output)?;
                return end(ended, stopping, output);
            }
            Happened::Swapped => {
                // What a plan has added may serve, or will.
                let Some(loaded) = loading.as_ref().filter(|_| !replanner.has_begun()) else {
                    continue;
                };
                // A host that stops takes the handlers away, which is no fault of theirs.
                if !signals.has_asked_to_stop() && swaps.is_empty() && loaded.is_in_vain(&handlers)
                {
                    // Each rejection is an event too, which says why.
                    flush(&mut events, output)?;
                    return loaded.give_up();
                }
            }
            Happened::Signal(Heard::Asked(Asked::StopNow)) => {
                output.hurry();
                output.stopped_at_once(runtime.open_connections());
                end_session(session.take()).await;
                return Ok(ExitStatus::Success);
            }
            Happened::Signal(Heard::Asked(_)) => {
                stopping = Some(Instant::now());
                output.stopping(settings.pre_stop);
                // Nobody waits for what is being built, and it would outlive a host that is killed.
                end_session(session.take()).await;
            }
            // Nothing is changed any more in a host that ends.
            Happened::ManifestWritten | Happened::Signal(Heard::Reload) if stopping.is_some() => {}
            Happened::ManifestWritten => {
                replanner.begin_if_other("`wrt.toml` was written", env, output);
            }
            Happened::Signal(Heard::Reload) => {
                replanner.begin("SIGHUP", Vec::new(), false, env, output)
            }
            // Dropping the answer is one.
            Happened::Asked(_) if stopping.is_some() => {}
            Happened::Asked(asked) if asked.request.is_dry => {
                // Whoever asked may be gone.
                let _ = asked.answer.send(replanner.compare(env));
            }
            Happened::Asked(asked) => {
                let (answers, is_again) = (vec![asked.answer], asked.request.is_again);
                replanner.begin("`wrt apply`", answers, is_again, env, output);
            }
            Happened::Planned(_) if stopping.is_some() => {}
            Happened::Planned(project) => replanner.settle(project, &mut session, env, output),
        }
    }
}

/// Serves until a signal asks to stop, then lets everything end in order.
fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    signals: &Signals,
    pre_stop: Duration,
) -> JoinHandle<usize> {
    let (runtime, stopped) = (runtime.clone(), signals.stopped());
    tokio::spawn(async move {
        let stop = async {
            stopped.await;
            runtime.announce_shutdown();
            // Requests still come while the load balancer has not noticed.
            tokio::time::sleep(pre_stop).await;
            runtime.begin_shutdown();
        };
        let cut = runtime.serve(listener, stop).await;
        runtime.shutdown().await;
        cut
    })
}

/// What is said at the end, and the exit status.
///
/// # Errors
///
/// When serving ended by itself, which is a defect.
fn end(
    ended: Result<usize, JoinError>,
    stopping: Option<Instant>,
    output: &mut Output,
) -> anyhow::Result<ExitStatus> {
    let connections = ended.context("the task that serves ended abnormally")?;
    // Serving ends after a signal only; the signal may not have been looked at yet.
    let lasted = stopping.map_or(Duration::ZERO, |since| since.elapsed());
    output.stopped(lasted, connections);
    Ok(ExitStatus::Success)
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
    Ok(by_name(runtime.add_handlers(configs)?))
}

/// `handlers` by their names.
pub(super) fn by_name(handlers: Vec<HandlerHandle>) -> BTreeMap<HandlerName, HandlerHandle> {
    handlers.into_iter().map(|handle| (handle.name().clone(), handle)).collect()
}

/// What is watched, and in `dev` built; the handlers that are `lazy` wait for their first calls.
///
/// # Errors
///
/// When no handler has anything to serve, neither on the disk nor from an earlier run.
fn to_watch(
    settings: &HostSettings,
    handlers: &BTreeMap<HandlerName, HandlerHandle>,
    lazy: &BTreeSet<HandlerName>,
) -> Result<Vec<WatchedSource>, AtFault> {
    let (watched, problems) = watched(settings, handlers, lazy);
    // One that is missing costs the others nothing, and is served as soon as it is there.
    let is_in_vain = problems.len() == settings.project.manifest.handlers.len();
    match problems.into_iter().next().filter(|_| is_in_vain) {
        Some(problem) => Err(problem),
        None => Ok(watched),
    }
}

/// The same with why handlers have nothing to serve.
pub(super) fn watched(
    settings: &HostSettings,
    handlers: &BTreeMap<HandlerName, HandlerHandle>,
    lazy: &BTreeSet<HandlerName>,
) -> (Vec<WatchedSource>, Vec<AtFault>) {
    let (root, entries) = (&settings.project.root, &settings.project.manifest.handlers);
    let mut problems = Vec::new();
    let watched = entries.iter().filter_map(|entry| {
        let handler = handlers.get(&entry.config.name)?;
        let source = match settings.build {
            Some(_) => artifacts::to_build(entry, root),
            None => {
                let path = artifacts::to_serve(entry, root).unwrap_or_else(|problem| {
                    // What an earlier run has confirmed is served without the file.
                    if !handler.has_confirmed() {
                        problems.push(problem);
                    }
                    artifacts::expected(entry, root)
                });
                dev::Source::Wasm { path }
            }
        };
        let watched = WatchedSource::new(handler.clone(), source);
        Some(if lazy.contains(handler.name()) { watched.lazily() } else { watched })
    });
    let watched: Vec<_> = watched.collect();
    (watched, problems)
}

/// Ends what is built and watched, and waits for the end, which is a matter of killing processes.
async fn end_session(session: Option<Session>) {
    if let Some(session) = session {
        session.end().await;
    }
}

/// Writes out what happened last.
fn flush(events: &mut EventReceiver, output: &mut Output) -> anyhow::Result<()> {
    loop {
        match events.try_recv() {
            Ok(event) => output.event(&event)?,
            Err(TryRecvError::Missed(missed)) => output.missed(missed),
            Err(TryRecvError::Empty | TryRecvError::Closed) => return Ok(()),
        }
    }
}
