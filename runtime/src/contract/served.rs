//! The contracts that wrt serves: which of them a component's exports name, and those of HTTP handlers.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance, InstancePre, Linker};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyIndices};
use wasmtime_wasi_http::p3::bindings::{Service, ServiceIndices};

use super::check::{interface_of, is_compatible};
use super::event::{self, Events};
use super::{Contract, ContractError, whole};
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
            Self::Http02 => Http02::WORLD,
            Self::Http03 => Http03::WORLD,
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

/// HTTP handlers of WASI 0.2.
pub(crate) struct Http02;

/// Where a component has the function that is called.
pub(crate) enum Http02Indices {
    Proxy(ProxyIndices),
    Whole(ComponentExportIndex),
}

/// The function of an instance that is called.
pub(crate) enum Http02Exports {
    /// WASI's.
    Proxy(Proxy),
    /// That of `wrt:plugin/http`, which gives an answer back whole where it can.
    Whole(whole::Handle),
}

impl Contract for Http02 {
    type Host = ();
    type Indices = Http02Indices;
    type Instance = Http02Exports;

    const WORLD: &'static str = "wasi:http/proxy@0.2";

    fn link(_: &mut Linker<HostState>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn indices(pre: &InstancePre<HostState>) -> wasmtime::Result<Http02Indices> {
        // The export that is not called has to be right, too: other hosts call it.
        let indices = ProxyIndices::new(pre)?;
        Ok(whole::index(pre)?.map_or(Http02Indices::Proxy(indices), Http02Indices::Whole))
    }

    fn exports(
        indices: &Http02Indices,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<Http02Exports> {
        Ok(match indices {
            Http02Indices::Proxy(indices) => Http02Exports::Proxy(indices.load(store, instance)?),
            Http02Indices::Whole(index) => {
                Http02Exports::Whole(whole::load(store, instance, index)?)
            }
        })
    }
}

/// HTTP handlers of WASI 0.3.
pub(crate) struct Http03;

impl Contract for Http03 {
    type Host = ();
    type Indices = ServiceIndices;
    type Instance = Service;

    const WORLD: &'static str = "wasi:http/service@0.3";

    fn link(_: &mut Linker<HostState>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn indices(pre: &InstancePre<HostState>) -> wasmtime::Result<ServiceIndices> {
        ServiceIndices::new(pre)
    }

    fn exports(
        indices: &ServiceIndices,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<Service> {
        indices.load(store, instance)
    }
}
