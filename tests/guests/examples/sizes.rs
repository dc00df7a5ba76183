//! Answers with a page of 1 KiB, with 64 KiB at `/large`, or with a stream of 1 MiB at `/stream`.

use wrt_guest::{Body, Html, IntoResponse as _, PathAndQuery, Response, Result};

/// 64 bytes of the page.
const LINE: &str = "<p>Hello from a handler: each of those 16 lines has 64 bytes</p>";

/// Bytes at `/large`, and of each chunk at `/stream`.
const CHUNK: usize = 64 << 10;

/// Chunks at `/stream`.
const N_CHUNKS: usize = 16;

#[wrt_guest::http]
fn handle(path: PathAndQuery) -> Result<Response> {
    match path.path() {
        "/large" => Body::from(vec![b'x'; CHUNK]).into_response(),
        "/stream" => Body::stream(async |mut out| {
            for _ in 0..N_CHUNKS {
                out.send(vec![b'x'; CHUNK]).await;
            }
            Ok(())
        })
        .into_response(),
        _ => Html(LINE.repeat(16)).into_response(),
    }
}
