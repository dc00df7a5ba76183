//! Asks for `?url=U` and answers with the status that came back, or with "error: " and the reason.

use wrt_guest::{Error, Result, Uri, query};

#[wrt_guest::http]
async fn handle(uri: Uri) -> Result<String> {
    let url = query(&uri, "url").ok_or_else(|| Error::rejected("expected `?url=`"))?;
    Ok(match status(&url).await {
        Ok(status) => status.to_string(),
        Err(error) => format!("error: {}", error.chain()),
    })
}

#[cfg(target_arch = "wasm32")]
async fn status(url: &str) -> Result<u16> {
    use wstd::http::{Body, Client, Request};

    let request = Request::get(url).body(Body::empty())?;
    Ok(Client::new().send(request).await?.status().as_u16())
}

#[cfg(not(target_arch = "wasm32"))]
async fn status(url: &str) -> Result<u16> {
    Err(format!("no host to ask for `{url}`").into())
}
