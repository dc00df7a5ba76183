//! Answers with the setting that `?key=K` names, and with 404 if there is none.

use wrt_guest::{Error, Result, StatusCode, Uri, config, query};

#[wrt_guest::http]
fn handle(uri: Uri) -> Result<String> {
    let key = query(&uri, "key").ok_or_else(|| Error::rejected("expected `?key=`"))?;
    config::get(&key)?
        .ok_or_else(|| Error::with_status(StatusCode::NOT_FOUND, format!("no setting `{key}`")))
}
