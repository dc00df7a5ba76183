//! The facade: `Runtime` wires the parts together and is where an embedder begins.

mod apply;
mod control;
mod ending;
mod event_call;
mod handle;
mod lookup;
mod plan;
mod plugin;
mod precompile;
mod removal;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::artifact::{Artifacts, CacheReport, CacheUnavailable, DiskCache};
use crate::config::{ConfigError, HandlerConfig, RuntimeConfig};
use crate::contract::Contract;
use crate::engine::{EngineError, Engines};
use crate::error::Hint;
use crate::events::{EventBus, EventReceiver};
use crate::handler::table::{RouteTable, TableError};
use crate::handler::{Everywhere, Handler, RequestIds};
use crate::history::{FLUSH_PATIENCE, HistoryStore, HistoryUnavailable, NotKept, Usage};
use crate::host::{self, Budget, HostState};
use crate::id::HandlerName;
#[cfg(feature = "admin")]
use crate::ingress::ConnectionCounts;
use crate::ingress::{self, DataPlane, HttpService};
use crate::instance::{Served, StoreCount};
use crate::stage::served::ServedGuest;
use crate::stage::typed::TypedGuest;
use crate::stage::{Linkers, Own, Shared};
use crate::supervisor::book::Book;
use crate::supervisor::{Guest, Mismatch, Orders, Stop, SupervisorHandle};

pub use control::ControlError;
use ending::Ending;
pub use handle::HandlerHandle;
use handle::{AnyHandler, Controlled};
pub use plan::{Applied, Change, Plan, Planned};
pub use plugin::Plugin;
pub use removal::{Removal, Removed};
pub use status::{GenerationStatus, HandlerStatus, RolledBack, Verdict};

/// Holds handlers and swaps what they run. Cheap to clone; one for a process's life.
///
/// The supervisor of each handler is a task of the tokio runtime in which the handler was added. When
/// that tokio runtime ends, calls go on, and each further swap of the handler is refused with
/// [`StageError::NoSupervisor`](crate::StageError::NoSupervisor). So a `Runtime` in a `static` needs a
/// tokio runtime that lives as long.
///
/// [`Runtime::shutdown`] ends it in order; dropping the last clone stops its tasks without waiting for
/// calls.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use wrt::{HandlerConfig, HandlerName, Route, Runtime, RuntimeConfig, Source};
///
/// let runtime = Runtime::new(RuntimeConfig::default())?;
/// let config = HandlerConfig::new(HandlerName::new("hello")?).with_route(Route::parse("/hello/*")?);
/// let hello = runtime.add_handler(config)?;
///
/// let _ = hello.load(Source::file("hello.wasm")).await?;
/// // Later, while requests are answered: new calls run the new code, running calls end on the old.
/// let _ = hello.swap(Source::file("hello-2.wasm"), "an update was fetched").await?;
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// runtime.serve(listener, async { let _ = tokio::signal::ctrl_c().await; }).await;
/// runtime.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Shared,
    /// Why there is no cache directory although one was asked for.
    cache_problem: Option<CacheUnavailable>,
    history: Option<HistoryStore>,
    /// Keeps other processes from the history as long as a handler may be added.
    history_usage: Option<Arc<Usage>>,
    /// Why there is no history on disk although one was asked for.
    history_problem: Option<HistoryUnavailable>,
    /// Everything that wrt offers, for the components it serves.
    linkers: Arc<Linkers<HostState>>,
    plane: Arc<DataPlane>,
    /// Calls that may run at once over all handlers.
    everywhere: Everywhere,
    /// Locked for looking up and registration only, never by a call.
    handlers: Mutex<BTreeMap<HandlerName, HandlerHandle>>,
    tasks: TaskTracker,
    ending: Ending,
    stop: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A handler whose supervisor runs, and what controls it.
type Registered<R> = (Arc<Handler<R>>, HandlerHandle);

/// Whether a handler begins with the version that was confirmed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boots {
    /// At the start of a process it does.
    Yes,
    /// A handler that is added to a running host begins with what its plan says.
    No,
}

/// The runtime could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is out of its range.
    #[error("the runtime's configuration cannot work")]
    Config(#[from] ConfigError),
    /// wasmtime refused the machine or the settings.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The host's imports could not be linked, which is a defect of wrt.
    #[error("failed to link the imports that wrt offers")]
    Link {
        /// What the linker said.
        source: wasmtime::Error,
    },
}

