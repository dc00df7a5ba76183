//! Answers with `?count=N` headers `x-big-I` of `?bytes=M` bytes each, by default 1 of 65536.
//!
//! The body is the size of the request's headers.

use wrt_guest::{HeaderMap, HeaderName, HeaderValue, Response, Result, Uri, query};

#[wrt_guest::http]
fn handle(uri: Uri, headers: HeaderMap) -> Result<Response<String>> {
    let number = |name, default| match query(&uri, name) {
        Some(text) => text.parse::<usize>(),
        None => Ok(default),
    };
    let received: usize =
        headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    let mut response = Response::new(received.to_string());
    let value = HeaderValue::try_from("x".repeat(number("bytes", 65536)?))?;
    for index in 0..number("count", 1)? {
        let name = HeaderName::try_from(format!("x-big-{index}"))?;
        response.headers_mut().insert(name, value.clone());
    }
    Ok(response)
}
