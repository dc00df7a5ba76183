//! What a host chooses about a handler and about the runtime: plain data with defaults, no IO.
//!
//! The manifest fills these from text, an embedder with the `with_*` methods; both end in the same
//! [`HandlerConfig::check`], so a value that cannot work is refused before anything is staged.

mod binding;
mod error;
mod event_type;
mod instances;
mod listen;
mod origin;
mod policy;
mod probation;
mod route;
mod settings;
#[cfg(test)]
mod tests;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use crate::id::HandlerName;

pub use binding::Binding;
pub use error::ConfigError;
pub use event_type::{EventTypePattern, InvalidEventType};
pub use instances::InstanceMode;
pub use listen::{InvalidListenAddress, ListenAddress};
pub use origin::{HttpOrigin, InvalidOrigin};
pub use policy::Policy;
pub use probation::{Slowdown, StatusSet};
pub use route::{InvalidRoute, Route};
pub use settings::Settings;
pub use value::ConfigValue;

/// Bytes in a binary mebibyte.
const MIB: u64 = 1024 * 1024;

/// Smallest useful memory limit: one page of WebAssembly memory.
const MIN_MEMORY: u64 = 64 * 1024;

/// Largest useful memory limit: what a 32-bit memory can address.
const MAX_MEMORY: u64 = 4 * 1024 * MIB;

/// Most calls, connections or requests that a limit on them may allow: more than one process can have of
/// any of them, and far below what the semaphores that count them take.
pub(crate) const MAX_COUNT: usize = 1_000_000;

/// Longest time for which a processor may be kept for the next request: requests that come more rarely
/// are not worth one.
const MAX_BUSY_POLL: Duration = Duration::from_secs(1);

/// Everything that is chosen about one handler: how calls reach it, what each of its versions runs with,
/// and what holds over all of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerConfig {
    /// Stable name that calls are routed to.
    pub name: HandlerName,
    /// Which calls reach the handler.
    pub binding: Binding,
    /// The settings that the handler's versions run with. Each version keeps the settings that it was
    /// published with.
    pub settings: Settings,
    /// The handler's limits on calls, and its rules for swapping and judging versions. The policy stays
    /// when a version is swapped.
    pub policy: Policy,
}

impl HandlerConfig {
    /// The defaults, for a handler called `name`.
    #[must_use]
    pub fn new(name: HandlerName) -> Self {
        let (binding, settings, policy) = Default::default();
        Self { name, binding, settings, policy }
    }

    /// Routes request paths that match `route` to the handler.
    #[must_use]
    pub fn with_route(mut self, route: Route) -> Self {
        self.binding.route = Some(route);
        self
    }

    /// Accepts only events whose type matches one of `types`.
    #[must_use]
    pub fn with_types(mut self, types: impl IntoIterator<Item = EventTypePattern>) -> Self {
        self.binding.types = types.into_iter().collect();
        self
    }

    /// Sets how instances are used.
    #[must_use]
    pub fn with_instances(mut self, instances: InstanceMode) -> Self {
        self.settings.instances = instances;
        self
    }

