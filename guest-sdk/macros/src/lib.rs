//! The attributes `#[wrt_guest::http]` and `#[wrt_guest::event]`; use them through `wrt-guest`.

mod expand;

use expand::Kind;
use proc_macro::TokenStream;

/// Makes a function the HTTP handler of this component. See the `wrt-guest` crate.
#[proc_macro_attribute]
pub fn http(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Http, arguments.into(), item.into()).into()
}

/// Makes a function the event handler of this component. See the `wrt-guest` crate.
#[proc_macro_attribute]
pub fn event(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(Kind::Event, arguments.into(), item.into()).into()
}
