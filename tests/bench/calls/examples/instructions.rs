//! Makes a number of calls in this process, for callgrind to count the instructions of one.
//!
//! `instructions KIND COMPONENT CALLS CACHE`: KIND is `fresh`, `pooled`, `fresh-event` or
//! `pooled-event`; CACHE is a directory for compiled code, so that only the first run compiles. The
//! instructions of a call are the difference of two runs, divided by the difference of their CALLS.

use anyhow::{Context as _, Result, bail, ensure};
use http_body_util::{BodyExt as _, Empty};
use wrt::{
    CloudEvent, HandlerConfig, HandlerName, InstanceMode, Route, Runtime, RuntimeConfig, Source,
};

fn main() -> Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(run())
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, component, calls, cache] = &arguments[..] else {
        bail!("expected KIND COMPONENT CALLS CACHE");
    };
    let calls: u64 = calls.parse().context("CALLS is a number")?;
    let mut config = RuntimeConfig::default();
    config.cache_dir = Some(cache.into());
    let runtime = Runtime::new(config)?;
    let mode = if kind.starts_with("fresh") { InstanceMode::Fresh } else { InstanceMode::pooled() };
    let handler = HandlerConfig::new(HandlerName::new("measured")?)
        .with_instances(mode)
        .with_route(Route::parse("/*")?);
    let handler = runtime.add_handler(handler)?;
    let _ = handler.load(Source::file(component)).await?;
    if kind.ends_with("event") {
        let event = CloudEvent::new("17", "/bench", "noop");
        for _ in 0..calls {
            let _ = handler.call(event.clone()).await?;
        }
    } else {
        let service = runtime.http_service();
        for _ in 0..calls {
            let request = http::Request::get("http://localhost/hello").body(Empty::new())?;
            let response = service.respond(request).await;
            ensure!(response.status() == 200, "answered with {}", response.status());
            let _ = response.into_body().collect().await?;
        }
    }
    runtime.shutdown().await;
    Ok(())
}
