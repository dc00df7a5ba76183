//! A running dev session: one task per handler, all ended by dropping it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};

use super::build::Workshop;
use super::drive::Driver;
use super::follow::Follow;
use super::hub::Hub;
use super::notice::Post;
use super::rebuild::Rebuild;
use super::{Options, Source, WatchedSource};
use crate::config::Settings;
use crate::id::HandlerName;

/// How often files are looked at where the system tells nothing: soon enough to be taken for
/// immediate beside a build, and below 1 % of a processor for a hundred files.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// Watches and builds the sources of handlers, and has the handlers run what is new, until it is dropped.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use wrt::dev::{Options, Session, Source, WatchedSource};
/// use wrt::{HandlerConfig, HandlerName, Route, Runtime, RuntimeConfig};
///
/// let runtime = Runtime::new(RuntimeConfig::for_dev())?;
/// // What becomes of builds is told here, as what becomes of swaps and calls.
/// let mut events = runtime.events();
/// tokio::spawn(async move {
///     while let Ok(event) = events.recv().await {
///         println!("{event:?}");
///     }
/// });
///
/// let config = HandlerConfig::new(HandlerName::new("hello")?).with_route(Route::parse("/hello/*")?);
/// let hello = runtime.add_handler(config)?;
/// let source = Source::Cargo { dir: "plugins/hello".into() };
/// let session = Session::start(vec![WatchedSource::new(hello, source)], Options::default());
///
/// // Requests that come before the first build is done wait for it.
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// runtime.serve(listener, async { let _ = tokio::signal::ctrl_c().await; }).await;
/// session.end().await;
/// runtime.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session {
    /// Aborted when dropped, which drops the builds and the watches that the tasks own.
    tasks: JoinSet<()>,
    /// The watched sources, by the handlers that they drive.
    watched: BTreeMap<HandlerName, Watched>,
    /// The files that commands write, as the tasks that run were told.
    written: BTreeSet<PathBuf>,
    is_watching: bool,
    hub: Arc<Hub>,
    workshop: Workshop,
}

/// A handler that is driven.
#[derive(Debug)]
struct Watched {
    what: WatchedSource,
    driver: Arc<Driver>,
    /// What the handler was to run with when this was looked at last.
    settings: Arc<Settings>,
    task: AbortHandle,
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

    /// Starts to watch and build `sources`, all at once, and to drive their handlers: what happens to a
    /// source is an event of its handler's runtime, each new component a
    /// [standing](crate::SwapRequest::standing) swap, and a first build that fails what requests are
    /// answered with. Relative paths are relative to the current directory.
    ///
    /// End the session before the runtime: it would go on to build for nobody.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use = "a session ends when it is dropped"]
    pub fn start(sources: Vec<WatchedSource>, options: Options) -> Self {
        let mut session = Self::new(options, sources.len(), true);
        session.watch(sources);
        session
    }

    /// Watches and builds `sources` in place of those of before, one for each handler. What is the same goes
    /// on undisturbed; what is not there any more ends, with its build; what is new begins as in
    /// [`start`](Self::start). A command that is run whenever its directory changes begins anew when what
    /// other commands write is another file now. A component that its handler did not run is tried again
    /// when the settings of that handler have changed.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn watch(&mut self, sources: Vec<WatchedSource>) {
        let sources = sources
            .into_iter()
            .map(|watched| WatchedSource { source: absolute(watched.source), ..watched });
        let sources: Vec<_> = sources.collect();
        let written: BTreeSet<_> = sources.iter().filter_map(|it| it.source.output()).collect();
        self.workshop.serve(sources.len());
        // The task of such a command knows what other handlers' commands write.
        let is_as_before = written == self.written;
        let knows =
            |source: &Source| matches!(source, Source::Command { watch, .. } if watch.is_empty());
        self.written = written;
        let mut before = std::mem::take(&mut self.watched);
        for what in sources {
            let name = what.handler.name().clone();
            let settings = what.handler.configured();
            let watched = match before.remove(&name) {
                Some(mut same)
                    if same.what.is_same(&what) && (is_as_before || !knows(&what.source)) =>
                {
                    if same.settings != settings {
                        same.settings = settings;
                        same.driver.settings_changed();
                    }
                    same
                }
                other => {
                    other.into_iter().for_each(|other| self.forget(&other));
                    let driver = Arc::new(Driver::new(&what));
                    let acts = Arc::clone(&driver);
                    let post = Post::new(name.clone(), move |notice| acts.act(notice));
                    let task = self.spawn(what.source.clone(), post);
                    Watched { what, driver, settings, task }
                }
            };
            self.watched.insert(name, watched);
        }
        before.into_values().for_each(|gone| self.forget(&gone));
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "a defect of wrt: a task that watches a source panicked");
            }
        }
    }

    /// Ends what is watched and built for a handler that is not driven any more, or by another source.
    fn forget(&self, watched: &Watched) {
        watched.task.abort();
        if let Source::Cargo { dir } = &watched.what.source {
            self.workshop.give_up_claims(dir);
        }
    }

    fn new(options: Options, n_sources: usize, is_watching: bool) -> Self {
        Self {
            tasks: JoinSet::new(),
            watched: BTreeMap::new(),
            written: BTreeSet::new(),
            is_watching,
            hub: Arc::new(Hub::new(options.poll || !is_watching)),
            workshop: Workshop::new(options, n_sources),
        }
    }

    /// Starts the task of `source`, which has absolute paths.
    fn spawn(&mut self, source: Source, post: Post) -> AbortHandle {
        let (hub, workshop) = (self.hub.clone(), self.workshop.clone());
        let Self { tasks, written, is_watching, .. } = self;
        match source {
            Source::Wasm { path } => tasks.spawn(Follow::new(path, hub, post).run(*is_watching)),
            source => {
                let rebuild = Rebuild::new(source, written, hub, workshop, *is_watching, post);
                tasks.spawn(rebuild.run())
            }
        }
    }
}

/// Starts one task for each of `sources`, which tells its post what happens; the tasks of a session that
/// is not `is_watching` end with the first outcome.
pub(super) fn launch(sources: Vec<(Source, Post)>, options: Options, is_watching: bool) -> Session {
    let mut session = Session::new(options, sources.len(), is_watching);
    let sources = sources.into_iter().map(|(source, post)| (absolute(source), post));
    let sources: Vec<_> = sources.collect();
    session.written = sources.iter().filter_map(|(source, _)| source.output()).collect();
    for (source, post) in sources {
        session.spawn(source, post);
    }
    session
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
