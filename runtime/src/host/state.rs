//! `HostState`: the `T` of each `Store<T>`, with one field for each capability.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::budget::{Budget, GuestMemory, Outgoing};
use super::http::OutgoingHttp;
use super::kept::MAX_FIELDS;
use super::limits::Limits;
use super::log::{LineStream, LogSink};
use crate::config::{HttpOrigin, Settings};

/// Host-side resources (bodies, streams, fields, pollables) one store may hold. A handler uses a few
/// dozen. What can be large of them is charged to the memory limit; the others take some hundred bytes
/// each, of which this many fit [`FREE`](super::limits::FREE) about.
pub(super) const MAX_RESOURCES: usize = 4096;

/// Bytes of random data in one call; what a guest keeps is its own memory, but the host makes it
/// at once.
const MAX_RANDOM: u64 = 1024 * 1024;

/// What a handler's stores may do, shared by all stores of a generation.
#[derive(Clone)]
pub(crate) struct Grants {
    memory: u64,
    config: Arc<WasiConfigVariables>,
    allowed_http: Arc<[HttpOrigin]>,
    outgoing: Outgoing,
    everyone: Arc<GuestMemory>,
}

impl Grants {
    /// What `settings` allow to a handler whose outgoing requests are `outgoing`.
    pub(crate) fn of(settings: &Settings, outgoing: &Outgoing, budget: &Budget) -> Self {
        let pairs = settings.config.iter();
        let config_pairs = pairs.map(|(key, value)| (key.clone(), value.expose().to_owned()));
        Self {
            memory: settings.memory,
            config: Arc::new(config_pairs.collect()),
            allowed_http: settings.allow.http.as_slice().into(),
            outgoing: outgoing.clone(),
            everyone: Arc::clone(budget.memory()),
        }
    }
}

/// What the host keeps for one store. `H` is the embedder's own part, `()` without one.
pub struct HostState<H = ()> {
    wasi: WasiCtx,
    pub(super) table: ResourceTable,
    http: WasiHttpCtx,
    outgoing: OutgoingHttp,
    config: Arc<WasiConfigVariables>,
    log: LogSink,
    /// Where the guest's panics are told.
    stderr: LineStream,
    pub(super) limits: Limits,
    /// Counts the store as alive; opaque here, since who counts is a layer above.
    _alive: Box<dyn Send>,
    /// The embedder's own data.
    pub host: H,
}

impl<H> HostState<H> {
    /// State of a fresh store: no files, environment, arguments or network beyond `grants`.
    pub(crate) fn new(grants: &Grants, log: &LogSink, host: H, alive: impl Send + 'static) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        let stderr = LineStream::stderr(log.clone());
        let wasi = WasiCtxBuilder::new()
            .stdout(LineStream::stdout(log.clone()))
            .stderr(stderr.clone())
            .max_random_size(MAX_RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        let places = grants.outgoing.of_store();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(MAX_FIELDS);
        Self {
            wasi,
            table,
            http,
            outgoing: OutgoingHttp::new(Arc::clone(&grants.allowed_http), places.clone()),
            config: Arc::clone(&grants.config),
            log: log.clone(),
            stderr,
            limits: Limits::new(grants.memory, places, Arc::clone(&grants.everyone)),
            _alive: Box::new(alive),
            host,
        }
    }

    pub(crate) fn limiter(&mut self) -> &mut dyn wasmtime::ResourceLimiter {
        &mut self.limits
    }

    /// While `refuse` holds, nothing that the guest does reaches beyond its store but log lines.
    pub(crate) fn refuse_effects(&mut self, refuse: bool) {
        self.outgoing.refuse_all(refuse);
    }

    /// What the guest's last panic said, if it was one of Rust.
    pub(crate) fn panic(&self) -> Option<String> {
        self.stderr.panic()
    }

    /// Bytes of memory and tables that the store uses.
    pub(crate) fn memory_used(&self) -> u64 {
        self.limits.used()
    }

    /// Bytes that it may use.
    pub(crate) fn memory_limit(&self) -> u64 {
        self.limits.limit()
    }

    pub(super) fn config(&mut self) -> WasiConfig<'_> {
        WasiConfig::new(&self.config)
    }

    pub(super) fn log_sink(&mut self) -> &mut LogSink {
        &mut self.log
    }

    /// The embedder's own data, in the shape that `add_to_linker` wants.
    pub fn host_mut(&mut self) -> &mut H {
        &mut self.host
    }
}

impl<H: Send> WasiView for HostState<H> {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl<H: Send> WasiHttpView for HostState<H> {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outgoing, table: &mut self.table, ctx: &mut self.http }
    }
}

impl<H> std::fmt::Debug for HostState<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostState").field("limits", &self.limits).finish_non_exhaustive()
    }
}
