//! Answers by `wasi:http` alone: sends "half of it", reads its request to the end, and then does what
//! `?then=` says: `panic`; `drop` or `forget` of the body; `finish`, after which it may also `panic` with
//! `finish-panic`. `?status=N` is an answer of that status, `?code` an error in its place, `/none` no answer,
//! `/empty` one without a body. Without all that it counts the requests that this instance has seen.

#[cfg(target_arch = "wasm32")]
mod component {
    //! The export, by hand.

    use std::sync::atomic::{AtomicU64, Ordering};

    use wasip2::exports::http::incoming_handler::{Guest, IncomingRequest, ResponseOutparam};
    use wasip2::http::types::{ErrorCode, Fields, OutgoingBody, OutgoingResponse};

    static SEEN: AtomicU64 = AtomicU64::new(0);

    struct Component;

    wasip2::http::proxy::export!(Component);

    impl Guest for Component {
        fn handle(request: IncomingRequest, out: ResponseOutparam) {
            // Ordering: relaxed, because a component has one thread.
            let seen = SEEN.fetch_add(1, Ordering::Relaxed) + 1;
            let path = request.path_with_query().unwrap_or_default();
            let (path, query) = path.split_once('?').unwrap_or((&path, ""));
            if path == "/none" {
                return drop(out);
            }
            if query == "code" {
                let code = ErrorCode::InternalError(Some("the words of the guest".to_owned()));
                return ResponseOutparam::set(out, Err(code));
            }
            let response = OutgoingResponse::new(Fields::new());
            if path == "/empty" {
                return ResponseOutparam::set(out, Ok(response));
            }
            if let Some(status) = query.strip_prefix("status=") {
                response
                    .set_status_code(status.parse().expect("the host takes it"))
                    .expect("the host takes it");
            }
            let body = response.body().expect("the host takes it");
            ResponseOutparam::set(out, Ok(response));
            let stream = body.write().expect("the host takes it");
            let Some(then) = query.strip_prefix("then=") else {
                // An answer that was refused has nobody who takes it.
                let _ = stream.blocking_write_and_flush(seen.to_string().as_bytes());
                drop(stream);
                return OutgoingBody::finish(body, None).expect("the host takes it");
            };
            stream.blocking_write_and_flush(b"half of it").expect("the host takes it");
            let upload = request.consume().expect("the host takes it");
            let input = upload.stream().expect("the host takes it");
            while input.blocking_read(1024).is_ok() {}
            match then {
                "panic" => panic!("asked to panic"),
                "forget" => {
                    std::mem::forget(stream);
                    std::mem::forget(body);
                }
                "drop" => {
                    drop(stream);
                    drop(body);
                }
                _ => {
                    drop(stream);
                    let _ = OutgoingBody::finish(body, None);
                    assert!(then != "finish-panic", "asked to panic");
                }
            }
        }
    }
}
