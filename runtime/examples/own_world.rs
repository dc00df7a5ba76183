//! A host that brings its own WIT world and its own host functions; typed calls, pooling and
//! swapping are wrt's.
//!
//! ```text
//! cargo build --target wasm32-wasip2 -p wrt-test-guests --example own_world
//! cargo run -p wrt --example own_world -- target/wasm32-wasip2/debug/examples/own_world.wasm
//! ```
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;

use wrt::{HandlerConfig, HandlerName, InstanceMode, Plugin, Runtime, RuntimeConfig, Source, Swap};

/// What `bindgen!` makes of the world that this host offers to its plugins.
mod bindings {
    #![allow(missing_docs, reason = "generated; the WIT file documents it")]
    wrt::wasmtime::component::bindgen!({
        path: "../tests/guests/wit",
        world: "acme:filters/filter",
        exports: { default: async },
        wasmtime_crate: wrt::wasmtime,
    });
}

/// The host's own data, one for each instance.
struct Settings(Arc<HashMap<String, String>>);

impl bindings::acme::filters::host::Host for Settings {
    fn lookup(&mut self, key: String) -> Option<String> {
        self.0.get(&key).cloned()
    }
}

wrt::contract! {
    /// Filters of this host: text in, text out.
    struct Filters for bindings::Filter, indices bindings::FilterIndices;
    host = Settings;
    world = "acme:filters/filter@1.0.0";
    imports = [bindings::acme::filters::host];
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: own_world FILTER.wasm [SECOND.wasm]")?;
    let second = std::env::args().nth(2).unwrap_or_else(|| path.clone());

    let settings = Arc::new(HashMap::from([("suffix".to_owned(), "!".to_owned())]));
    let runtime = Runtime::new(RuntimeConfig::default())?;
    let config =
        HandlerConfig::new(HandlerName::new("shout")?).with_instances(InstanceMode::pooled());
    let filter: Plugin<Filters> =
        runtime.add_plugin(config, move || Settings(Arc::clone(&settings)))?;
    let _ = filter.load(Source::file(path)).await?;

    // From a spawned task, as a server would.
    let calling = filter.clone();
    let answer = tokio::spawn(async move {
        calling.call(async |filter, store| filter.call_transform(store, "hello").await).await
    })
    .await??;
    println!("transform gives {answer:?}");

    for _ in 0..2 {
        let n_texts = filter.call(async |filter, store| filter.call_count(store).await).await?;
        println!("this instance has transformed {n_texts} text");
    }

    let trapped =
        filter.call(async |filter, store| filter.call_transform(store, "trap").await).await;
    println!("a trap fails its call: {}", trapped.is_err());

    match filter.swap(Source::file(second), "the example has a second version").await? {
        Swap::Swapped { serving, .. } => {
            println!("generation {} serves {} now", serving.generation, serving.digest.short());
        }
        other => println!("nothing to swap: {other:?}"),
    }
    let answer =
        filter.call(async |filter, store| filter.call_transform(store, "again").await).await?;
    println!("transform gives {answer:?}");
    runtime.shutdown().await;
    Ok(())
}
