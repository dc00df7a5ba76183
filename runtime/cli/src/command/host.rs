//! `wrt dev` and `wrt serve`: one process, one loop over everything that can happen.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;
use wrt::dev::{Notice, NoticeKind, Session, Source, WatchedSource};
use wrt::{Event, EventKind, HandlerHandle, HandlerName, Rejected, Runtime, Swap};

use super::artifacts;
use super::bind::bind;
use super::session::{self, Next};
use super::signals::Signals;
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
    let runtime = Runtime::new(settings.runtime.clone())?;
    let mut events = runtime.events();
    let handlers = add_handlers(&settings, &runtime)?;
    output.align_to(handlers.keys());
    let listener = bind(&settings.listen).await?;
    let url = format!("http://{}", listener.local_addr().context("failed to read the address")?);
    runtime.event_bus().emit(None, None, EventKind::Listening { url });

    // Nothing to rebuild or watch: a candidate that is refused now will never be accepted.
    let final_verdict = !settings.watch;
    let (_session, mut notices) = start_session(&settings)?;
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
    let mut swaps = Swaps::new();
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
            Happened::Notice(Notice { kind: NoticeKind::Unavailable { message, .. }, .. })
                if final_verdict =>
            {
                flush(&mut events, output)?;
                // The session's own hint is that the file is looked for all the time.
                let hint = "build the handler, or correct the path";
                return Err(AtFault::new(message).hint(hint).into());
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
            Happened::Swapped(Err(_)) if final_verdict => {
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

fn add_handlers(
    settings: &HostSettings,
    runtime: &Runtime,
) -> anyhow::Result<BTreeMap<HandlerName, HandlerHandle>> {
    let entries = settings.project.manifest.handlers.iter();
    entries
        .map(|entry| {
            let handle = runtime.add_handler(entry.config.clone())?;
            Ok((entry.config.name.clone(), handle))
        })
        .collect()
}

/// Starts to build and watch; for `serve`, the built components alone.
fn start_session(settings: &HostSettings) -> anyhow::Result<(Session, mpsc::Receiver<Notice>)> {
    let root = &settings.project.root;
    let sources = settings.project.manifest.handlers.iter().map(|entry| {
        let source = match settings.build {
            Some(_) => artifacts::to_build(entry, root),
            None => Source::Wasm { path: artifacts::to_serve(entry, root)? },
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
