//! What authors are told about a function that cannot be a handler, and what a good one becomes.

use super::{Kind, expand};
use quote::quote;

#[track_caller]
fn check_error(kind: Kind, item: proc_macro2::TokenStream, expected: &str) {
    let expansion = expand(kind, quote!(), item.clone()).to_string();
    assert!(expansion.contains("compile_error"), "no compile error in {expansion}");
    assert!(expansion.contains(expected), "`{expected}` not in {expansion}");
    assert!(expansion.ends_with(&item.to_string()), "the item itself is gone: {expansion}");
}

#[test]
fn good_function_stays_as_it_is_and_is_exported() {
    let function = quote!(
        async fn handle(request: Request) -> Result<Response> {
            other(request).await
        }
    );
    let expansion = expand(Kind::Http, quote!(), function.clone()).to_string();
    assert!(!expansion.contains("compile_error"), "{expansion}");
    assert!(expansion.starts_with(&function.to_string()), "{expansion}");
    assert!(expansion.contains("serve (handle , request , out)"), "{expansion}");
}

#[test]
fn sync_event_function_is_exported() {
    let function = quote!(
        fn on_order(Json(order): Json<Order>) {}
    );
    let expansion = expand(Kind::Event, quote!(), function).to_string();
    assert!(!expansion.contains("compile_error"), "{expansion}");
    assert!(expansion.contains("serve (on_order , event)"), "{expansion}");
}

#[test]
fn each_mistake_is_named() {
    let http = Kind::Http;
    check_error(
        http,
        quote!(
            struct Handler;
        ),
        "`#[wrt_guest::http]` belongs on a function",
    );
    check_error(
        http,
        quote!(
            fn f() {}
        ),
        "add `-> Result<Response>`",
    );
    check_error(
        http,
        quote!(
            fn f<T>(t: T) -> Response {
                t
            }
        ),
        "cannot be generic",
    );
    check_error(
        http,
        quote!(
            fn f(t: impl Trait) -> Response {
                t
            }
        ),
        "cannot be generic",
    );
    check_error(
        http,
        quote!(
            fn f(r: &Request) -> Response {
                r
            }
        ),
        "remove the `&`",
    );
    check_error(
        http,
        quote!(
            fn f(self) -> Response {
                r
            }
        ),
        "without `self`",
    );
    check_error(
        http,
        quote!(
            unsafe fn f() -> Response {
                r
            }
        ),
        "cannot be `unsafe`",
    );
    check_error(
        http,
        quote!(
            extern "C" fn f() -> Response {
                r
            }
        ),
        "remove `extern`",
    );
    check_error(
        http,
        quote!(
            fn f(a: A, b: B, c: C, d: D, e: E) -> Response {
                a
            }
        ),
        "at most 4 arguments",
    );
    check_error(
        Kind::Event,
        quote!(
            fn f(a: A, b: B, c: C) {}
        ),
        "at most 2 arguments",
    );
}

#[test]
fn arguments_of_the_attribute_are_refused() {
    let expansion = expand(
        Kind::Event,
        quote!(path = "/"),
        quote!(
            fn f() {}
        ),
    )
    .to_string();
    assert!(expansion.contains("`#[wrt_guest::event]` takes no arguments"), "{expansion}");
}
