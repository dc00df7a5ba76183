//! How long does it take to compile a small handler, with and without its functions known?

#[path = "../src/bare.rs"]
mod bare;

use std::hint::black_box;

use anyhow::Result;
use criterion::{BatchSize, Criterion};
use wrt_test_support::guests::{Profile, plugin, variant};

use bare::Compiler;

/// See the dependency in `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> Result<()> {
    let component = std::fs::read(plugin("hello", Profile::Release)?)?;
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let mut group = criterion.benchmark_group("compile");
    let (cold, known) = (Compiler::cold()?, Compiler::with_functions()?);
    known.compile_ms(&component)?;
    for (name, compiler) in [("nothing known", &cold), ("functions known", &known)] {
        let mut number = 0;
        let mut next = || {
            number += 1;
            variant(&component, number)
        };
        group.bench_function(name, |bencher| {
            let compile = |component: Vec<u8>| black_box(compiler.compile_ms(&component));
            bencher.iter_batched(&mut next, compile, BatchSize::PerIteration);
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
