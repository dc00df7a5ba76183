//! An HTTP handler written against `wasi:http` alone, as other tools and languages make them.

/// The text of the answer, apart from the bindings so that it can be tested natively.
#[cfg_attr(not(any(test, target_arch = "wasm32")), expect(dead_code, reason = "only exported"))]
fn answer(is_read: bool, path: &str) -> (u16, String) {
    if is_read {
        (200, format!("legacy handler at {path}\n"))
    } else {
        (405, "method is not allowed, expected GET or HEAD\n".into())
    }
}

#[cfg(target_arch = "wasm32")]
mod component {
    //! The export, with every step that an SDK would take.

    use wasip2::exports::http::incoming_handler::Guest;
    use wasip2::http::types::{
        Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
    };

    struct Component;

    wasip2::http::proxy::export!(Component);

    impl Guest for Component {
        fn handle(request: IncomingRequest, out: ResponseOutparam) {
            let is_read = matches!(request.method(), Method::Get | Method::Head);
            let path = request.path_with_query().unwrap_or_default();
            let (status, text) = super::answer(is_read, &path);

            let headers = Fields::new();
            headers
                .set("content-type", &[b"text/plain; charset=utf-8".to_vec()])
                .expect("a new list of headers can be changed");
            let response = OutgoingResponse::new(headers);
            response.set_status_code(status).expect("200 and 405 are statuses");
            let body = response.body().expect("a new response has its body");
            ResponseOutparam::set(out, Ok(response));

            let stream = body.write().expect("a new body has its stream");
            // One write takes at most 4096 bytes, so a longer path is cut.
            let written = stream.blocking_write_and_flush(&text.as_bytes()[..text.len().min(4096)]);
            // The stream is a child of the body, and must be gone before it.
            drop(stream);
            // If the client has gone there is nobody to tell; the host sees the unfinished body.
            if written.is_ok() {
                let _ = OutgoingBody::finish(body, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn get_is_answered_and_post_is_refused() {
        assert_eq!(answer(true, "/legacy/a?b"), (200, "legacy handler at /legacy/a?b\n".into()));
        assert_eq!(answer(false, "/").0, 405);
    }
}
