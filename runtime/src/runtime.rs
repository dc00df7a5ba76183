//! The facade: `Runtime` wires the parts together and is where an embedder begins.

mod handle;
mod plugin;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::component::Linker;

use crate::config::{ConfigError, HandlerConfig, RuntimeConfig};
use crate::contract::Contract;
use crate::engine::{Engine, EngineError};
use crate::events::{Event, EventBus};
use crate::handler::table::{RouteTable, TableError};
use crate::handler::{Handler, RequestIds};
use crate::host::{self, HostState};
use crate::id::HandlerName;
use crate::ingress::{self, DataPlane, HttpService};
use crate::instance::StoreCount;
use crate::stage::Shared;
use crate::stage::served::ServedGuest;
use crate::stage::typed::TypedGuest;
use crate::supervisor::{Guest, SupervisorHandle};

pub use handle::HandlerHandle;
pub use plugin::Plugin;

/// Holds handlers and swaps what they run. Cheap to clone; one for a process's life.
///
/// Made inside of a tokio runtime, whose tasks it uses. [`Runtime::shutdown`] ends it in order;
/// dropping the last clone stops its tasks without waiting for calls.
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
    /// Everything that wrt offers, for the components it serves.
    linker: Arc<Linker<HostState>>,
    plane: Arc<DataPlane>,
    /// Calls that may run at once over all handlers.
    everywhere: Arc<Semaphore>,
    /// Stops the supervisor of each handler. Locked for registration only.
    handlers: Mutex<BTreeMap<HandlerName, CancellationToken>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A handler and the one who swaps what it runs.
type Registered<R> = (Arc<Handler<R>>, Arc<SupervisorHandle>);

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
}

impl Runtime {
    /// A runtime without handlers.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a setting cannot work, here or at all.
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime, as soon as a handler is added.
    pub fn new(config: RuntimeConfig) -> Result<Self, BuildError> {
        config.check()?;
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(engine.wasmtime());
        host::link(&mut linker, &config).map_err(|source| BuildError::Link { source })?;
        let everywhere = Arc::new(Semaphore::new(config.max_concurrent_calls));
        let (config, bus) = (Arc::new(config), EventBus::new());
        let plane = Arc::new(DataPlane {
            routes: ArcSwap::from_pointee(RouteTable::empty()),
            config: Arc::clone(&config),
            bus: bus.clone(),
            request_ids: RequestIds::default(),
        });
        let shared = Shared { config, engine, bus, stores: StoreCount::default() };
        let inner = Inner {
            shared,
            linker: Arc::new(linker),
            plane,
            everywhere,
            handlers: Mutex::default(),
            tasks: TaskTracker::new(),
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
        let guest = ServedGuest {
            shared: self.inner.shared.clone(),
            config: config.clone(),
            linker: Arc::clone(&self.inner.linker),
        };
        let (handler, supervisor) = self.register(config, guest, |handler| {
            let routes = self.inner.plane.routes.load().with(Arc::clone(handler))?;
            self.inner.plane.routes.store(Arc::new(routes));
            Ok(())
        })?;
        Ok(HandlerHandle::new(handler, supervisor, self.inner.shared.bus.clone()))
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
        let mut linker = Linker::new(shared.engine.wasmtime());
        host::link(&mut linker, &shared.config)
            .and_then(|()| C::link(&mut linker))
            .map_err(|source| AddError::Link { world: C::WORLD, source })?;
        let guest = TypedGuest::<C> {
            shared,
            config: config.clone(),
            linker,
            make_host: Arc::new(make_host),
        };
        let (handler, supervisor) = self.register(config, guest, |_| Ok(()))?;
        Ok(Plugin::new(handler, supervisor, self.inner.shared.bus.clone()))
    }

    /// Takes the handler called `name` away: its route is free at once, its calls in flight drain.
    /// Returns whether there was one.
    pub fn remove(&self, name: &HandlerName) -> bool {
        let mut handlers = self.handlers();
        let Some(stop) = handlers.remove(name) else { return false };
        let routes = self.inner.plane.routes.load().without(name);
        self.inner.plane.routes.store(Arc::new(routes));
        stop.cancel();
        true
    }

    /// The data plane as a `tower` service, for a server or router of the embedder's own.
    #[must_use]
    pub fn http_service(&self) -> HttpService {
        HttpService::new(Arc::clone(&self.inner.plane))
    }

    /// Serves HTTP/1.1 and HTTP/2 (without TLS) on `listener` until `stop` is ready; then closes
    /// it and lets open connections finish for up to the longest drain of 30 seconds.
    ///
    /// Returns how many connections had to be cut.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the listener and every connection at once.
    pub async fn serve(&self, listener: TcpListener, stop: impl Future<Output = ()>) -> usize {
        let limit = self.inner.shared.config.max_connections;
        ingress::serve(listener, self.http_service(), limit, SHUTDOWN_DRAIN, stop).await
    }

    /// Events from now on; see [`Event`]. A receiver that falls behind misses the oldest.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.shared.bus.subscribe()
    }

    /// Carries the events of this runtime, for those who add events of their own.
    #[must_use]
    pub fn event_bus(&self) -> &EventBus {
        &self.inner.shared.bus
    }

    /// Stores alive now, over all handlers: calls in flight and warm instances.
    #[must_use]
    pub fn live_stores(&self) -> usize {
        self.inner.shared.stores.get()
    }

    /// Ends the runtime: publishes nothing further, and drains every handler within its deadline.
    ///
    /// # Cancel safety
    ///
    /// The shutdown goes on; a second call waits for the same end.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Starts the supervisor of a new handler once `announce` has accepted it.
    fn register<G: Guest>(
        &self,
        config: HandlerConfig,
        guest: G,
        announce: impl FnOnce(&Arc<Handler<G::Ready>>) -> Result<(), TableError>,
    ) -> Result<Registered<G::Ready>, AddError> {
        let name = config.name.clone();
        config.check().map_err(|source| AddError::Config { handler: name.clone(), source })?;
        let inner = &self.inner;
        if inner.stop.is_cancelled() {
            return Err(AddError::ShuttingDown);
        }
        // Held over the announcement, so that two registrations do not overwrite each other's
        // routes.
        let mut handlers = self.handlers();
        if handlers.contains_key(&name) {
            return Err(TableError::SameName { name }.into());
        }
        let first_timeout = inner.shared.config.first_generation_timeout;
        let everywhere = Arc::clone(&inner.everywhere);
        let handler = Arc::new(Handler::new(config, everywhere, first_timeout));
        announce(&handler)?;
        let stop = inner.stop.child_token();
        let supervisor = SupervisorHandle::start(
            guest,
            Arc::clone(&handler),
            inner.shared.bus.clone(),
            inner.shared.config.max_draining,
            stop.clone(),
            &inner.tasks,
        );
        handlers.insert(name, stop);
        Ok((handler, Arc::new(supervisor)))
    }

    fn handlers(&self) -> std::sync::MutexGuard<'_, BTreeMap<HandlerName, CancellationToken>> {
        // Entries are inserted and removed whole, so a panic elsewhere leaves the map sound.
        self.inner.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Time that open connections get when serving stops; the default drain of a handler.
const SHUTDOWN_DRAIN: Duration = Duration::from_secs(30);

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("live_stores", &self.live_stores()).finish_non_exhaustive()
    }
}