/// A handler could not be added; those that are there go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// A setting is out of its range.
    #[error("the configuration of handler `{handler}` cannot work")]
    Config {
        /// The handler.
        handler: HandlerName,
        /// The setting.
        source: ConfigError,
    },
    /// Its name or its route is taken.
    #[error(transparent)]
    Taken(#[from] TableError),
    /// The embedder's imports could not be linked.
    #[error("failed to link the imports of world `{world}`")]
    Link {
        /// The contract's world.
        world: &'static str,
        /// What the linker said.
        source: wasmtime::Error,
    },
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// The call was made outside of a tokio runtime, in which the handler's supervisor would run.
    #[error("handlers are added within a tokio runtime, and there is none here")]
    NoTokio,
    /// Fewer handlers were made than were asked for, which cannot be.
    #[error("a defect of wrt: no handler was made")]
    Defect,
}

impl Hint for AddError {
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Config { .. } => "change that setting",
            Self::Taken(TableError::SameRoute { .. }) => "give one of the two another `route`",
            Self::Taken(TableError::SameName { .. }) => "give one of the two another name",
            Self::NoTokio => "call this within `Runtime::block_on` of tokio, or in a task",
            Self::Defect => "please report it with this message",
            Self::Link { .. } | Self::ShuttingDown => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}