    /// Sets the longest time a call may take.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// Sets the linear memory of one instance, in bytes.
    #[must_use]
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.settings.memory = bytes;
        self
    }

    /// Sets how many calls run at once.
    #[must_use]
    pub fn with_concurrency(mut self, calls: usize) -> Self {
        self.policy.concurrency = calls;
        self
    }

    /// Sets how many outgoing requests the handler has open at once.
    #[must_use]
    pub fn with_outgoing(mut self, requests: usize) -> Self {
        self.policy.outgoing = requests;
        self
    }

    /// Sets how many calls wait for a place, and for how long.
    #[must_use]
    pub fn with_queue(mut self, calls: usize, timeout: Duration) -> Self {
        self.policy.queue = calls;
        self.policy.queue_timeout = timeout;
        self
    }

    /// Sets the time that calls in flight get to finish on a replaced generation.
    #[must_use]
    pub fn with_drain(mut self, drain: Duration) -> Self {
        self.policy.drain = drain;
        self
    }

    /// Sets the longest time of each step of a hand-over, and the largest state in bytes.
    #[must_use]
    pub fn with_hand_over(mut self, step: Duration, max_state: u64) -> Self {
        self.policy.hand_over = step;
        self.settings.max_state = max_state;
        self
    }

    /// Asks a new generation for `path` before it is published.
    #[must_use]
    pub fn with_probe(mut self, path: impl Into<String>) -> Self {
        self.settings.probe = Some(path.into());
        self
    }

    /// Watches a published generation for `probation`, and rolls it back after `max_failures`.
    #[must_use]
    pub fn with_probation(mut self, probation: Duration, max_failures: u64) -> Self {
        self.policy.probation = probation;
        self.policy.max_failures = max_failures;
        self
    }

    /// Sets the statuses that count against a generation on probation.
    #[must_use]
    pub fn with_probation_status(mut self, statuses: StatusSet) -> Self {
        self.policy.probation_status = statuses;
        self
    }

    /// Sets how many times slower than the one before it a generation on probation may be.
    #[must_use]
    pub fn with_max_slowdown(mut self, times: Slowdown) -> Self {
        self.policy.max_slowdown = times;
        self
    }

    /// Calls that run at once: a singleton answers one at a time.
    pub(crate) fn places(&self) -> usize {
        if self.settings.instances == InstanceMode::Singleton { 1 } else { self.policy.concurrency }
    }

    /// Offers `value` to the guest under `key`.
    #[must_use]
    pub fn with_config(mut self, key: impl Into<String>, value: ConfigValue) -> Self {
        self.settings.config.insert(key.into(), value);
        self
    }

    /// Lets the guest send HTTP requests to `origin`.
    #[must_use]
    pub fn with_allowed_http(mut self, origin: HttpOrigin) -> Self {
        self.settings.allow.http.push(origin);
        self
    }

    /// Refuses values with which no call could ever succeed.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.settings.check()?;
        self.policy.check()
    }
}

