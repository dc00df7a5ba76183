//! Streams N chunks, "chunk 1" to "chunk N", each a line, with a pause of M ms between them.
//!
//! `?chunks=N&ms=M`; without them 10 chunks and 100 ms.

use std::time::Duration;
use wrt_guest::{Body, Result, Uri, query, time};

#[wrt_guest::http]
fn handle(uri: Uri) -> Result<Body> {
    let number = |name, default| match query(&uri, name) {
        Some(text) => text.parse::<u64>(),
        None => Ok(default),
    };
    let (chunks, pause) = (number("chunks", 10)?, Duration::from_millis(number("ms", 100)?));
    Ok(Body::stream(async move |mut out| {
        for chunk in 1..=chunks {
            if chunk > 1 {
                time::sleep(pause).await;
            }
            out.send(format!("chunk {chunk}\n")).await;
        }
        Ok(())
    }))
}
