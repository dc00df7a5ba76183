//! Which of the contracts that wrt serves a component fulfils: HTTP 0.2, HTTP 0.3 or events.

use wasmtime::component::{Component, InstancePre};
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::p2::bindings::ProxyPre as Http02Pre;
use wasmtime_wasi_http::p3::bindings::ServicePre as Http03Pre;

use super::event::{self, Events};
use super::{Contract, ContractError, export_names};
use crate::host::HostState;

/// The export of an HTTP handler of WASI 0.2, without its version.
const HTTP_02: &str = "wasi:http/incoming-handler@0.2.";

/// The export of an HTTP handler of WASI 0.3, without its version.
const HTTP_03: &str = "wasi:http/handler@0.3.";

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

    /// The contract of `component`; one that exports several is an HTTP handler first.
    ///
    /// # Errors
    ///
    /// [`ContractError::MissingExport`] when it exports none of them.
    pub(crate) fn of(component: &Component) -> Result<Self, ContractError> {
        let found = export_names(component);
        let exports = |prefix: &str| found.iter().any(|name| name.starts_with(prefix));
        if exports(HTTP_02) {
            Ok(Self::Http02)
        } else if exports(HTTP_03) {
            Ok(Self::Http03)
        } else if exports(event::EXPORT) {
            Ok(Self::Event)
        } else {
            Err(ContractError::MissingExport {
                world: Self::Http02.world(),
                wanted: "wasi:http/incoming-handler@0.2.x` or `wrt:plugin/handler@0.1.0",
                found,
            })
        }
    }
}

/// The linked form of a component that wrt serves.
pub(crate) enum ServedPre {
    Http(ProxyPre<HostState>),
    Event(<Events as Contract>::Pre),
}

impl ServedPre {
    /// Type-checks the exports of `pre`.
    ///
    /// # Errors
    ///
    /// [`ContractError::WrongExport`] when one has another type.
    pub(crate) fn new(kind: Kind, pre: InstancePre<HostState>) -> Result<Self, ContractError> {
        let found = export_names(pre.component());
        match kind {
            Kind::Http02 => Http02Pre::new(pre).map(|pre| Self::Http(ProxyPre::P2(pre))),
            Kind::Http03 => Http03Pre::new(pre).map(|pre| Self::Http(ProxyPre::P3(pre))),
            Kind::Event => Events::pre(pre).map(Self::Event),
        }
        .map_err(|source| ContractError::WrongExport {
            world: kind.world(),
            found,
            source,
        })
    }
}