impl Runtime {
    /// A runtime without handlers.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a setting cannot work, here or at all.
    ///
    pub fn new(config: RuntimeConfig) -> Result<Self, BuildError> {
        config.check()?;
        warn_of_slow_build();
        let engines = Engines::new(&config)?;
        let linkers = Linkers::new(&engines, |linker| host::link(linker, &config))
            .map_err(|source| BuildError::Link { source })?;
        let (disk, cache_problem) = match &config.cache_dir {
            Some(dir) => match DiskCache::open(dir, config.cache_disk) {
                Ok(disk) => (Some(disk), None),
                Err(problem) => (None, Some(problem)),
            },
            None => (None, None),
        };
        let (history, history_problem) = match config.state_dir.as_deref().map(open_history) {
            Some(Ok(store)) => (Some(store), None),
            Some(Err(problem)) => (None, Some(problem)),
            None => (None, None),
        };
        let history_usage = history.as_ref().map(HistoryStore::usage);
        let artifacts = Artifacts::new(engines.clone(), disk, &config);
        let everywhere = Everywhere::new(config.max_concurrent_calls);
        let (config, bus) = (Arc::new(config), EventBus::new());
        let plane = Arc::new(DataPlane {
            routes: ArcSwap::from_pointee(RouteTable::empty()),
            config: Arc::clone(&config),
            bus: bus.clone(),
            request_ids: RequestIds::default(),
            uploads: ingress::uploads_budget(),
            answers: ingress::answers_budget(),
            connections: Arc::default(),
        });
        let (budget, stores) = (Budget::new(&config), StoreCount::default());
        let shared = Shared { config, engines, artifacts, bus, budget, stores };
        let inner = Inner {
            shared,
            cache_problem,
            history,
            history_usage,
            history_problem,
            linkers: Arc::new(linkers),
            plane,
            everywhere,
            handlers: Mutex::default(),
            tasks: TaskTracker::new(),
            ending: Ending::default(),
            stop: CancellationToken::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Adds a handler for components that wrt serves: HTTP handlers and event handlers, told apart
    /// by their exports. It has nothing to run until its first [`HandlerHandle::load`]; requests
    /// that arrive before wait for that, bounded.
    ///
    /// # Errors
    ///
    /// [`AddError`] when its settings cannot work, or its name or route is taken.
    pub fn add_handler(&self, config: HandlerConfig) -> Result<HandlerHandle, AddError> {
        let mut handles = self.add_handlers([config])?;
        // One for each configuration.
        handles.pop().ok_or(AddError::Defect)
    }

    /// [`Runtime::add_handler`] for many at once: all of them, or none. Adding them one by one
    /// takes a time that grows with the square of their number.
    ///
    /// # Errors
    ///
    /// As [`Runtime::add_handler`].
    pub fn add_handlers(
        &self,
        configs: impl IntoIterator<Item = HandlerConfig>,
    ) -> Result<Vec<HandlerHandle>, AddError> {
        let inner = &self.inner;
        let guest = |handler: &Handler<_>| self.served_guest(handler);
        let registered = self.register(configs, guest, AnyHandler::Served, |handlers| {
            inner.plane.routes.store(Arc::new(inner.plane.routes.load().with(handlers)?));
            Ok(())
        })?;
        Ok(registered.into_iter().map(|(_, handle)| handle).collect())
    }

    /// Adds a handler for components of the embedder's own world. `make_host` makes the
    /// embedder's data for each store.
    ///
    /// # Errors
    ///
    /// [`AddError`] when its settings cannot work, its name is taken, or [`Contract::link`] fails.
    pub fn add_plugin<C: Contract>(
        &self,
        config: HandlerConfig,
        make_host: impl Fn() -> C::Host + Send + Sync + 'static,
    ) -> Result<Plugin<C>, AddError> {
        let shared = self.inner.shared.clone();
        let fill =
            |linker: &mut _| host::link(linker, &shared.config).and_then(|()| C::link(linker));
        let linkers = Linkers::new(&shared.engines, fill)
            .map_err(|source| AddError::Link { world: C::WORLD, source })?;
        let (linkers, make_host) = (Arc::new(linkers), Arc::new(make_host));
        let guest = |handler: &Handler<_>| TypedGuest::<C> {
            shared: shared.clone(),
            own: Own::of(handler, &shared.budget),
            linkers: Arc::clone(&linkers),
            make_host: Arc::clone(&make_host) as _,
        };
        let registered =
            self.register([config], guest, |handler| AnyHandler::Typed(handler), |_| Ok(()))?.pop();
        // One for each configuration.
        let (handler, handle) = registered.ok_or(AddError::Defect)?;
        Ok(Plugin::new(handler, handle))
    }

    /// Takes the handler called `name` away, if there is one: its name and its route are free at once,
    /// and its calls in flight drain. The result can be awaited, for the end of the last call.
    ///
    /// ```no_run
    /// # async fn example(runtime: wrt::Runtime, name: wrt::HandlerName) {
    /// if let Some(removal) = runtime.remove(&name) {
    ///     // Its files can be deleted after this.
    ///     assert_eq!(removal.await.cut, 0, "calls of `{name}` were cut");
    /// }
    /// # }
    /// ```
    pub fn remove(&self, name: &HandlerName) -> Option<Removal> {
        let mut handlers = self.known();
        let removed = handlers.remove(name)?;
        let routes = self.inner.plane.routes.load().without(name);
        self.inner.plane.routes.store(Arc::new(routes));
        removed.stop();
        drop(handlers);
        Some(Removal::new(async move { removed.over().await }))
    }

    /// The data plane as a `tower` service, for a server or router of the embedder's own.
    #[must_use]
    pub fn http_service(&self) -> HttpService {
        HttpService::new(Arc::clone(&self.inner.plane))
    }

    /// Serves HTTP/1.1 and HTTP/2 (without TLS) on `listener` until `stop` is ready; then closes
    /// it and lets open connections finish for up to the longest `drain` of the handlers that there
    /// are then, and one second more, in which clients are told of calls that were cut.
    ///
    /// Returns how many connections had to be cut. A caller that gets another number than 0 should
    /// tell somebody: those clients have lost an answer. With [`Runtime::begin_shutdown`] in `stop`,
    /// calls of each handler are cut at the `drain` of that handler, and counted in
    /// [`EventKind::Drained`](crate::EventKind::Drained).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and every connection at once.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> usize {
        let RuntimeConfig { max_connections, busy_poll, .. } = *self.inner.shared.config;
        let service = self.http_service();
        let stop = async {
            stop.await;
            self.longest_drain().saturating_add(CUT_GRACE)
        };
        let counts = Arc::clone(&self.inner.plane.connections);
        ingress::serve(listener, service, max_connections, busy_poll, counts, stop).await
    }

    /// Events from now on; see [`Event`](crate::Event). A receiver that falls behind misses the oldest
    /// events of their class: log lines displace no failed calls, and neither displaces a swap.
    #[must_use]
    pub fn events(&self) -> EventReceiver {
        self.inner.shared.bus.subscribe()
    }

    /// Carries the events of this runtime, for those who add events of their own.
    #[must_use]
    pub fn event_bus(&self) -> &EventBus {
        &self.inner.shared.bus
    }

    /// Why code is not kept in [`RuntimeConfig::cache_dir`] although it was asked for; everything
    /// works without it, only slower.
    #[must_use]
    pub fn cache_problem(&self) -> Option<&CacheUnavailable> {
        self.inner.cache_problem.as_ref()
    }

    /// Why the history is not kept in [`RuntimeConfig::state_dir`] although it was asked for, such as
    /// [`HistoryUnavailable::InUse`]; a restart then knows nothing of what is swapped in here. A history
    /// that can be read is read: what was confirmed before is what this runtime starts with.
    #[must_use]
    pub fn history_problem(&self) -> Option<&HistoryUnavailable> {
        let of_store = self.inner.history.as_ref().and_then(HistoryStore::unavailable);
        of_store.or(self.inner.history_problem.as_ref())
    }

    /// Whether what becomes of each version is kept for the next start, as far as the disk takes it.
    #[cfg(feature = "admin")]
    pub(crate) fn keeps_history(&self) -> bool {
        self.inner.history.is_some() && self.history_problem().is_none()
    }

    /// What the cache of compiled code holds in memory, and what its layers did.
    #[must_use]
    pub fn cache_report(&self) -> CacheReport {
        self.inner.shared.artifacts.report()
    }

    /// Figures about the connections of the data plane.
    #[cfg(feature = "admin")]
    pub(crate) fn connection_counts(&self) -> &ConnectionCounts {
        &self.inner.plane.connections
    }

    /// Connections to the data plane that are open now, over all listeners of [`Runtime::serve`].
    #[must_use]
    pub fn open_connections(&self) -> usize {
        // As many as the process has descriptors at most.
        usize::try_from(self.inner.plane.connections.open()).unwrap_or(usize::MAX)
    }

    /// Stores alive now, over all handlers: calls in flight and warm instances.
    #[must_use]
    pub fn live_stores(&self) -> usize {
        self.inner.shared.stores.get()
    }

    /// Ends the runtime: publishes nothing further, lets no calls in, drains every handler within its
    /// own `drain`, and finishes what is to be written to the cache directory and the history.
    ///
    /// Call it after [`Runtime::serve`] has returned: it takes the handlers away from requests that
    /// are still on their way. The `drain` of a handler counts from here, or from
    /// [`Runtime::begin_shutdown`] where that was called before.
    ///
    /// # Cancel safety
    ///
    /// The shutdown goes on; a second call waits for the same end.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.shared.artifacts.flush().await;
        if let Some(store) = &self.inner.history {
            match tokio::time::timeout(FLUSH_PATIENCE, store.flush()).await {
                // Each supervisor has told of what it could not write. The next runtime may be made
                // as soon as this one has ended.
                Ok(_) => store.release_directory(),
                // The release would wait for the same write; the end of the process gives the lock back.
                Err(_) => tracing::warn!("the disk with the history does not answer"),
            }
        }
    }

