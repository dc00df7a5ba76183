//! Turns an annotated function into itself, the checks of its types, and the component's export.
//!
//! Everything that the export does lives in functions of `wrt-guest`; what is generated here stays
//! so small that it costs nothing to compile.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Item, ItemFn, ReturnType, Type};

/// Which of the two attributes is expanded.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Http,
    Event,
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Self::Http => "#[wrt_guest::http]",
            Self::Event => "#[wrt_guest::event]",
        }
    }

    /// As many as `wrt-guest` implements its handler traits for.
    fn max_arguments(self) -> usize {
        match self {
            Self::Http => 4,
            Self::Event => 2,
        }
    }

    fn argument_trait(self) -> TokenStream {
        match self {
            Self::Http => quote!(::wrt_guest::FromRequest),
            Self::Event => quote!(::wrt_guest::FromEvent),
        }
    }

    fn answer_trait(self) -> TokenStream {
        match self {
            Self::Http => quote!(::wrt_guest::IntoResponse),
            Self::Event => quote!(::wrt_guest::IntoAnswer),
        }
    }
}

/// The expansion; a mistake of the author becomes a compile error at its place.
pub(crate) fn expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    match try_expand(kind, arguments, item.clone()) {
        Ok(tokens) => tokens,
        // The function stays, so that its other uses do not add errors of their own.
        Err(error) => {
            let error = error.to_compile_error();
            quote!(#error #item)
        }
    }
}

fn try_expand(kind: Kind, arguments: TokenStream, item: TokenStream) -> Result<TokenStream, Error> {
    let attribute = kind.attribute();
    if !arguments.is_empty() {
        return Err(Error::new(arguments.span(), format!("`{attribute}` takes no arguments")));
    }
    let function = match syn::parse2::<Item>(item)? {
        Item::Fn(function) => function,
        other => {
            return Err(Error::new(other.span(), format!("`{attribute}` belongs on a function")));
        }
    };
    let argument_types = check_signature(kind, &function)?;
    let checks = type_checks(kind, &function, &argument_types);
    let export = export(kind, &function);
    Ok(quote! {
        #function
        const _: () = {
            #checks
            #export
        };
    })
}

/// The argument types of a function that can be a handler.
fn check_signature(kind: Kind, function: &ItemFn) -> Result<Vec<&Type>, Error> {
    let signature = &function.sig;
    let attribute = kind.attribute();
    if !signature.generics.params.is_empty() {
        return Err(Error::new(
            signature.generics.span(),
            "a handler cannot be generic: the host calls one function; name the types",
        ));
    }
    if let Some(token) = &signature.unsafety {
        return Err(Error::new(token.span(), "a handler cannot be `unsafe`: the host calls it"));
    }
    if let Some(abi) = &signature.abi {
        return Err(Error::new(
            abi.span(),
            format!("remove `extern`: `{attribute}` makes the export"),
        ));
    }
    if kind == Kind::Http && matches!(signature.output, ReturnType::Default) {
        return Err(Error::new(
            signature.ident.span(),
            "an HTTP handler returns its answer: add `-> Result<Response>`, or any type that \
             implements `IntoResponse`",
        ));
    }
    if let Some(extra) = signature.inputs.iter().nth(kind.max_arguments()) {
        let max = kind.max_arguments();
        return Err(Error::new(
            extra.span(),
            format!("`{attribute}` takes a function with at most {max} arguments"),
        ));
    }
    signature.inputs.iter().map(|argument| check_argument(argument, attribute)).collect()
}

fn check_argument<'a>(argument: &'a FnArg, attribute: &str) -> Result<&'a Type, Error> {
    match argument {
        FnArg::Receiver(receiver) => Err(Error::new(
            receiver.span(),
            format!("`{attribute}` belongs on a free function, without `self`"),
        )),
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(reference) => {
                Err(Error::new(reference.span(), "a handler owns its arguments: remove the `&`"))
            }
            Type::ImplTrait(it) => Err(Error::new(
                it.span(),
                "a handler cannot be generic: name the type in place of `impl …`",
            )),
            ty => Ok(ty),
        },
    }
}

/// Statements that compile only if each type fits, with the error placed on the type.
fn type_checks(kind: Kind, function: &ItemFn, arguments: &[&Type]) -> TokenStream {
    let argument_trait = kind.argument_trait();
    let answer_trait = kind.answer_trait();
    let arguments = arguments.iter().map(|ty| {
        quote_spanned! { ty.span() =>
            const _: fn() = {
                fn check<T: #argument_trait>() {}
                check::<#ty>
            };
        }
    });
    let answer = match &function.sig.output {
        // A type that cannot be named is checked by the export alone.
        ReturnType::Type(_, ty) if !matches!(**ty, Type::ImplTrait(_)) => quote_spanned! {
            ty.span() =>
            const _: fn() = {
                fn check<T: #answer_trait>() {}
                check::<#ty>
            };
        },
        _ => TokenStream::new(),
    };
    quote!(#(#arguments)* #answer)
}

/// The export of a component; a native build only mentions the function, so that it counts as used.
fn export(kind: Kind, function: &ItemFn) -> TokenStream {
    let name = &function.sig.ident;
    let export = match kind {
        Kind::Http => quote! {
            impl ::wrt_guest::__private::http::Guest for Export {
                fn handle(
                    request: ::wrt_guest::__private::http::IncomingRequest,
                    out: ::wrt_guest::__private::http::ResponseOutparam,
                ) {
                    ::wrt_guest::__private::http::serve(#name, request, out)
                }
            }
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
                    ::wrt_guest::__private::event::serve(#name, event)
                }
            }
            ::wrt_guest::__private::bindings::export!(
                Export with_types_in ::wrt_guest::__private::bindings
            );
        },
    };
    quote! {
        #[cfg(not(target_arch = "wasm32"))]
        let _ = #name;
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Export;
            #export
        };
    }
}

#[cfg(test)]
mod tests;
