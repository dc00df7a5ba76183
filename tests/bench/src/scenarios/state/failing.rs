//! What do very many swaps leave behind, half of them failing?

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use fastrand::Rng;
use serde_json::{Value, json};
use wrt_test_support::guests::{Profile, guest_as, plugin, variant};
use wrt_test_support::history::History;
use wrt_test_support::load::{LoadPlan, Shape};
use wrt_test_support::proc_stat::ProcStat;
use wrt_test_support::process::WAIT_LIMIT;

use super::super::{load_runtime, read_component};
use super::{Host, RandomPlan, start};
use crate::counts::Counts;
use crate::report::{Figure, Row, Unit, say};
use crate::site::{HANDLER, Handler, Site};
use crate::stats::slope;

/// The handler with a state; the other one, [`HANDLER`], has none.
const KEPT: &str = "kept";

/// `init` is read by the guest that stands for those that fail at their start, and by no other.
const PLAIN_SETTINGS: &str = "[handler.measured.config]\ninit = \"trap\"";

const KEPT_SETTINGS: &str = "instances = \"singleton\"";

/// Less than the code of all versions, so that the disk's bound is met on the way too.
const CACHE: &str = "[cache]\ndisk = \"256MiB\"\n";

/// Swaps between two looks.
const LOOK_EVERY: u64 = 250;

/// The part of all swaps after which nothing may grow: caches and pools are full then.
const WARM_UP: u64 = 5;

/// Calls per second: enough to meet every step of a swap, and few enough for it to end soon.
const RATE: f64 = 500.0;

/// Bytes that each swap may leave behind.
const BAR_RSS: f64 = 1024.0;

/// How far apart the least and the most open files may be: the connections stay, and a history or a
/// piece of compiled code is being written, or not.
const BAR_FILES: f64 = 8.0;

/// The same for threads: those that write files end when they were idle for ten seconds.
const BAR_THREADS: f64 = 8.0;

/// The head of a component, and so one that has nothing in it.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

/// Longest garbage, in bytes.
const MAX_GARBAGE: usize = 64 << 10;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// Random bytes.
    Garbage,
    /// A component whose end is missing.
    Cut,
    /// A component without exports.
    Empty,
    /// A component whose `init` traps.
    Traps,
    /// A component that does not know the state.
    WrongState,
}

impl Kind {
    const BAD: [Self; 5] = [Self::Garbage, Self::Cut, Self::Empty, Self::Traps, Self::WrongState];

    /// What has to become of it: a swap, or a refusal at this stage.
    fn expected(self) -> &'static str {
        match self {
            Self::Good => "swapped",
            Self::Garbage | Self::Cut => "rejected at compile",
            Self::Empty => "rejected at check",
            Self::Traps => "rejected at init",
            Self::WrongState => "rejected at restore",
        }
    }

    fn handler(self) -> &'static str {
        if self == Self::WrongState { KEPT } else { HANDLER }
    }
}

/// What candidates are made of.
struct Makers {
    plain: Vec<u8>,
    stateful: Vec<u8>,
}

impl Makers {
    /// Candidate `number` of this kind.
    fn component(&self, kind: Kind, number: u64, random: &mut Rng) -> Vec<u8> {
        match kind {
            Kind::Good => variant(&self.plain, number),
            Kind::Garbage => {
                let len = random.usize(1..MAX_GARBAGE);
                std::iter::repeat_with(|| random.u8(..)).take(len).collect()
            }
            Kind::Cut => {
                // Within the guest's module, which is most of it: between two sections, of which the
                // beginning has many, what is left would be a component without exports.
                let len = random.usize(self.plain.len() / 4..self.plain.len() / 2);
                self.plain[..len].to_vec()
            }
            Kind::Empty => variant(EMPTY, number),
            Kind::Traps | Kind::WrongState => variant(&self.stateful, number),
        }
    }
}

/// One look at the host.
#[derive(Debug, Clone, Copy)]
struct Look {
    swaps: u64,
    stat: ProcStat,
    stores: f64,
}

impl Look {
    fn at(host: &mut Host, swaps: u64) -> Result<Self> {
        let stores = host.admin.metric("wrt_live_stores")?;
        Ok(Self { swaps, stat: ProcStat::of(host.server.id())?, stores })
    }

    fn json(&self) -> Value {
        let Self { swaps, stat: ProcStat { rss, n_files, n_threads }, stores } = self;
        json!({
            "swaps": swaps,
            "rss": rss,
            "files": n_files,
            "threads": n_threads,
            "stores": stores,
        })
    }
}