    /// Ready when the runtime has shut down, and every handler is drained. Does not keep the runtime.
    #[cfg(feature = "admin")]
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let (stop, tasks) = (self.inner.stop.clone(), self.inner.tasks.clone());
        async move {
            stop.cancelled().await;
            // No handler is added after the stop. A runtime that was dropped has not done this.
            tasks.close();
            tasks.wait().await;
        }
    }

    /// What stages the components of `handler`, which wrt serves.
    fn served_guest(&self, handler: &Handler<Served>) -> ServedGuest {
        let inner = &self.inner;
        let (shared, linkers) = (inner.shared.clone(), Arc::clone(&inner.linkers));
        ServedGuest { own: Own::of(handler, &shared.budget), shared, linkers }
    }

    /// Why no handler can be added now, if none can.
    ///
    /// # Errors
    ///
    /// [`AddError::ShuttingDown`] and [`AddError::NoTokio`].
    fn takes_handlers(&self) -> Result<(), AddError> {
        if self.inner.stop.is_cancelled() || self.inner.ending.has_begun() {
            return Err(AddError::ShuttingDown);
        }
        // Supervisors are tasks of the tokio runtime that this is called in.
        match tokio::runtime::Handle::try_current() {
            Ok(_) => Ok(()),
            Err(_) => Err(AddError::NoTokio),
        }
    }

    /// A handler with `config` that nobody knows yet.
    fn new_handler<R>(&self, config: HandlerConfig) -> Arc<Handler<R>> {
        let first_timeout = self.inner.shared.config.first_generation_timeout;
        Arc::new(Handler::new(config, self.inner.everywhere.clone(), first_timeout))
    }

    /// Starts the supervisors of new handlers once `announce` has accepted all of them. `guest` makes what
    /// stages the components of each, and `erase` forgets what its calls look like.
    fn register<G: Guest>(
        &self,
        configs: impl IntoIterator<Item = HandlerConfig>,
        guest: impl Fn(&Handler<G::Ready>) -> G,
        erase: impl Fn(Arc<Handler<G::Ready>>) -> AnyHandler,
        announce: impl FnOnce(&[Arc<Handler<G::Ready>>]) -> Result<(), TableError>,
    ) -> Result<Vec<Registered<G::Ready>>, AddError> {
        self.takes_handlers()?;
        // Held over the announcement, so that two registrations do not overwrite each other's
        // routes.
        let mut known = self.known();
        let (mut names, mut handlers) = (BTreeSet::new(), Vec::new());
        for config in configs {
            let name = config.name.clone();
            config.check().map_err(|source| AddError::Config { handler: name.clone(), source })?;
            if known.contains_key(&name) || !names.insert(name.clone()) {
                return Err(TableError::SameName { name }.into());
            }
            handlers.push(self.new_handler(config));
        }
        announce(&handlers)?;
        let start = |handler: Arc<Handler<G::Ready>>| {
            let erased = erase(Arc::clone(&handler));
            let handle = self.start(guest(&handler), &handler, erased, Boots::Yes);
            known.insert(handler.name().clone(), handle.clone());
            (handler, handle)
        };
        Ok(handlers.into_iter().map(start).collect())
    }

    /// Starts the supervisor of `handler`, which is `erased` for those who control it.
    fn start<G: Guest>(
        &self,
        guest: G,
        handler: &Arc<Handler<G::Ready>>,
        erased: AnyHandler,
        boots: Boots,
    ) -> HandlerHandle {
        let inner = &self.inner;
        let stop = Stop::of(&inner.stop);
        let config = &inner.shared.config;
        let orders = Orders {
            bus: inner.shared.bus.clone(),
            max_draining: config.max_draining,
            mismatch: if config.dev { Mismatch::Reset } else { Mismatch::Refuse },
            book: Book::open(handler.name().clone(), inner.history.clone(), boots == Boots::Yes),
            usage: inner.history_usage.clone(),
            stop: stop.clone(),
        };
        let supervisor = SupervisorHandle::start(guest, Arc::clone(handler), orders, &inner.tasks);
        let problem = self.history_problem();
        HandlerHandle::new(Controlled {
            handler: erased,
            supervisor,
            stop,
            bus: inner.shared.bus.clone(),
            history_problem: problem.map(|problem| NotKept::new(handler.name(), problem)),
            runtime: Arc::downgrade(inner),
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<HandlerName, HandlerHandle>> {
        // Entries are inserted and removed whole, so a panic elsewhere leaves the map sound.
        self.inner.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The history in `dir`, at least to be read.
fn open_history(dir: &Path) -> Result<HistoryStore, HistoryUnavailable> {
    HistoryStore::open(dir).or_else(|problem| match problem {
        HistoryUnavailable::InUse { .. } | HistoryUnavailable::ReadOnly { .. } => {
            HistoryStore::reading(dir, problem)
        }
        _ => Err(problem),
    })
}

/// Says once that compiling takes long in this program: see the crate's documentation.
fn warn_of_slow_build() {
    static WARN: Once = Once::new();
    if env!("WRT_OPT_LEVEL") == "0" {
        WARN.call_once(|| {
            tracing::warn!(
                "wrt is compiled without optimization, and so is the compiler of components, unless \
                 its own profile says otherwise: a component takes some fifteen times as long to \
                 load; set `opt-level = 3` in `[profile.dev.package.\"*\"]` of the workspace"
            );
        });
    }
}

/// Time that open connections get after the longest drain, so that clients hear of calls that were cut
/// at its end; a guest that computes notices the cut within an epoch tick.
const CUT_GRACE: Duration = Duration::from_secs(1);

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("live_stores", &self.live_stores()).finish_non_exhaustive()
    }
}
