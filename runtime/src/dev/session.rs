//! A running dev session: one task per handler, all ended by dropping it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::build::Workshop;
use super::follow::Follow;
use super::hub::Hub;
use super::rebuild::Rebuild;
use super::{Notice, NoticeKind, Options, Source, WatchedSource};
use crate::id::HandlerName;

/// Notices kept for a receiver that is busy; then the handlers' tasks wait for it, and what
/// happens to files meanwhile is coalesced.
const BACKLOG: usize = 64;
/// How often files are looked at where the system tells nothing: soon enough to be taken for
/// immediate beside a build, and below 1 % of a processor for a hundred files.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// Watches and builds the sources of handlers until it is dropped.
#[derive(Debug)]
pub struct Session {
    /// Aborted when dropped, which drops the builds and the watches that the tasks own.
    tasks: JoinSet<()>,
}

impl Session {
    /// Ends all builds and watches, and waits until none of their processes is left. Dropping a session ends
    /// them soon; a program that exits at once needs this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future is dropping the session.
    pub async fn end(mut self) {
        self.tasks.shutdown().await;
    }

    /// Starts to build and watch `sources`, all at once, and gives the channel on which their
    /// [`Notice`]s arrive. Relative paths are relative to the current directory.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(sources: Vec<WatchedSource>, options: Options) -> (Self, mpsc::Receiver<Notice>) {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let hub = Arc::new(Hub::new(options.poll || !options.watch));
        let workshop = Workshop::new(options, sources.len());
        let mut tasks = JoinSet::new();
        let sources = sources.into_iter().map(|one| (one.handler, absolute(one.source)));
        let sources: Vec<_> = sources.collect();
        let written = sources.iter().filter_map(|(_, source)| source.output()).collect();
        for (handler, source) in sources {
            let post = Post { handler, sender: sender.clone() };
            let (hub, workshop) = (hub.clone(), workshop.clone());
            // An error means that the receiver is gone, and the task's work with it.
            match source {
                Source::Wasm { path } => tasks.spawn(async move {
                    let _ = Follow::new(path, hub, post).run(workshop.options.watch).await;
                }),
                source => {
                    let rebuild = Rebuild::new(source, &written, hub, workshop, post);
                    tasks.spawn(async move {
                        let _ = rebuild.run().await;
                    })
                }
            };
        }
        (Self { tasks }, receiver)
    }
}

/// Nobody receives notices any more.
#[derive(Debug)]
pub(super) struct Gone;

/// Sends the notices of one handler.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) handler: HandlerName,
    sender: mpsc::Sender<Notice>,
}

impl Post {
    pub(super) async fn send(
        &self,
        since: Instant,
        cause: &str,
        kind: NoticeKind,
    ) -> Result<(), Gone> {
        let (handler, cause) = (self.handler.clone(), cause.to_owned());
        self.sender.send(Notice { handler, since, cause, kind }).await.map_err(|_| Gone)
    }

    pub(super) async fn info(&self, cause: &str, message: String) -> Result<(), Gone> {
        self.send(Instant::now(), cause, NoticeKind::Info { message }).await
    }
}

impl Source {
    /// The file that its command writes, in an absolute source.
    fn output(&self) -> Option<PathBuf> {
        match self {
            Self::Command { dir, output, .. } => Some(dir.join(output)),
            Self::Cargo { .. } | Self::Wasm { .. } => None,
        }
    }
}

/// `source` with absolute paths.
pub(super) fn absolute(source: Source) -> Source {
    // It fails for an empty path, and where the current directory is gone; such a path then leads
    // to nothing, which is reported as a missing source.
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    match source {
        Source::Cargo { dir } => Source::Cargo { dir: absolute(dir) },
        Source::Wasm { path } => Source::Wasm { path: absolute(path) },
        Source::Command { command, dir, output, watch } => {
            Source::Command { command, dir: absolute(dir), output, watch }
        }
    }
}

/// Locks plain data that each method leaves whole, so that a panic elsewhere does not matter.
pub(super) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on `shared` off the async threads.
pub(super) async fn with<T: Send + 'static, R: Send + 'static>(
    shared: &Arc<Mutex<T>>,
    work: impl FnOnce(&mut T) -> R + Send + 'static,
) -> R {
    let shared = shared.clone();
    blocking(move || work(&mut lock(&shared))).await
}

/// Runs `work` off the async threads.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime shuts down: this task is about to be dropped, too.
            Err(_) => std::future::pending().await,
        },
    }
}
