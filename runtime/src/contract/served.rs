//! Which of the contracts that wrt serves a component fulfils: HTTP 0.2, HTTP 0.3 or events.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance, InstancePre, Linker};
use wasmtime_wasi_http::handler::Proxy;
use wasmtime_wasi_http::p2::bindings::ProxyIndices as Http02Indices;
use wasmtime_wasi_http::p3::bindings::ServiceIndices as Http03Indices;

use super::check::{interface_of, is_compatible};
use super::event::{self, Events};
use super::{Contract, ContractError, export_names, whole};
use crate::host::{HostState, WASI_02_VERSION, WASI_03_VERSION};

/// A component's contract, by its exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Http02,
    Http03,
    Event,
}

impl Kind {
    /// The world it has to fit, for messages.
    pub(crate) fn world(self) -> &'static str {
        match self {
            Self::Http02 => "wasi:http/proxy@0.2",
            Self::Http03 => "wasi:http/service@0.3",
            Self::Event => Events::WORLD,
        }
    }

    /// The interface that is called, and its version.
    fn export(self) -> (&'static str, &'static str) {
        match self {
            Self::Http02 => ("wasi:http/incoming-handler", WASI_02_VERSION),
            Self::Http03 => ("wasi:http/handler", WASI_03_VERSION),
            Self::Event => event::EXPORT,
        }
    }

    /// The contract of a component with these `exports`; one that exports several is an HTTP handler
    /// first.
    ///
    /// # Errors
    ///
    /// [`ContractError::MissingExport`] when it exports none of them, and
    /// [`ContractError::ExportVersion`] when it exports one in a version that is not called.
    pub(crate) fn of(exports: &[String]) -> Result<Self, ContractError> {
        let kinds = [Self::Http02, Self::Http03, Self::Event];
        let exported = |kind: &Self| {
            let (path, version) = kind.export();
            let mut named = exports.iter().filter(|name| interface_of(name) == path);
            named.any(|name| is_compatible(name, version))
        };
        if let Some(kind) = kinds.into_iter().find(exported) {
            return Ok(kind);
        }
        for kind in kinds {
            let (path, version) = kind.export();
            if let Some(found) = exports.iter().find(|name| interface_of(name) == path) {
                let (world, found) = (kind.world(), found.as_str().into());
                return Err(ContractError::ExportVersion { world, found, version });
            }
        }
        Err(ContractError::MissingExport {
            world: Self::Http02.world(),
            wanted: "wasi:http/incoming-handler@0.2.x` or `wrt:plugin/handler@0.1.0",
            found: exports.to_vec(),
        })
    }
}

/// Where the exports of a component that wrt serves are.
pub(crate) enum ServedIndices {
    Http(HttpIndices),
    Event(<Events as Contract>::Indices),
}

impl ServedIndices {
    /// Finds the exports of `pre`.
    ///
    /// # Errors
    ///
    /// [`ContractError::WrongExport`] when one has another shape.
    pub(crate) fn new(kind: Kind, pre: &InstancePre<HostState>) -> Result<Self, ContractError> {
        match kind {
            Kind::Http02 => HttpIndices::of_02(pre).map(Self::Http),
            Kind::Http03 => Http03Indices::new(pre).map(|it| Self::Http(HttpIndices::P3(it))),
            Kind::Event => Events::indices(pre).map(Self::Event),
        }
        .map_err(|source| ContractError::WrongExport {
            world: kind.world(),
            found: export_names(pre.component()),
            source,
        })
    }
}

/// Where the export of an HTTP handler is.
pub(crate) enum HttpIndices {
    P2(Http02Indices),
    P3(Http03Indices),
    Whole(ComponentExportIndex),
}

impl HttpIndices {
    /// The shorter way of a handler of WASI 0.2, if it has that.
    fn of_02(pre: &InstancePre<HostState>) -> wasmtime::Result<Self> {
        // The export that is not called has to be right, too: other hosts call it.
        let indices = Http02Indices::new(pre)?;
        Ok(whole::index(pre)?.map_or(Self::P2(indices), Self::Whole))
    }
}

/// What is called in an instance.
pub(crate) enum HttpExports {
    /// What WASI has for it.
    Proxy(Proxy),
    /// An answer comes back whole where it can.
    Whole(whole::Handle),
}

/// HTTP handlers of either WASI.
pub(crate) struct Http;

impl Contract for Http {
    type Host = ();
    type Indices = HttpIndices;
    type Instance = HttpExports;

    const WORLD: &'static str = "wasi:http/proxy";

    fn link(_: &mut Linker<HostState>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn indices(pre: &InstancePre<HostState>) -> wasmtime::Result<HttpIndices> {
        HttpIndices::of_02(pre)
    }

    fn exports(
        indices: &HttpIndices,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<HttpExports> {
        Ok(match indices {
            HttpIndices::P2(indices) => {
                HttpExports::Proxy(Proxy::P2(indices.load(store, instance)?))
            }
            HttpIndices::P3(indices) => {
                HttpExports::Proxy(Proxy::P3(indices.load(store, instance)?))
            }
            HttpIndices::Whole(index) => HttpExports::Whole(whole::load(store, instance, index)?),
        })
    }
}
