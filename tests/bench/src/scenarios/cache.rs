//! How long from an artifact on disk to its first answer, by what is known of it already?

use std::time::Instant;

use anyhow::Result;
use wrt_test_support::process::ServerProcess;

use crate::bare::Compiler;
use crate::bare_process::compile_ms_anew;
use crate::numbered::Numbered;
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit, say};
use crate::site::{Site, digest, staged};
use crate::stats::Samples;

/// Milliseconds that may be added to a bare compilation.
const ADDED_MS: f64 = 15.0;

/// Milliseconds until an artifact answers whose code is on disk.
const DISK_MS: f64 = 8.0;

/// The same for one whose code is in memory.
const MEMORY_MS: f64 = 5.0;

/// The same compilation takes 150 to 200 ms beside neighbours: medians of 15 differed by as much as
/// may be added.
const ROUNDS: usize = 31;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Artifacts of each kind.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: ROUNDS }
    }
}

/// Swaps of one kind.
#[derive(Default)]
struct Swaps {
    ms: Samples,
    compiled_by: Vec<String>,
}

impl Swaps {
    /// Puts `number` before `server` and waits for its answer.
    ///
    /// The server says when it is there, and is asked then. A client that asks again and again
    /// would take the processor from the compiler: 15 to 25 of 270 ms with a question every 3 ms.
    fn swap(
        &mut self,
        (site, server, probe): (&Site, &ServerProcess, &mut Probe),
        component: &[u8],
        number: usize,
    ) -> Result<()> {
        let from = server.n_events();
        let replaced_at = Instant::now();
        site.replace(component)?;
        let digest = digest(component);
        server.wait_for("the swap", from, |event| {
            event.is("swapped") && event.text("digest") == digest
        })?;
        let answered_at = probe.wait_for("/", &Numbered::words(number))?;
        self.ms.push((answered_at - replaced_at).as_secs_f64() * 1e3);
        let staged = staged(server, from, &digest)?;
        self.compiled_by.push(staged.text("compiled_by").to_owned());
        Ok(())
    }

    /// How many came from elsewhere than `origins`: they say nothing about it.
    fn n_from_elsewhere(&self, origins: &[&str]) -> usize {
        self.compiled_by.iter().filter(|it| !origins.contains(&it.as_str())).count()
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "cache",
        "how long from an artifact on disk to its first answer, by what is known of it already?",
    );
    let numbered = Numbered::hello()?;
    // As good as nothing in it is in the others too.
    let first = Numbered::small()?.component(0)?;

    // Nothing known: a new process in a new directory for each, on both sides.
    let (mut cold, mut bare_cold) = (Swaps::default(), Samples::default());
    for number in 1..=args.rounds {
        let component = numbered.component(number)?;
        // They are first in turns.
        let is_first = number % 2 == 1;
        if is_first {
            bare_cold.push(compile_ms_anew(&[&first, &component])?);
        }
        let site = Site::new(&first)?;
        let server = site.serve()?;
        let mut probe = Probe::new(server.address());
        cold.swap((&site, &server, &mut probe), &component, number)?;
        drop(server);
        if !is_first {
            bare_cold.push(compile_ms_anew(&[&first, &component])?);
        }
    }
    say("  cold: done");

    // The functions of one like it are known: what a developer's process meets at each save.
    let (mut warm, mut bare_warm) = (Swaps::default(), Samples::default());
    {
        let site = Site::new(&numbered.component(0)?)?;
        let server = site.dev()?;
        let compiler = Compiler::with_functions()?;
        let mut probe = Probe::new(server.address());
        for number in 1..=args.rounds {
            let component = numbered.component(number)?;
            warm.swap((&site, &server, &mut probe), &component, number)?;
            super::settled(&server)?;
            let ms = compiler.compile_ms(&component)?;
            // The first one fills the cache.
            if number > 1 {
                bare_warm.push(ms);
            }
        }
    }
    say("  functions known: done");

    // All code known: one process compiles, the next one finds it on disk, then in memory.
    let site = Site::new(&first)?;
    let (mut disk, mut memory) = (Swaps::default(), Swaps::default());
    let swap_to = |number: usize, server: &ServerProcess, swaps: &mut Swaps| -> Result<()> {
        let mut probe = Probe::new(server.address());
        swaps.swap((&site, server, &mut probe), &numbered.component(number)?, number)
    };
    let server = site.serve()?;
    for number in 1..=args.rounds {
        swap_to(number, &server, &mut Swaps::default())?;
    }
    server.terminate()?;
    site.replace(&first)?;
    let server = site.serve()?;
    for number in 1..=args.rounds {
        swap_to(number, &server, &mut disk)?;
    }
    // What served before is what a host keeps in memory: the way back.
    for round in 1..=args.rounds {
        swap_to(args.rounds - round % 2, &server, &mut memory)?;
    }

    figure.line("component", format!("{} KiB", numbered.len() / 1024));
    figure.line("bare compilation, cold", bare_cold.in_ms());
    figure.line("bare, functions known", bare_warm.in_ms());
    figure.value("bare_cold_ms", bare_cold.median());
    figure.value("bare_warm_ms", bare_warm.median());
    let mut n_from_elsewhere = 0;
    // By neighbours: the machine is slower for seconds on end, and then for both.
    let what = "nothing known, added to a bare compilation beside it";
    let added = Row::low("cold_added", what, cold.ms.above(&bare_cold), Unit::Ms);
    figure.row(added.bar(ADDED_MS));
    let warm_bar = bare_warm.median() + ADDED_MS;
    // A developer's process answers first on code of the fast compiler, which looks up nothing; where
    // there is none for the machine, it finds functions.
    let (compiler, either) = (&["compiler"][..], &["compiler", "functions"]);
    for (id, what, swaps, origins, bar) in [
        ("cold", "nothing known", &cold, compiler, None),
        (
            "functions",
            "functions known; bar: bare compilation that knows them + 15 ms",
            &warm,
            either,
            Some(warm_bar),
        ),
        ("disk", "compiled code on disk", &disk, &["disk"], Some(DISK_MS)),
        ("memory", "compiled code in memory", &memory, &["memory"], Some(MEMORY_MS)),
    ] {
        figure.line(id, format!("{}; {:?}", swaps.ms.in_ms(), counted(&swaps.compiled_by)));
        let row = Row::low(id, what, swaps.ms.median(), Unit::Ms);
        figure.row(match bar {
            Some(bar) => row.bar(bar),
            None => row,
        });
        n_from_elsewhere += swaps.n_from_elsewhere(origins);
    }
    let what = "artifacts whose code came from elsewhere than the row says";
    figure.row(Row::low("elsewhere", what, n_from_elsewhere as f64, Unit::Count).bar(0.0));
    Ok(figure)
}

/// How often each of `names` is among them.
fn counted(names: &[String]) -> std::collections::BTreeMap<&str, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for name in names {
        *counts.entry(name.as_str()).or_default() += 1;
    }
    counts
}
