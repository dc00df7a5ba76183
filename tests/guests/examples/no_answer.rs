//! Returns without having set a response, which the SDK would not let happen.

#[cfg(target_arch = "wasm32")]
mod component {
    //! The export, by hand.

    use wasip2::exports::http::incoming_handler::{Guest, IncomingRequest, ResponseOutparam};

    struct Component;

    wasip2::http::proxy::export!(Component);

    impl Guest for Component {
        fn handle(_: IncomingRequest, out: ResponseOutparam) {
            drop(out);
        }
    }
}
