//! Answers "ok" after the `?ms=M` milliseconds that it is asked to wait.

use std::time::Duration;
use wrt_guest::{PathAndQuery, Result, query, time};

#[wrt_guest::http]
async fn handle(path: PathAndQuery) -> Result<&'static str> {
    let ms = query(&path, "ms").unwrap_or_else(|| "0".into()).parse()?;
    time::sleep(Duration::from_millis(ms)).await;
    Ok("ok")
}
