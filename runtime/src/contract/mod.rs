//! Contracts: what a component must export and may import, and how it is called.
//!
//! wrt ships two (HTTP handlers and event handlers); an embedder brings its own world by filling
//! [`Contract`], usually with [`contract!`](crate::contract!).

mod check;
pub(crate) mod event;
pub(crate) mod hooks;
pub(crate) mod served;
pub(crate) mod whole;

use std::future::Future;

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, Linker};

pub use check::{ContractError, RefusedImport};
pub(crate) use check::{export_names, link, refuse_prereleases};

pub use crate::host::HostState;

/// A world of the embedder's own: everything wrt has to know about it.
///
/// wrt supplies the rest: compiling, limits, pooling, swapping, draining.
pub trait Contract: Send + Sync + 'static {
    /// The embedder's data in each store, reached by its host functions.
    type Host: Send + 'static;
    /// Where a component's exports are; `bindgen!` calls it `…Indices`.
    type Indices: Send + Sync + 'static;
    /// The exports of one instance; `bindgen!` names it after the world.
    type Instance: Send + Sync + 'static;

    /// The world's name and version, for messages: `acme:filters/filter@1.0.0`.
    const WORLD: &'static str;

    /// Adds the embedder's own imports; those that wrt offers are there already.
    ///
    /// # Errors
    ///
    /// When a name is defined twice.
    fn link(linker: &mut Linker<HostState<Self::Host>>) -> wasmtime::Result<()>;

    /// Finds the exports, without a store.
    ///
    /// # Errors
    ///
    /// When an export is missing; the component is then rejected.
    fn indices(pre: &InstancePre<HostState<Self::Host>>) -> wasmtime::Result<Self::Indices>;

    /// The exports of an instance that was just made.
    ///
    /// # Errors
    ///
    /// When an export has another type; a candidate is then rejected.
    fn exports(
        indices: &Self::Indices,
        store: &mut Store<HostState<Self::Host>>,
        instance: &Instance,
    ) -> wasmtime::Result<Self::Instance>;

    /// Runs once in each instance before its first call, after the component's own
    /// `wrt:plugin/lifecycle` if it has one. Not in an instance that takes over the state of another.
    ///
    /// # Errors
    ///
    /// An error in a candidate's first instance rejects the candidate; what was serving still is.
    fn init(
        instance: &Self::Instance,
        store: &mut Store<HostState<Self::Host>>,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send {
        let _ = (instance, store);
        async { Ok(()) }
    }
}

/// Fills [`Contract`] from what `wasmtime::component::bindgen!` generated for a world.
///
/// ```ignore
/// mod bindings {
///     wrt::wasmtime::component::bindgen!({
///         path: "wit",
///         world: "acme:filters/filter",
///         exports: { default: async },
///         wasmtime_crate: wrt::wasmtime,
///     });
/// }
///
/// wrt::contract! {
///     /// Filters of the Acme gateway.
///     pub struct Filters for bindings::Filter, indices bindings::FilterIndices;
///     host = AcmeHost;
///     world = "acme:filters/filter@1.0.0";
///     imports = [bindings::acme::filters::host];
/// }
/// ```
///
/// Each module under `imports` is a generated interface whose `Host` trait the host type
/// implements.
#[macro_export]
macro_rules! contract {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident for $instance:path, indices $indices:path;
        host = $host:ty;
        world = $world:literal;
        imports = [$($import:path),* $(,)?];
    ) => {
        $(#[$attribute])*
        $visibility struct $name;

        impl $crate::Contract for $name {
            type Host = $host;
            type Indices = $indices;
            type Instance = $instance;

            const WORLD: &'static str = $world;

            fn link(
                linker: &mut $crate::wasmtime::component::Linker<$crate::HostState<$host>>,
            ) -> $crate::wasmtime::Result<()> {
                $({
                    use $import as interface;
                    interface::add_to_linker::<_, $crate::wasmtime::component::HasSelf<$host>>(
                        linker,
                        $crate::HostState::host_mut,
                    )?;
                })*
                let _ = linker;
                Ok(())
            }

            fn indices(
                pre: &$crate::wasmtime::component::InstancePre<$crate::HostState<$host>>,
            ) -> $crate::wasmtime::Result<Self::Indices> {
                use $indices as Indices;
                Indices::new(pre)
            }

            fn exports(
                indices: &Self::Indices,
                store: &mut $crate::wasmtime::Store<$crate::HostState<$host>>,
                instance: &$crate::wasmtime::component::Instance,
            ) -> $crate::wasmtime::Result<Self::Instance> {
                indices.load(store, instance)
            }
        }
    };
}
