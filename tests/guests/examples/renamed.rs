//! The plugin `counter` after its field was renamed: neither can read the state of the other.
//!
//! `POST /?ratio=X` also keeps a float, and `GET /?ratio` shows it.

use serde::{Deserialize, Serialize};
use wrt_guest::{Method, Result, State, Uri};

#[derive(Default, Serialize, Deserialize, State)]
struct Counter {
    visits: u64,
    ratio: f64,
}

#[wrt_guest::http(state = Counter)]
fn handle(counter: &mut Counter, method: Method, uri: Uri) -> Result<String> {
    if method == Method::POST {
        counter.visits += 1;
    }
    if let Some(ratio) = uri.query().and_then(|query| query.strip_prefix("ratio=")) {
        counter.ratio = ratio.parse()?;
    }
    Ok(match uri.query() {
        Some("ratio") => counter.ratio.to_string(),
        _ => counter.visits.to_string(),
    })
}
