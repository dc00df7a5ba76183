//! The servers that `throughput` and `latency` compare: wrt in each of its modes, and its peers.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use wrt_test_support::guests::{Profile, guest_as, with_wasi_alone};
use wrt_test_support::process::{Ready, ServerProcess};

use crate::peers::native;
use crate::report::Figure;
use crate::site::{HANDLER, Handler, Site};
use crate::tools::Tools;

/// The guest that answers in different sizes, as the native server does.
const GUEST: &str = "sizes";

/// One of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// `wrt serve` with a fresh instance for each request.
    Fresh,
    /// The same with warm instances.
    Pooled,
    /// [`Side::Pooled`] whose threads stay awake for [`AWAKE`] after each answer.
    PooledAwake,
    /// [`Side::Pooled`] with one instance.
    Singleton,
    /// [`Side::Fresh`], by the export of WASI, as any component has it.
    FreshWasi,
    /// [`Side::Pooled`] by that.
    PooledWasi,
    /// `wasmtime serve` as it is, which makes a fresh instance for each request.
    Wasmtime,
    /// The same with [`BEST`].
    WasmtimeBest,
    /// The same with instances that are used again, too.
    WasmtimeReuse,
    /// A server without WebAssembly.
    Native,
    /// The same whose threads stay awake as long.
    NativeAwake,
}

impl Side {
    /// Those that are compared by a bar are neighbours, as they are measured one after the other.
    pub(super) const ALL: [Self; 11] = [
        Self::Singleton,
        Self::Fresh,
        Self::Wasmtime,
        Self::FreshWasi,
        Self::WasmtimeBest,
        Self::PooledWasi,
        Self::WasmtimeReuse,
        Self::Pooled,
        Self::Native,
        Self::PooledAwake,
        Self::NativeAwake,
    ];

    fn is_ours(self) -> bool {
        match self {
            Self::Fresh
            | Self::Pooled
            | Self::PooledAwake
            | Self::Singleton
            | Self::FreshWasi
            | Self::PooledWasi => true,
            Self::Wasmtime
            | Self::WasmtimeBest
            | Self::WasmtimeReuse
            | Self::Native
            | Self::NativeAwake => false,
        }
    }

    /// How long its threads look for the next request after each answer.
    fn busy_poll(self) -> Duration {
        match self {
            Self::PooledAwake | Self::NativeAwake => AWAKE,
            _ => Duration::ZERO,
        }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fresh => "wrt, fresh",
            Self::Pooled => "wrt, pooled",
            Self::PooledAwake => "wrt, pooled, busy polling",
            Self::Singleton => "wrt, singleton",
            Self::FreshWasi => "wrt, fresh, by WASI",
            Self::PooledWasi => "wrt, pooled, by WASI",
            Self::Wasmtime => "wasmtime serve",
            Self::WasmtimeBest => "wasmtime serve, best flags",
            Self::WasmtimeReuse => "wasmtime serve, reuse",
            Self::Native => "native server",
            Self::NativeAwake => "native server, busy polling",
        }
    }
}

/// Two groups of imports without which the guest does not link: `wasi:cli`, which Rust's standard
/// library wants, and `wasi:config`.
const LINKED: [&str; 2] = ["-S", "cli,config"];

/// The flags with which `wasmtime serve` answers most requests per second here: used memory and
/// tables are cleared in place, as wrt has them.
const BEST: [&str; 3] = [
    "-O",
    "pooling-allocator,memory-init-cow,pooling-memory-keep-resident=2097152,\
     pooling-table-keep-resident=524288,pooling-pagemap-scan=auto",
    "--no-logging-prefix",
];

/// Calls of one instance, and how long it may be idle: the defaults of wrt's pooled mode.
const REUSE: [&str; 4] = ["--max-instance-reuse-count", "1000", "--idle-instance-timeout", "30s"];

/// How long threads that poll look for the next request.
const AWAKE: Duration = Duration::from_millis(1);

/// A server under way.
#[derive(Debug)]
struct Server {
    // Dropped in this order: the server goes before the directory that it reads.
    process: ServerProcess,
    _site: Option<Site>,
}

