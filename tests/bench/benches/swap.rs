//! How long does the library take to swap in a component, by what is known of it already?

use std::cell::Cell;

use anyhow::{Context as _, Result};
use criterion::Criterion;
use tokio::runtime::Runtime as Executor;
use wrt::{HandlerConfig, HandlerHandle, HandlerName, Runtime, RuntimeConfig, Source, Swap};
use wrt_test_support::guests::{Profile, plugin, variant};

/// See the dependency in `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    let component = std::fs::read(plugin("hello", Profile::Release)?)?;
    let executor = Executor::new().context("failed to start the async runtime")?;
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("swap");
    for (name, config) in
        [("served", RuntimeConfig::default()), ("developed", RuntimeConfig::for_dev())]
    {
        let (runtime, handler) = executor.block_on(handler(config))?;
        let number = Cell::new(0);
        let swap = || {
            number.set(number.get() + 1);
            let candidate = Source::bytes(variant(&component, number.get()));
            let swap = executor.block_on(handler.swap(candidate, "a benchmark"));
            let swap = swap.expect("a variant of what serves fits");
            assert!(matches!(swap, Swap::Swapped { .. }), "expected a swap, found {swap:?}");
        };
        // What the functions are taken from.
        swap();
        group.bench_function(name, |bencher| bencher.iter(&swap));
        executor.block_on(runtime.shutdown());
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

async fn handler(config: RuntimeConfig) -> Result<(Runtime, HandlerHandle)> {
    let runtime = Runtime::new(config)?;
    let handler = runtime.add_handler(HandlerConfig::new(HandlerName::new("measured")?))?;
    Ok((runtime, handler))
}
