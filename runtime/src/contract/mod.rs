//! Contracts: what a component must export and may import, and how it is called.
//!
//! wrt ships two (HTTP handlers and event handlers); an embedder brings its own world by filling
//! [`Contract`], usually with [`contract!`](crate::contract!).

mod check;
pub(crate) mod event;
pub(crate) mod served;

use std::future::Future;

use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

pub use check::{ContractError, RefusedImport};
pub(crate) use check::{export_names, link};

pub use crate::host::HostState;

/// A world of the embedder's own: everything wrt has to know about it.
///
/// wrt supplies the rest: compiling, limits, pooling, swapping, draining.
pub trait Contract: Send + Sync + 'static {
    /// The embedder's data in each store, reached by its host functions.
    type Host: Send + 'static;
    /// The linked and type-checked form of one component; `bindgen!` calls it `…Pre`.
    type Pre: Send + Sync + 'static;
    /// One instance; `bindgen!` names it after the world.
    type Instance: Send + Sync + 'static;

    /// The world's name and version, for messages: `acme:filters/filter@1.0.0`.
    const WORLD: &'static str;

    /// Adds the embedder's own imports; those that wrt offers are there already.
    ///
    /// # Errors
    ///
    /// When a name is defined twice.
    fn link(linker: &mut Linker<HostState<Self::Host>>) -> wasmtime::Result<()>;

    /// Type-checks the exports, without a store.
    ///
    /// # Errors
    ///
    /// When an export is missing or has another type; the component is then rejected.
    fn pre(pre: InstancePre<HostState<Self::Host>>) -> wasmtime::Result<Self::Pre>;

    /// Makes an instance in `store`.
    ///
    /// # Errors
    ///
    /// When instantiation traps or exceeds a limit.
    fn instantiate(
        pre: &Self::Pre,
        store: &mut Store<HostState<Self::Host>>,
    ) -> impl Future<Output = wasmtime::Result<Self::Instance>> + Send;

    /// Runs once on a throw-away instance of a candidate before it is published. The default only
    /// proves that it can be instantiated.
    ///
    /// # Errors
    ///
    /// An error rejects the candidate; what was serving still is.
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
///     pub struct Filters for bindings::Filter, pre bindings::FilterPre;
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
        $visibility:vis struct $name:ident for $instance:path, pre $($pre:ident)::+;
        host = $host:ty;
        world = $world:literal;
        imports = [$($import:path),* $(,)?];
    ) => {
        $(#[$attribute])*
        $visibility struct $name;

        impl $crate::Contract for $name {
            type Host = $host;
            type Pre = $($pre)::+<$crate::HostState<$host>>;
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

            fn pre(
                pre: $crate::wasmtime::component::InstancePre<$crate::HostState<$host>>,
            ) -> $crate::wasmtime::Result<Self::Pre> {
                <$($pre)::+<$crate::HostState<$host>>>::new(pre)
            }

            async fn instantiate(
                pre: &Self::Pre,
                store: &mut $crate::wasmtime::Store<$crate::HostState<$host>>,
            ) -> $crate::wasmtime::Result<Self::Instance> {
                pre.instantiate_async(store).await
            }
        }
    };
}
