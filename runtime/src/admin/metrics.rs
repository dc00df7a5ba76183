//! Figures in the text form of Prometheus.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::Shared;
use crate::events::HandlerCounts;
use crate::id::HandlerName;
use crate::ingress::Lack;

pub(super) async fn show(State(shared): State<Shared>) -> impl IntoResponse {
    let (statuses, counts) = (shared.runtime.statuses(), shared.runtime.event_bus().counts());
    let cache = shared.runtime.cache_report();
    let mut page = Page::default();
    page.metric("wrt_handlers", "gauge", "Handlers.").value("", statuses.len());
    let n_ready = statuses.iter().filter(|status| status.is_ready()).count();
    page.metric("wrt_handlers_ready", "gauge", "Handlers that can answer.").value("", n_ready);
    page.metric("wrt_handler_generation", "gauge", "Number of the active generation.");
    for status in &statuses {
        if let Some(serving) = status.serving {
            page.value(&handler(&status.name), serving.generation);
        }
    }
    page.metric("wrt_handler_calls_in_flight", "gauge", "Calls inside the active generation.");
    for status in &statuses {
        page.value(&handler(&status.name), status.in_flight);
    }
    page.metric(
        "wrt_history_not_kept",
        "gauge",
        "1 while what becomes of the handler's versions is not on the disk, where it should be.",
    );
    for status in &statuses {
        page.value(&handler(&status.name), u8::from(status.not_kept.is_some()));
    }
    page.metric("wrt_live_stores", "gauge", "Stores: calls in flight and warm instances.")
        .value("", shared.runtime.live_stores());
    let connections = shared.runtime.connection_counts();
    page.metric("wrt_connections_open", "gauge", "Connections of the data plane that are open.")
        .value("", connections.open());
    page.metric(
        "wrt_connections_waited_total",
        "counter",
        "Times that new connections of the data plane had to wait, by what was lacking.",
    );
    for lack in Lack::ALL {
        page.value(&format!("{{lack=\"{}\"}}", lack.label()), connections.times(lack));
    }
    page.metric("wrt_swaps_total", "counter", "Generations published.");
    page.each(&counts, |counts| counts.swaps);
    page.metric("wrt_rejections_total", "counter", "Candidates refused.");
    page.each(&counts, |counts| counts.rejections);
    page.metric("wrt_call_failures_total", "counter", "Calls that failed, by their outcome.");
    for (name, counts) in &counts {
        for (outcome, n) in &counts.failures {
            page.value(&format!("{{handler=\"{name}\",outcome=\"{outcome}\"}}"), n);
        }
    }
    page.metric("wrt_calls_cut_total", "counter", "Calls cut at a drain deadline.");
    page.each(&counts, |counts| counts.cut);
    page.metric(
        "wrt_log_lines_left_out_total",
        "counter",
        "Log lines beyond what a handler may write.",
    );
    page.each(&counts, |counts| counts.lines_left_out);
    page.metric("wrt_events_missed_total", "counter", "Events that the event streams do not have.")
        .value("", shared.feed.backlog.missed());
    page.metric("wrt_code_memory_bytes", "gauge", "Compiled code in memory.")
        .value("", cache.memory_bytes);
    page.metric("wrt_code_memory_budget_bytes", "gauge", "Compiled code that memory may hold.")
        .value("", cache.memory_budget);
    page.metric("wrt_code_obtained_total", "counter", "Where compiled code came from.");
    let layers = [
        ("memory", cache.counts.memory_hits),
        ("disk", cache.counts.disk_hits),
        ("functions", cache.counts.functions_hits),
        ("compiler", cache.counts.compilations),
    ];
    for (layer, n) in layers {
        page.value(&format!("{{from=\"{layer}\"}}"), n);
    }
    page.metric("wrt_code_evictions_total", "counter", "Idle code that left memory.")
        .value("", cache.counts.evictions);
    page.metric("wrt_cache_discarded_total", "counter", "Files of the cache that were damaged.")
        .value("", cache.counts.discarded);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.text)
}

/// A label; a handler's name needs no escaping.
fn handler(name: &HandlerName) -> String {
    format!("{{handler=\"{name}\"}}")
}

/// Text that grows metric by metric.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// Begins a metric, whose values follow.
    fn metric(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.name = name;
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self
    }

    fn value(&mut self, labels: &str, value: impl Display) {
        // As above.
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }

    /// The figure that `count` picks, of each handler where there is something to count.
    fn each(
        &mut self,
        counts: &BTreeMap<HandlerName, HandlerCounts>,
        count: impl Fn(&HandlerCounts) -> u64,
    ) {
        for (name, counts) in counts {
            let n = count(counts);
            if n > 0 {
                self.value(&handler(name), n);
            }
        }
    }
}
