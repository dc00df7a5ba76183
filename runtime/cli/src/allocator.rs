//! The program's allocator and its settings.

/// See the dependency in `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What the allocator reads at its first use: one arena for each processor. With four for each, its
/// default, what swaps leave free is spread so thinly that a thousand of them took a megabyte more.
// Safety: nothing else has this name, and jemalloc expects a pointer to a string that ends in zero.
#[allow(unsafe_code, reason = "the name is the allocator's interface")]
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 20] = b"percpu_arena:percpu\0";
