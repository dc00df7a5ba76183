//! Counts requests in memory, and answers with the count; begins, ends and hands over as `chosen.rs`
//! says. `?do=trap` or `?do=loop` does that; `?size=N` is the size of later snapshots in bytes.

#[path = "../stateful/chosen.rs"]
mod chosen;

use wrt_guest::{Error, Result, Uri, query};

#[wrt_guest::http]
fn handle(uri: Uri) -> Result<String> {
    let size = query(&uri, "size").map(|size| size.parse()).transpose().map_err(Error::rejected)?;
    Ok(chosen::call(&query(&uri, "do").unwrap_or_default(), size))
}
