//! Reads the whole body and answers "LENGTH CHECKSUM", the checksum being `wrt_test_guests::fnv1a`.

use wrt_guest::{Body, Result};

#[wrt_guest::http]
async fn handle(body: Body) -> Result<String> {
    let bytes = body.bytes().await?;
    Ok(format!("{} {:016x}", bytes.len(), wrt_test_guests::fnv1a(&bytes)))
}
