//! Our limits, turned into the numbers of wasmtime's pooling allocator.

use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// Places beyond the calls that may run at once: candidates of swaps, warm idle instances, and
/// stores whose last task ends just after its call. Without them a swap would fail under load.
const SPARE_SLOTS: u32 = 256;

/// Core instances of one component: the guest itself plus the adapters and shims around it; five
/// for a Rust component. Counting is free, so this leaves room for composed components.
const CORE_INSTANCES_EACH: u32 = 20;

/// Memories and tables of one component, for components composed of several.
const MEMORIES_EACH: u32 = 2;

/// Tables of one component: one for each module that has functions to call indirectly.
const TABLES_EACH: u32 = 5;

/// Bytes of a used memory that are cleared by writing zeros rather than returned to the system;
/// below this a `memset` costs less than the page faults of the next instance. Measured at more
/// than twice the requests per second with a fresh instance for each.
///
/// They stay with each place of the pool that was ever used, so they are few: the pages that a small
/// handler writes to in a call. After 1,000 calls at once, 125 MiB stay.
const MEMORY_KEEP_RESIDENT: usize = 128 * 1024;

/// The same where the system does not tell which pages were written to (Linux before 6.7). Then the
/// first bytes of the memory are cleared, whichever were used: those of a Rust guest's stack, which
/// takes 1 MiB, and of its data.
const MEMORY_KEEP_RESIDENT_BLINDLY: usize = 2 * 1024 * 1024;

/// The same for tables; 16 thousand entries.
const TABLE_KEEP_RESIDENT: usize = 128 * 1024;

/// Entries of one table. A large Rust handler has some ten thousand functions in its table.
const TABLE_ELEMENTS: usize = 100_000;

/// Bytes of metadata of one instance; wasmtime's default of 1 MiB is too small for components with
/// tens of thousands of functions.
const INSTANCE_SIZE: usize = 10 * 1024 * 1024;

/// Makes `config` allocate instances from a pool that serves `calls` at once.
pub(super) fn apply(config: &mut Config, calls: usize) {
    let slots = u32::try_from(calls).unwrap_or(u32::MAX).saturating_add(SPARE_SLOTS);
    let keep_resident = if PoolingAllocationConfig::is_pagemap_scan_available() {
        MEMORY_KEEP_RESIDENT
    } else {
        MEMORY_KEEP_RESIDENT_BLINDLY
    };
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(slots.saturating_mul(MEMORIES_EACH))
        .total_tables(slots.saturating_mul(TABLES_EACH))
        .total_stacks(slots)
        .max_memories_per_module(MEMORIES_EACH)
        .max_tables_per_module(TABLES_EACH)
        .table_elements(TABLE_ELEMENTS)
        .max_component_instance_size(INSTANCE_SIZE)
        .max_core_instance_size(INSTANCE_SIZE)
        .linear_memory_keep_resident(keep_resident)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
}
