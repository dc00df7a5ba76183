//! Answers with one text: a small handler, written against `wasi:http` alone.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

const TEXT: &str = "a small handler";

struct Component;

wasip2::http::proxy::export!(Component);

impl Guest for Component {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().expect("a new response has its body");
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().expect("a new body has its stream");
        let written = stream.blocking_write_and_flush(TEXT.as_bytes());
        // The stream is a child of the body, and must be gone before it.
        drop(stream);
        // If the client has gone there is nobody to tell; the host sees the unfinished body.
        if written.is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }
}
