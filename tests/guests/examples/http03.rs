//! An HTTP handler of WASI 0.3: answers "ok from 0.3", and a POST with its own body as it comes.
//!
//! `/address` answers with the scheme and the authority of the request. `?then=…` sends "half of it",
//! reads the request to the end, and then does that: `panic`, `loop`, `error` in place of the
//! body's end, `finish`. `?status=N` answers with that status, `?code` with an error.

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

    fn text(text: String) -> Response {
        let (_, no_trailers) = wit_future::new(|| Ok(None));
        let (mut writer, body) = wit_stream::new();
        spawn_local(async move { drop(writer.write_all(text.into_bytes()).await) });
        Response::new(Fields::new(), Some(body), no_trailers).0
    }

    fn half(request: Request, then: String) -> Response {
        let (_, no_error) = wit_future::new(|| Ok(()));
        let (trailers, trailing) = wit_future::new(|| Ok(None));
        let (mut writer, body) = wit_stream::new();
        spawn_local(async move {
            writer.write_all(b"half of it".to_vec()).await;
            let (mut upload, _) = Request::consume_body(request, no_error);
            while upload.next().await.is_some() {}
            match &*then {
                "panic" => panic!("asked to panic"),
                "loop" => loop {
                    std::hint::spin_loop();
                },
                "error" => {
                    drop(writer);
                    let code = ErrorCode::InternalError(Some("the words of the guest".to_owned()));
                    drop(trailers.write(Err(code)).await);
                }
                _ => {}
            }
        });
        Response::new(Fields::new(), Some(body), trailing).0
    }

    impl wasip3::exports::http::handler::Guest for Component {
        async fn handle(request: Request) -> Result<Response, ErrorCode> {
            let path = request.get_path_with_query().unwrap_or_default();
            if path == "/address" {
                let (scheme, authority) = (request.get_scheme(), request.get_authority());
                return Ok(text(format!("{scheme:?} {authority:?}")));
            }
            if path.ends_with("?code") {
                return Err(ErrorCode::InternalError(Some("the words of the guest".to_owned())));
            }
            if let Some((_, status)) = path.split_once("?status=") {
                let response = text(String::new());
                response
                    .set_status_code(status.parse().expect("the host takes it"))
                    .expect("the host takes it");
                return Ok(response);
            }
            if let Some((_, then)) = path.split_once("?then=") {
                return Ok(half(request, then.to_owned()));
            }
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
