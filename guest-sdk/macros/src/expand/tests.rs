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
    for export in ["Exchange :: sent", "Exchange :: whole"] {
        assert!(expansion.contains(export), "{expansion}");
    }
    assert!(expansion.contains("serve (handle , exchange)"), "{expansion}");
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

#[track_caller]
fn check_state_error(
    kind: Kind,
    arguments: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
    expected: &str,
) {
    let expansion = expand(kind, arguments, item).to_string();
    assert!(expansion.contains("compile_error"), "no compile error in {expansion}");
    assert!(expansion.contains(expected), "`{expected}` not in {expansion}");
}

#[test]
fn unknown_arguments_of_the_attribute_are_refused() {
    for arguments in
        [quote!(path = "/"), quote!(state), quote!(init = a, init = b), quote!(state = A state = B)]
    {
        check_state_error(
            Kind::Event,
            arguments,
            quote!(
                fn f() {}
            ),
            "`#[wrt_guest::event]` takes `state = Type`, `init = function` and \
             `shutdown = function`, each at most once",
        );
    }
}

#[test]
fn state_is_borrowed_and_comes_first() {
    let first = "the first argument of a handler with state is `&mut Counter`";
    for item in [
        quote!(
            fn f() {}
        ),
        quote!(
            fn f(counter: Counter) {}
        ),
        quote!(
            fn f(counter: &Counter) {}
        ),
    ] {
        check_state_error(Kind::Event, quote!(state = Counter), item, first);
    }
    check_state_error(
        Kind::Http,
        quote!(state = Counter),
        quote!(
            fn f(s: &mut Counter, a: A, b: B, c: C, d: D, e: E) -> Response {
                a
            }
        ),
        "at most 4 arguments beside the state",
    );
    check_error(
        Kind::Http,
        quote!(
            fn f(counter: &mut Counter) -> Response {
                counter
            }
        ),
        "name the type in the attribute, `state = …`",
    );
}

#[test]
fn plain_handler_has_one_export() {
    let function = quote!(
        fn f() {}
    );
    let expansion = expand(Kind::Event, quote!(), function).to_string();
    for absent in ["lifecycle", "thread_local", "wrt:state", "restore"] {
        assert!(!expansion.contains(absent), "`{absent}` in {expansion}");
    }
}

#[test]
fn handler_with_hooks_exports_the_lifecycle() {
    let function = quote!(
        fn f() {}
    );
    let expansion = expand(Kind::Event, quote!(init = start::begin), function).to_string();
    assert!(expansion.contains("lifecycle :: init (start :: begin , & STATE"), "{expansion}");
    assert!(expansion.contains("event :: serve (f , event)"), "{expansion}");
    assert!(!expansion.contains("wrt:state"), "{expansion}");
}

#[test]
fn handler_with_state_exports_all_of_it() {
    let function = quote!(
        fn f(counter: &mut Counter) {}
    );
    let expansion = expand(Kind::Event, quote!(state = Counter, shutdown = end), function);
    let expansion = expansion.to_string();
    assert!(!expansion.contains("compile_error"), "{expansion}");
    assert!(expansion.contains("event :: serve_with (f , & STATE , "), "{expansion}");
    assert!(expansion.contains("lifecycle :: shutdown (end , & STATE)"), "{expansion}");
    assert!(expansion.contains("state :: restore (& STATE , snapshot)"), "{expansion}");
    assert!(expansion.contains(r#"link_section = "wrt:state""#), "{expansion}");
}