pub(super) fn run(plan: RandomPlan) -> Result<Figure> {
    let mut figure = Figure::new(
        "state-failing",
        "what do very many swaps leave behind, half of them failing, under 8 clients?",
    );
    let plain = read_component(&plugin("hello", Profile::Release)?)?;
    let kept = read_component(&plugin("counter", Profile::Release)?)?;
    let stateful = read_component(&guest_as("stateful_http", Profile::Release)?)?;
    let mut host = host(&plain, &kept)?;
    let makers = Makers { plain, stateful };
    let mut random = Rng::with_seed(plan.seed);

    let runtime = load_runtime()?;
    let load = start(
        &runtime,
        LoadPlan {
            shapes: vec![Shape::get("/"), Shape::post("/kept", 0).with_number()],
            rate: Some(RATE),
            ..host.plan(plan.clients, Shape::get("/"))
        },
    );
    let mut told: BTreeMap<String, u64> = BTreeMap::new();
    let (mut looks, mut unexpected) = (vec![], 0);
    let started_at = Instant::now();
    for number in 1..=plan.swaps {
        let bad = random.choice(Kind::BAD).filter(|_| random.bool());
        let kind = bad.unwrap_or(Kind::Good);
        let component = makers.component(kind, number, &mut random);
        let answer = host.admin.swap(kind.handler(), &component)?;
        let outcome = answer.to_string();
        *told.entry(format!("{kind:?} {outcome}")).or_default() += 1;
        if outcome != kind.expected() {
            unexpected += 1;
            say(&format!("  {kind:?} was answered with {:.500}", answer.json().to_string()));
        }
        if number % LOOK_EVERY == 0 {
            looks.push(Look::at(&mut host, number)?);
        }
        if number % (4 * LOOK_EVERY) == 0 {
            say(&format!("  {number} swaps, {} calls: {:?}", load.n_ended(), looks.last()));
        }
    }
    let seconds = started_at.elapsed().as_secs_f64();
    let result = runtime.block_on(load.stop())?;
    let idle_stores = idle_stores(&mut host)?;
    let counts = Counts::of(result.connections.iter().map(|log| log.counts.as_slice()));
    // Without the milestones, which are as many as the swaps and judged by `swaps`.
    let report = History { connections: result.connections, milestones: vec![] }.check();

    let after = plan.swaps / WARM_UP;
    let warm: Vec<_> = looks.iter().filter(|look| look.swaps > after).copied().collect();
    let points: Vec<_> =
        warm.iter().map(|look| (look.swaps as f64, look.stat.rss as f64)).collect();
    let (first, last) = (warm.first(), warm.last());
    let mib =
        |look: Option<&Look>| look.map_or(f64::NAN, |it| it.stat.rss as f64 / f64::from(1 << 20));
    figure.line("outcomes", format!("{told:?} in {seconds:.0} s"));
    figure.line("history", report.to_string());
    figure.line("counts", format!("{counts:?}"));
    figure.line("memory", format!("{:.1} MiB, then {:.1} MiB in the end", mib(first), mib(last)));
    figure.value("samples", looks.iter().map(Look::json).collect::<Vec<_>>());
    figure.value("calls", report.n_calls);
    let what = format!("memory that each swap leaves behind, after the first {after}");
    figure.row(Row::low("rss_slope", what, slope(&points), Unit::Bytes).bar(BAR_RSS));
    for (id, what, bar, of) in [
        ("files", "open files", Some(BAR_FILES), (|it| it.stat.n_files as f64) as fn(&Look) -> f64),
        ("threads", "threads", Some(BAR_THREADS), |it| it.stat.n_threads as f64),
        ("stores", "live stores", None, |it| it.stores),
    ] {
        let what = format!("{what}, most less least, after the first {after}");
        let row = Row::low(id, what, spread(warm.iter().map(of)), Unit::Count);
        figure.row(bar.map_or(row.clone(), |bar| row.bar(bar)));
    }
    let what = "live stores when nobody calls: the one with the state";
    figure.row(Row::low("idle_stores", what, idle_stores, Unit::Count).bar(1.0));
    for (id, what, n) in [
        ("failed", "failed calls", report.n_failed as u64),
        ("violations", "calls not served by one generation in order", report.n_violations as u64),
        ("connections_lost", "lost connections", result.n_reconnects),
        (
            "miscounted",
            "counts lost or doubled by a failed hand-over",
            counts.n_lost + counts.n_doubled,
        ),
        ("unexpected", "swaps with another outcome than they must have", unexpected),
    ] {
        figure.row(Row::low(id, what, n as f64, Unit::Count).bar(0.0));
    }
    Ok(figure)
}

/// Serves both handlers, once both answer.
fn host(plain: &[u8], kept: &[u8]) -> Result<Host> {
    let site = Site::temporary()?;
    let handlers = [
        Handler::new(KEPT, "/kept").with(KEPT_SETTINGS),
        Handler::new(HANDLER, "/*").with(PLAIN_SETTINGS),
    ];
    site.write_manifest(&handlers, CACHE)?;
    site.put(KEPT, kept)?;
    site.put(HANDLER, plain)?;
    let host = Host::start(site)?;
    for name in [KEPT, HANDLER] {
        host.server.wait_for("the first generation", 0, |event| {
            event.is("swapped") && event.text("handler") == name
        })?;
    }
    Ok(host)
}

/// Live stores when those that end have ended: one is left, or too many for too long.
fn idle_stores(host: &mut Host) -> Result<f64> {
    let deadline = Instant::now() + WAIT_LIMIT;
    loop {
        let stores = host.admin.metric("wrt_live_stores")?;
        if stores <= 1.0 || Instant::now() > deadline {
            return Ok(stores);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The largest value less the smallest; NaN without any.
fn spread(values: impl Iterator<Item = f64>) -> f64 {
    let both = |(least, most): (f64, f64), it: f64| (least.min(it), most.max(it));
    let found = values.fold(None, |found, it| Some(both(found.unwrap_or((it, it)), it)));
    found.map_or(f64::NAN, |(least, most)| most - least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_between_the_extremes() {
        assert_eq!(spread([7.0, 3.0, 12.0, 5.0].into_iter()), 9.0);
        assert_eq!(spread([7.0].into_iter()), 0.0);
        assert!(spread(std::iter::empty()).is_nan());
    }

    #[test]
    fn candidates_of_every_kind_are_new_each_time() {
        let makers = Makers { plain: vec![1; 1000], stateful: vec![2; 1000] };
        let mut random = Rng::with_seed(1);
        for kind in [Kind::Good, Kind::Garbage, Kind::Empty, Kind::Traps, Kind::WrongState] {
            let mut component = |number| makers.component(kind, number, &mut random);
            assert_ne!(component(1), component(2), "{kind:?}");
        }
        for number in 0..100 {
            let cut = makers.component(Kind::Cut, number, &mut random);
            assert!(!cut.is_empty() && cut.len() < 500 && makers.plain.starts_with(&cut));
        }
    }
}
