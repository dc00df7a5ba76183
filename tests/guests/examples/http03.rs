//! An HTTP handler of WASI 0.3: answers "ok from 0.3", and a POST with its own body as it comes.

#[cfg(target_arch = "wasm32")]
mod component {
    //! The export of world `wasi:http/service`.

    use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response};
    use wasip3::wit_bindgen::spawn_local;
    use wasip3::{wit_future, wit_stream};

    struct Component;

    #[allow(warnings, unsafe_code, reason = "the export macro is generated")]
    const _: () = {
        wasip3::http::service::export!(Component);
    };

    impl wasip3::exports::http::handler::Guest for Component {
        async fn handle(request: Request) -> Result<Response, ErrorCode> {
            // Without a value, the body of either direction ends well and has no trailers.
            let (_, no_error) = wit_future::new(|| Ok(()));
            let (_, no_trailers) = wit_future::new(|| Ok(None));
            let (body, trailers) = if matches!(request.get_method(), Method::Post) {
                Request::consume_body(request, no_error)
            } else {
                let (mut writer, body) = wit_stream::new();
                spawn_local(async move { drop(writer.write_all(b"ok from 0.3".to_vec()).await) });
                (body, no_trailers)
            };
            let (response, _) = Response::new(Fields::new(), Some(body), trailers);
            Ok(response)
        }
    }
}
