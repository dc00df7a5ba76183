//! The attributes and the derive of `wrt-guest`; use them through that crate.

mod derive;
mod expand;
mod export;
mod options;

use expand::Kind;
use proc_macro::TokenStream;

/// Makes a function the HTTP handler of this component.
///
/// `state = Type` gives it a state, `init = function` and `shutdown = function` run at the ends of
/// each instance. See the `wrt-guest` crate, and its module `state`.
#[proc_macro_attribute]
pub fn http(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Http, arguments.into(), item.into()).into()
}

/// Makes a function the event handler of this component.
///
/// `state = Type` gives it a state, `init = function` and `shutdown = function` run at the ends of
/// each instance. See the `wrt-guest` crate, and its module `state`.
#[proc_macro_attribute]
pub fn event(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Event, arguments.into(), item.into()).into()
}

/// Makes a type the state of a handler, or a part of one.
///
/// On the type, `#[state(version = 2, migrate = function)]` sets what differs from a first version;
/// on a field, `#[state(opaque = "…")]` describes in words a type that has no schema. See the module
/// `state` of the `wrt-guest` crate.
#[proc_macro_derive(State, attributes(state, serde))]
pub fn state(item: TokenStream) -> TokenStream {
    derive::derive(item.into()).into()
}