/// The keys that are marked as changed.
fn keys<const N: usize>(changed: [(&'static str, bool); N]) -> Vec<&'static str> {
    changed.into_iter().filter_map(|(key, is_changed)| is_changed.then_some(key)).collect()
}

/// Refuses a timeout of nothing, which would fail each call before it starts.
pub(crate) fn check_timeout(field: &'static str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() { Err(ConfigError::ZeroDuration { field }) } else { Ok(()) }
}

/// Refuses a memory limit below one page or beyond what a 32-bit memory can address.
pub(crate) fn check_memory(bytes: u64) -> Result<(), ConfigError> {
    if (MIN_MEMORY..=MAX_MEMORY).contains(&bytes) {
        Ok(())
    } else {
        Err(ConfigError::Memory { bytes })
    }
}

/// Refuses less memory for all guests together than the smallest of them may have.
pub(crate) fn check_guest_memory(bytes: u64) -> Result<(), ConfigError> {
    if bytes >= MIN_MEMORY { Ok(()) } else { Err(ConfigError::GuestMemory { bytes }) }
}

/// Refuses to keep a processor for longer than anybody would call a moment.
pub(crate) fn check_busy_poll(pause: Duration) -> Result<(), ConfigError> {
    if pause <= MAX_BUSY_POLL { Ok(()) } else { Err(ConfigError::BusyPoll { pause }) }
}

/// Refuses a probe that is no path.
pub(crate) fn check_probe(path: &str) -> Result<(), ConfigError> {
    if path.starts_with('/') { Ok(()) } else { Err(ConfigError::Probe { path: path.to_owned() }) }
}

/// Refuses more state than one call may copy between guest and host, with room for what is around.
pub(crate) fn check_state(bytes: u64) -> Result<(), ConfigError> {
    if bytes <= 30 * MIB { Ok(()) } else { Err(ConfigError::State { bytes }) }
}

/// Refuses a limit of none, which would leave every call waiting for ever.
fn check_count<N: Default + PartialEq>(field: &'static str, value: N) -> Result<(), ConfigError> {
    if value == N::default() { Err(ConfigError::ZeroCount { field }) } else { Ok(()) }
}

/// Refuses a limit of none, and one that no semaphore could count to.
fn check_places(field: &'static str, count: usize) -> Result<(), ConfigError> {
    check_count(field, count)?;
    if count <= MAX_COUNT { Ok(()) } else { Err(ConfigError::Count { field, count }) }
}

/// What a guest may reach beyond itself; all of it is denied unless named here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allow {
    /// Origins that outgoing HTTP requests may go to. Default none.
    pub http: Vec<HttpOrigin>,
}

/// What is chosen once for a runtime and shared by all its handlers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeConfig {
    /// Connections that are open at once; further ones wait in the system's backlog. Default
    /// 4,096: some tens of MiB of buffers when all are in use.
    pub max_connections: usize,
    /// How long the threads of [`Runtime::serve`](crate::Runtime::serve) go on looking for requests after
    /// each answer before they sleep; at most a second. Default none. To be woken can take longer than a
    /// small handler, above all in a virtual machine; the price is up to one processor while requests
    /// come at least this often, also where those need little of it.
    pub busy_poll: Duration,
    /// Calls that run at once over all handlers. Default 1,000, the number of instances that
    /// the engine's pool is laid out for.
    pub max_concurrent_calls: usize,
    /// Outgoing requests that are open at once over all handlers. Default 512: they leave half of the
    /// file descriptors that a process has without asking for more to connections that come in.
    pub max_outgoing: usize,
    /// Bytes of memory that all guests may use together, in their memories and tables. The growth that
    /// would exceed it fails its call; a guest that has more than 8 MiB leaves the last quarter to the
    /// others. Default 16 GiB; `wrt serve` takes three quarters of what the machine or the control
    /// group has.
    pub guest_memory: u64,
    /// Replaced generations of one handler that may drain at the same time; a further swap waits
    /// for one of them. Default 2: memory stays bounded when swaps come faster than calls end.
    pub max_draining: usize,
    /// Longest time a request waits for its handler's first generation, then 503. Default 60 s,
    /// enough for a first build that compiles its dependencies.
    pub first_generation_timeout: Duration,
    /// Bytes of compiled code in memory, beyond which the code of handlers that nobody calls goes
    /// and comes back from the cache directory. Default 256 MiB: hundreds of small handlers.
    pub cache_memory: u64,
    /// Bytes of single compiled functions in memory, so that a component that is compiled again
    /// after a small change takes the others over. Default 64 MiB: dozens of small handlers, or a
    /// few large ones.
    pub cache_functions: u64,
    /// Directory of compiled code, shared by any number of processes of one user. Default `None`:
    /// code is compiled anew in each process.
    pub cache_dir: Option<PathBuf>,
    /// Bytes that this directory may take, beyond which what was not used for longest goes.
    /// Default 2 GiB.
    pub cache_disk: u64,
    /// Directory of what became of each version of each handler, for one process at a time. Default
    /// `None`: it is forgotten with the process, and a start boots what it is given.
    pub state_dir: Option<PathBuf>,
    /// Longest time a compilation may take. Default 5 min: a script engine takes some 15 s on two
    /// processors, and a debug build of a large handler 4 s.
    pub compile_timeout: Duration,
    /// Bytes of memory that the compilation of one function may take, as an estimate from above made
    /// before it starts; each of the compiler's threads compiles one function at a time. Default
    /// 1 GiB: the largest function of a script engine's debug build is put at 92 MiB.
    pub compile_memory: u64,
    /// Whether answers carry the `wrt-generation` header. Default no: what runs is nobody's
    /// business in production.
    pub expose_generation: bool,
    /// Whether handlers may use WASI 0.3. Default no: wasmtime gives it no security promise yet.
    pub wasi03: bool,
    /// Whether this is a developer's machine: failures show their details to the client, and a new
    /// version serves on baseline code until its optimized code is ready. Default no.
    pub dev: bool,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            busy_poll: Duration::ZERO,
            max_concurrent_calls: 1000,
            max_outgoing: 512,
            guest_memory: 16 * 1024 * MIB,
            max_draining: 2,
            first_generation_timeout: Duration::from_secs(60),
            cache_memory: 256 * MIB,
            cache_functions: 64 * MIB,
            cache_dir: None,
            cache_disk: 2048 * MIB,
            state_dir: None,
            compile_timeout: Duration::from_secs(300),
            compile_memory: 1024 * MIB,
            expose_generation: false,
            wasi03: false,
            dev: false,
        }
    }
}

impl RuntimeConfig {
    /// The defaults for a developer's machine: details in answers, generation in the header.
    #[must_use]
    pub fn for_dev() -> Self {
        // A page that keeps a stream open over each save (live reload does) must not make the next
        // save wait for it.
        Self { dev: true, expose_generation: true, max_draining: 8, ..Self::default() }
    }

    /// Refuses values with which no call could ever succeed.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_places("max_connections", self.max_connections)?;
        check_places("max_concurrent_calls", self.max_concurrent_calls)?;
        check_places("max_outgoing", self.max_outgoing)?;
        check_guest_memory(self.guest_memory)?;
        check_count("max_draining", self.max_draining)?;
        check_count("compile_memory", self.compile_memory)?;
        check_busy_poll(self.busy_poll)?;
        check_timeout("compile_timeout", self.compile_timeout)?;
        check_timeout("first_generation_timeout", self.first_generation_timeout)
    }
}
