//! The exports of a component; a native build only mentions the functions, so that they count as
//! used.
//!
//! Everything that the exports do lives in functions of `wrt-guest`; what is generated here stays so
//! small that it costs nothing to compile.

use super::expand::Kind;
use super::options::Options;
use proc_macro2::{Ident, TokenStream};
use quote::quote;

pub(crate) fn export(kind: Kind, options: &Options, name: &Ident) -> TokenStream {
    let hooks = options.init.iter().chain(&options.shutdown);
    let handler = match &options.state {
        None => handler(kind, quote!(serve), quote!(#name)),
        Some(_) => {
            let begin = begin(options);
            handler(kind, quote!(serve_with), quote!(#name, &STATE, #begin))
        }
    };
    let lifecycle = if options.has_lifecycle() { lifecycle(options) } else { TokenStream::new() };
    let state = if options.state.is_some() { state(options) } else { TokenStream::new() };
    quote! {
        #[cfg(not(target_arch = "wasm32"))]
        {
            let _ = #name;
            #(let _ = #hooks;)*
        }
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Export;
            #handler
            #lifecycle
            #state
        };
    }
}

fn handler(kind: Kind, serve: TokenStream, arguments: TokenStream) -> TokenStream {
    match kind {
        Kind::Http => quote! {
            impl ::wrt_guest::__private::http::Guest for Export {
                fn handle(
                    request: ::wrt_guest::__private::http::IncomingRequest,
                    out: ::wrt_guest::__private::http::ResponseOutparam,
                ) {
                    let exchange = ::wrt_guest::__private::http::Exchange::sent(request, out);
                    let _ = ::wrt_guest::__private::http::#serve(#arguments, exchange);
                }
            }
            impl ::wrt_guest::__private::http::WholeGuest for Export {
                fn handle(
                    request: ::wrt_guest::__private::http::IncomingRequest,
                    out: ::wrt_guest::__private::http::ResponseOutparam,
                ) -> ::core::option::Option<::wrt_guest::__private::http::Answer> {
                    let exchange = ::wrt_guest::__private::http::Exchange::whole(request, out);
                    ::wrt_guest::__private::http::#serve(#arguments, exchange)
                }
            }
            ::wrt_guest::__private::bindings::http::export!(
                Export with_types_in ::wrt_guest::__private::bindings::http
            );
            ::wrt_guest::__private::wasip2::http::proxy::export!(
                Export with_types_in ::wrt_guest::__private::wasip2
            );
        },
        Kind::Event => quote! {
            impl ::wrt_guest::__private::event::Guest for Export {
                fn handle(
                    event: ::wrt_guest::__private::event::WireEvent,
                ) -> ::core::result::Result<
                    ::core::option::Option<::wrt_guest::__private::event::WireEvent>,
                    ::wrt_guest::__private::event::WireError,
                > {
                    ::wrt_guest::__private::event::#serve(#arguments, event)
                }
            }
            ::wrt_guest::__private::bindings::sdk::export!(
                Export with_types_in ::wrt_guest::__private::bindings::sdk
            );
        },
    }
}

/// How a state begins in a host that does not call `init`: only with its default.
fn begin(options: &Options) -> TokenStream {
    match (&options.state, &options.init) {
        (Some(ty), None) => quote! {
            ::core::option::Option::Some(<#ty as ::core::default::Default>::default)
        },
        _ => quote!(::core::option::Option::None),
    }
}

/// The one static of an instance, and what runs at the ends of its life.
fn lifecycle(options: &Options) -> TokenStream {
    let unit = syn::parse_quote!(());
    let ty = options.state.as_ref().unwrap_or(&unit);
    let init = match &options.init {
        Some(init) => quote!(#init),
        None => quote!(<#ty as ::core::default::Default>::default),
    };
    let shutdown = match &options.shutdown {
        Some(shutdown) => quote!(#shutdown),
        None => quote!(|| ()),
    };
    quote! {
        ::std::thread_local! {
            static STATE: ::wrt_guest::__private::Slot<#ty> =
                const { ::wrt_guest::__private::Slot::new() };
        }
        impl ::wrt_guest::__private::lifecycle::Guest for Export {
            fn init(
                context: ::wrt_guest::__private::lifecycle::WireContext,
            ) -> ::core::result::Result<(), ::std::string::String> {
                ::wrt_guest::__private::lifecycle::init(#init, &STATE, context)
            }
            fn shutdown() {
                ::wrt_guest::__private::lifecycle::shutdown(#shutdown, &STATE)
            }
        }
        ::wrt_guest::__private::bindings::lifecycle::export!(
            Export with_types_in ::wrt_guest::__private::bindings::lifecycle
        );
    }
}

/// The hand-over, and the section that shows tools the schema.
fn state(options: &Options) -> TokenStream {
    let ty = &options.state;
    let begin = begin(options);
    quote! {
        impl ::wrt_guest::__private::state::Guest for Export {
            fn save() -> ::core::result::Result<
                ::wrt_guest::__private::state::WireSnapshot,
                ::std::string::String,
            > {
                ::wrt_guest::__private::state::save(&STATE, #begin)
            }
            fn restore(
                snapshot: ::wrt_guest::__private::state::WireSnapshot,
            ) -> ::core::result::Result<
                ::wrt_guest::__private::state::WireRestored,
                ::wrt_guest::__private::state::WireRestoreError,
            > {
                ::wrt_guest::__private::state::restore(&STATE, snapshot)
            }
        }
        ::wrt_guest::__private::bindings::state::export!(
            Export with_types_in ::wrt_guest::__private::bindings::state
        );
        const VERSION: u32 = <#ty as ::wrt_guest::State>::VERSION;
        const SCHEMA: &str = <#ty as ::wrt_guest::State>::SCHEMA;
        #[used]
        #[unsafe(link_section = "wrt:state")]
        static SECTION: [u8; ::wrt_guest::__private::section_len(VERSION, SCHEMA)] =
            ::wrt_guest::__private::section(VERSION, SCHEMA);
    }
}
