//! A host that mounts wrt's HTTP service in its own axum router.
//!
//! ```text
//! cargo build --target wasm32-wasip2 -p hello
//! cargo run -p wrt --example axum -- target/wasm32-wasip2/debug/hello.wasm
//! ```
//!
//! `/` is the host's own page; everything below `/plugins/` is answered by the handler.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::error::Error;

use axum::Router;
use axum::routing::get;
use wrt::{HandlerConfig, HandlerName, Route, Runtime, RuntimeConfig, Source};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: axum HANDLER.wasm")?;

    let runtime = Runtime::new(RuntimeConfig::default())?;
    let config =
        HandlerConfig::new(HandlerName::new("hello")?).with_route(Route::parse("/plugins/*")?);
    let hello = runtime.add_handler(config)?;
    let _ = hello.load(Source::file(path)).await?;

    let router = Router::new()
        .route("/", get(|| async { "the host's own page\n" }))
        // A fallback rather than a nested service: wrt's routes are those of the manifest, so it
        // has to see the whole path.
        .fallback_service(runtime.http_service());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router)
        .with_graceful_shutdown(async {
            // Without signals the example serves until it is killed.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    runtime.shutdown().await;
    Ok(())
}
