//! Turns an annotated function into itself, the checks of its types, and the component's exports.

use super::export::export;
use super::options::Options;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Item, ItemFn, ReturnType, Signature, Type};

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

    /// As many as `wrt-guest` implements its handler traits for, beside the state.
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
    let options = Options::parse(attribute, arguments)?;
    let function = match syn::parse2::<Item>(item)? {
        Item::Fn(function) => function,
        other => {
            return Err(Error::new(other.span(), format!("`{attribute}` belongs on a function")));
        }
    };
    let argument_types = check_signature(kind, &options, &function)?;
    let checks = type_checks(kind, &function, &argument_types);
    let option_checks = option_checks(kind, &options, &function);
    let export = export(kind, &options, &function.sig.ident);
    Ok(quote! {
        #function
        const _: () = {
            #checks
            #option_checks
            #export
        };
    })
}

/// The argument types of a function that can be a handler, without that of the state.
fn check_signature<'a>(
    kind: Kind,
    options: &Options,
    function: &'a ItemFn,
) -> Result<Vec<&'a Type>, Error> {
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
    let mut arguments = signature.inputs.iter();
    if let Some(state) = &options.state {
        check_state_argument(signature, arguments.next(), state)?;
    }
    if let Some(extra) = arguments.clone().nth(kind.max_arguments()) {
        let max = kind.max_arguments();
        let beside = if options.state.is_some() { " beside the state" } else { "" };
        return Err(Error::new(
            extra.span(),
            format!("`{attribute}` takes a function with at most {max} arguments{beside}"),
        ));
    }
    arguments.map(|argument| check_argument(argument, attribute)).collect()
}

/// That it is the right type is checked by the export; here, that it is borrowed.
fn check_state_argument(
    signature: &Signature,
    argument: Option<&FnArg>,
    state: &Type,
) -> Result<(), Error> {
    let is_borrowed = matches!(
        argument,
        Some(FnArg::Typed(typed))
            if matches!(&*typed.ty, Type::Reference(reference) if reference.mutability.is_some())
    );
    if is_borrowed {
        return Ok(());
    }
    let name = quote!(#state).to_string().replace(' ', "");
    let span = argument.map_or(signature.ident.span(), Spanned::span);
    Err(Error::new(span, format!("the first argument of a handler with state is `&mut {name}`")))
}

fn check_argument<'a>(argument: &'a FnArg, attribute: &str) -> Result<&'a Type, Error> {
    match argument {
        FnArg::Receiver(receiver) => Err(Error::new(
            receiver.span(),
            format!("`{attribute}` belongs on a free function, without `self`"),
        )),
        FnArg::Typed(typed) => match &*typed.ty {
            Type::Reference(reference) if reference.mutability.is_some() => Err(Error::new(
                reference.span(),
                "a handler owns its arguments: remove the `&mut`, or name the type in the \
                 attribute, `state = …`, and take it first",
            )),
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

/// Statements that compile only if the state and the functions of the attribute fit together.
fn option_checks(kind: Kind, options: &Options, function: &ItemFn) -> TokenStream {
    let unit: Type = syn::parse_quote!(());
    let state = options.state.as_ref().unwrap_or(&unit);
    let name = &function.sig.ident;
    let mut checks = TokenStream::new();
    if options.state.is_some() {
        let stateful = match kind {
            Kind::Http => quote!(::wrt_guest::StatefulHttpHandler),
            Kind::Event => quote!(::wrt_guest::StatefulEventHandler),
        };
        checks.extend(quote_spanned! { state.span() =>
            const _: fn() = {
                fn check<T: ::wrt_guest::State>() {}
                check::<#state>
            };
        });
        if options.init.is_none() {
            checks.extend(quote_spanned! { state.span() =>
                const _: fn() -> #state = <#state as ::core::default::Default>::default;
            });
        }
        checks.extend(quote_spanned! { name.span() =>
            const _: fn() = || {
                fn check<F: #stateful<#state, Shape>, Shape>(_: F) {}
                check(#name)
            };
        });
    }
    for (hook, wanted) in [
        (&options.init, quote!(::wrt_guest::Init)),
        (&options.shutdown, quote!(::wrt_guest::Shutdown)),
    ] {
        checks.extend(hook.iter().map(|hook| {
            quote_spanned! { hook.span() =>
                const _: fn() = || {
                    fn check<F: #wanted<#state, Shape>, Shape>(_: F) {}
                    check(#hook)
                };
            }
        }));
    }
    checks
}

#[cfg(test)]
mod tests;
