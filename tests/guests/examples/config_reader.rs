//! Answers with the setting that `?key=K` names, and with 404 if there is none.

use wrt_guest::{Error, PathAndQuery, Result, StatusCode, config, query};

#[wrt_guest::http]
fn handle(path: PathAndQuery) -> Result<String> {
    let key = query(&path, "key").ok_or_else(|| Error::rejected("expected `?key=`"))?;
    config::get(&key)?
        .ok_or_else(|| Error::with_status(StatusCode::NOT_FOUND, format!("no setting `{key}`")))
}
