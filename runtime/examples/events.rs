//! A host that loads an event handler, calls it, and swaps it while calls are under way.
//!
//! ```text
//! cargo build --target wasm32-wasip2 -p orders
//! cargo run -p wrt --example events -- target/wasm32-wasip2/debug/orders.wasm
//! ```
//!
//! A second path is what to swap to; without one, the same component is rebuilt in memory with a
//! note attached, which makes it another artifact.
#![allow(clippy::print_stdout, reason = "an example shows its results")]

use std::error::Error;
use std::time::Duration;

use wrt::{CloudEvent, HandlerConfig, HandlerName, Runtime, RuntimeConfig, Source, Swap};

/// Calls under way while the handler is swapped.
const CALLERS: usize = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let first = std::fs::read(arguments.next().ok_or("usage: events FIRST.wasm [SECOND.wasm]")?)?;
    let second = match arguments.next() {
        Some(path) => std::fs::read(path)?,
        None => with_note(&first),
    };

    let runtime = Runtime::new(RuntimeConfig::default())?;
    let config =
        HandlerConfig::new(HandlerName::new("orders")?).with_timeout(Duration::from_secs(5));
    let orders = runtime.add_handler(config)?;
    let _ = orders.load(Source::bytes(first)).await?;

    let stop = tokio_util::sync::CancellationToken::new();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (orders, stop) = (orders.clone(), stop.clone());
            tokio::spawn(async move {
                let mut calls = 0;
                while !stop.is_cancelled() {
                    orders.call(order(caller, calls)).await?;
                    calls += 1;
                }
                Ok::<_, wrt::CallError>(calls)
            })
        })
        .collect();

    match orders.swap(Source::bytes(second), "the example has a second version").await? {
        Swap::Swapped { serving, from, .. } => println!(
            "generation {} serves {} now, after {}",
            serving.generation,
            serving.digest.short(),
            from.map_or("nothing".to_owned(), |from| format!("generation {from}")),
        ),
        other => println!("nothing to swap: {other:?}"),
    }
    let answer = orders.call(order(0, 0)).await?;
    println!("the answer is {}", answer.map_or("empty".to_owned(), |event| event.event_type));

    stop.cancel();
    let mut calls = 0;
    for caller in callers {
        calls += caller.await??;
    }
    println!("{calls} calls during the swap, none failed");
    runtime.shutdown().await;
    Ok(())
}

fn order(caller: usize, number: usize) -> CloudEvent {
    let order = format!(r#"{{"number":{number},"items":[{{"quantity":2,"price":450}}]}}"#);
    CloudEvent::new(format!("{caller}-{number}"), "/examples/shop", "order.created")
        .with_data("application/json", order)
}

/// `component` with a custom section at its end: the same code under another digest.
fn with_note(component: &[u8]) -> Vec<u8> {
    // Section 0, 6 bytes long: a name of 4 bytes, and 1 byte of content.
    [component, &[0, 6, 4, b'n', b'o', b't', b'e', 2]].concat()
}
