//! What stands in the brackets of a handler's attribute.

use proc_macro2::TokenStream;
use syn::parse::Parser;
use syn::spanned::Spanned;
use syn::{Error, Path, Type};

/// What a handler has beside its function.
#[derive(Default)]
pub(crate) struct Options {
    /// The type of its state.
    pub(crate) state: Option<Type>,
    /// The function that begins an instance.
    pub(crate) init: Option<Path>,
    /// The function that ends an instance.
    pub(crate) shutdown: Option<Path>,
}

impl Options {
    /// Reads `state = Type, init = function, shutdown = function`, each of which may be missing.
    pub(crate) fn parse(attribute: &str, arguments: TokenStream) -> Result<Self, Error> {
        let mut options = Self::default();
        let span = arguments.span();
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("state") {
                set(&mut options.state, meta.path.span(), meta.value()?.parse()?)
            } else if meta.path.is_ident("init") {
                set(&mut options.init, meta.path.span(), meta.value()?.parse()?)
            } else if meta.path.is_ident("shutdown") {
                set(&mut options.shutdown, meta.path.span(), meta.value()?.parse()?)
            } else {
                Err(meta.error("unknown"))
            }
        });
        match parser.parse2(arguments) {
            Ok(()) => Ok(options),
            Err(_) => Err(Error::new(
                span,
                format!(
                    "`{attribute}` takes `state = Type`, `init = function` and \
                     `shutdown = function`, each at most once"
                ),
            )),
        }
    }

    /// Whether the component exports `wrt:plugin/lifecycle`.
    pub(crate) fn has_lifecycle(&self) -> bool {
        self.state.is_some() || self.init.is_some() || self.shutdown.is_some()
    }
}

fn set<T>(place: &mut Option<T>, span: proc_macro2::Span, value: T) -> Result<(), Error> {
    if place.replace(value).is_some() {
        return Err(Error::new(span, "given twice"));
    }
    Ok(())
}
