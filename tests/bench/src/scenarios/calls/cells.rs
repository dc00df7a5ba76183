//! What is called, how, and what is expected of it: one cell for each figure.

use wrt_bench_calls::{Mode, Work};

use super::Side;

/// One thing that is measured.
#[derive(Debug)]
pub(super) struct Cell {
    /// Name of its row.
    pub(super) name: &'static str,
    /// The same of the row about Extism; empty without one.
    pub(super) extism: &'static str,
    /// For people.
    pub(super) label: &'static str,
    pub(super) mode: Mode,
    pub(super) work: Work,
    pub(super) on_all_threads: bool,
    /// How many times as long as bare wasmtime's a call may take.
    pub(super) bar: Option<f64>,
}

impl Cell {
    /// Whether `side` can do it.
    pub(super) fn has(&self, side: Side) -> bool {
        match side {
            Side::Wrt => true,
            Side::Bare => self.mode != Mode::Singleton,
            Side::Extism => !self.extism.is_empty(),
        }
    }
}

/// Bar of calls with a fresh instance: what wrt adds to making one.
const FRESH: Option<f64> = Some(1.2);

/// Bar of calls of warm instances, which are short themselves.
const POOLED: Option<f64> = Some(1.5);

use Mode::{Fresh, Pooled, Singleton};
use Work::{Bytes, Count, Json, Noop, Transform};

#[rustfmt::skip]
pub(super) const CELLS: &[Cell] = &[
    cell("fresh_noop", "fresh_noop_extism", "no-op, fresh", Fresh, Noop, false, FRESH),
    cell("fresh_json", "fresh_json_extism", "1 KiB JSON, fresh", Fresh, Json, false, FRESH),
    cell("fresh_bytes", "fresh_bytes_extism", "1 MiB bytes, fresh", Fresh, Bytes, false, None),
    cell("pooled_noop", "pooled_noop_extism", "no-op, warm", Pooled, Noop, false, POOLED),
    cell("pooled_json", "pooled_json_extism", "1 KiB JSON, warm", Pooled, Json, false, POOLED),
    cell("pooled_bytes", "pooled_bytes_extism", "1 MiB bytes, warm", Pooled, Bytes, false, None),
    cell("fresh_noop_all", "fresh_noop_all_extism", "no-op, fresh, all threads", Fresh, Noop, true, None),
    cell("fresh_json_all", "fresh_json_all_extism", "JSON, fresh, all threads", Fresh, Json, true, None),
    cell("fresh_bytes_all", "fresh_bytes_all_extism", "1 MiB, fresh, all threads", Fresh, Bytes, true, None),
    cell("pooled_noop_all", "pooled_noop_all_extism", "no-op, warm, all threads", Pooled, Noop, true, None),
    cell("pooled_json_all", "pooled_json_all_extism", "JSON, warm, all threads", Pooled, Json, true, None),
    cell("pooled_bytes_all", "pooled_bytes_all_extism", "1 MiB, warm, all threads", Pooled, Bytes, true, None),
    cell("singleton_noop", "", "no-op, singleton", Singleton, Noop, false, None),
    cell("typed_fresh_count", "", "typed no-op, fresh", Fresh, Count, false, None),
    cell("typed_fresh_transform", "", "typed 1 KiB, fresh", Fresh, Transform, false, None),
    cell("typed_pooled_count", "", "typed no-op, warm", Pooled, Count, false, None),
    cell("typed_pooled_transform", "", "typed 1 KiB, warm", Pooled, Transform, false, None),
];

const fn cell(
    name: &'static str,
    extism: &'static str,
    label: &'static str,
    mode: Mode,
    work: Work,
    on_all_threads: bool,
    bar: Option<f64>,
) -> Cell {
    Cell { name, extism, label, mode, work, on_all_threads, bar }
}