/// All that could be started.
#[derive(Debug)]
pub(super) struct Servers(Vec<(Side, Server)>);

impl Servers {
    /// Starts `sides`; a peer that does not start is told to `figure`.
    pub(super) fn start(sides: &[Side], tools: &Tools, figure: &mut Figure) -> Result<Self> {
        let path = guest_as(GUEST, Profile::Whole)?;
        let component = super::read_component(&path)?;
        let optimized = "release profile with LTO and one code generation unit";
        figure.line("guest", format!("`{GUEST}`, {optimized}; all but the native server run it"));
        let exports = "`wasi:http/incoming-handler` by `wasmtime serve` and \"by WASI\", else \
                       `wrt:plugin/http`, which the SDK gives a handler, too";
        figure.line("called by", exports.to_owned());
        if sides.iter().any(|side| !side.busy_poll().is_zero()) {
            let looked =
                format!("threads look for the next request for {AWAKE:?} after each answer");
            figure.line("busy polling", looked);
        }
        let wasi_alone = with_wasi_alone(&component);
        let mut servers = vec![];
        for &side in sides {
            let busy_poll = side.busy_poll();
            let started = match side {
                Side::Fresh => Ok(wrt(&component, "fresh", busy_poll)?),
                Side::Pooled | Side::PooledAwake => Ok(wrt(&component, "pooled", busy_poll)?),
                Side::Singleton => Ok(wrt(&component, "singleton", busy_poll)?),
                Side::FreshWasi => Ok(wrt(&wasi_alone, "fresh", busy_poll)?),
                Side::PooledWasi => Ok(wrt(&wasi_alone, "pooled", busy_poll)?),
                Side::Wasmtime => wasmtime(tools, &path, &[]),
                Side::WasmtimeBest => wasmtime(tools, &path, &[&BEST]),
                Side::WasmtimeReuse => wasmtime(tools, &path, &[&BEST, &REUSE]),
                Side::Native | Side::NativeAwake => native(busy_poll),
            };
            match started {
                Ok(server) => servers.push((side, server)),
                Err(error) => figure.absent(side.name(), &error),
            }
        }
        Ok(Self(servers))
    }

    /// The sides that run.
    pub(super) fn sides(&self) -> impl Iterator<Item = Side> {
        self.0.iter().map(|(side, _)| *side)
    }

    /// What `measure` finds at the address of `side`; `None` when that does not run. A peer that fails
    /// is told to `figure` and ended, and the others go on.
    pub(super) fn measure<T>(
        &mut self,
        side: Side,
        figure: &mut Figure,
        measure: impl FnOnce(SocketAddr) -> Result<T>,
    ) -> Result<Option<T>> {
        let server = self.0.iter().find(|(other, _)| *other == side);
        let Some((_, server)) = server else { return Ok(None) };
        match measure(server.process.address()) {
            Ok(measured) => Ok(Some(measured)),
            Err(error) if side.is_ours() => Err(error),
            Err(error) => {
                figure.absent(side.name(), &error);
                self.0.retain(|(other, _)| *other != side);
                Ok(None)
            }
        }
    }
}

fn wrt(component: &[u8], mode: &str, busy_poll: Duration) -> Result<Server> {
    let site = Site::temporary()?;
    let handler = Handler::new(HANDLER, "/*");
    let settings = format!("instances = \"{mode}\"");
    // More of its section `[host]`.
    let host = format!("busy_poll = \"{}ms\"", busy_poll.as_millis());
    site.write_manifest(&[handler.with(&settings)], &host)?;
    site.replace(component)?;
    Ok(Server { process: site.serve()?, _site: Some(site) })
}

fn native(busy_poll: Duration) -> Result<Server> {
    Ok(Server { process: native::start(busy_poll)?, _site: None })
}

fn wasmtime(tools: &Tools, component: &Path, flags: &[&[&str]]) -> Result<Server> {
    let mut command = Command::new(tools.path("wasmtime")?);
    command.args(["serve", "--addr", "127.0.0.1:0"]).args(LINKED);
    command.args(flags.iter().copied().flatten()).arg(component);
    Ok(Server { process: ServerProcess::start(command, Ready::WASMTIME)?, _site: None })
}
