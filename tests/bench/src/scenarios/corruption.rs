//! Does damage to the cache ever reach a caller? Damaged files, and writers killed as they write.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use wrt_test_support::process::{Event, ServerProcess};

use crate::damage::{Damage, damage, files};
use crate::numbered::Numbered;
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit, say};
use crate::site::{Handler, Site, digest};

/// The handlers of the site.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Components that one handler is swapped to in turns: more than fit in memory, which is nothing.
const SWAPPED: std::ops::Range<usize> = 10..16;

/// The first number of the components that nobody knows before a writer is killed.
const UNKNOWN: usize = 1000;

/// Only what is on disk is found again: each swap and each start reads the files.
const CACHE: &str = "[cache]\nmemory = \"1KiB\"\ndir = \"cache\"\n";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Files damaged.
    #[arg(long, default_value_t = 200)]
    damages: usize,
    /// Writers killed.
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// Seed of what is damaged, how, and when a writer is killed.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self { damages: 200, kills: 100, seed: 42 }
    }
}

/// What was seen over all rounds.
#[derive(Debug, Default)]
struct Seen {
    n_calls: usize,
    n_wrong: usize,
    n_errors: usize,
    n_executed: usize,
    n_recompiled: usize,
    by_damage: BTreeMap<Damage, usize>,
}

impl Seen {
    /// Calls `path`, which has to answer as `number` does.
    fn call(&mut self, probe: &mut Probe, path: &str, number: usize) {
        self.n_calls += 1;
        match probe.get(path) {
            Ok(200) if probe.has(&Numbered::words(number)) => {}
            Ok(200) => self.n_wrong += 1,
            Ok(_) | Err(_) => {
                self.n_errors += 1;
                say(&format!("  {path} of {number} failed: {:.300}", probe.text()));
            }
        }
    }

    /// Looks at what the server said: no candidate may be refused, no call fail, and what
    /// `is_damaged` may not come from disk.
    fn judge(&mut self, events: &[Event], is_damaged: impl Fn(&str) -> bool) {
        for event in events {
            if event.is("rejected") || event.is("call-failed") {
                self.n_errors += 1;
                say(&format!("  {}", event.json));
            } else if event.is("staged") && is_damaged(event.text("digest")) {
                let from_disk = event.text("compiled_by") == "disk";
                *if from_disk { &mut self.n_executed } else { &mut self.n_recompiled } += 1;
            }
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure =
        Figure::new("corruption", "does a damaged cache, or a killed writer, ever reach a caller?");
    let numbered = Numbered::small()?;
    let mut random = Rng::with_seed(args.seed);

    let mut damaged = Seen::default();
    let site = site(&numbered)?;
    for round in 1..=args.damages / 2 {
        restart_on_damage(&site, &mut damaged, &mut random)?;
        if round % 25 == 0 {
            say(&format!("  {round} restarts: {damaged:?}"));
        }
    }
    swap_on_damage(&site, &numbered, args.damages - args.damages / 2, &mut damaged, &mut random)?;
    say(&format!("  swaps: {damaged:?}"));

    let mut killed = Seen::default();
    let n_left = kill_writers(&numbered, args.kills, &mut killed, &mut random)?;

    figure.line("damages", format!("{:?}", damaged.by_damage));
    figure.line("calls", format!("{} and {}", damaged.n_calls, killed.n_calls));
    figure.line("files left unfinished", n_left.to_string());
    figure.value("calls", damaged.n_calls + killed.n_calls);
    figure.value("unfinished_files", n_left);
    let rows = [
        ("executed", "damaged entries executed", damaged.n_executed + damaged.n_wrong),
        ("damage_errors", "errors shown to a caller after damage", damaged.n_errors),
        ("kill_executed", "wrong answers after a writer was killed", killed.n_wrong),
        ("kill_errors", "errors shown to a caller after a kill", killed.n_errors),
    ];
    for (id, what, count) in rows {
        let n = if id.starts_with("kill") { args.kills } else { args.damages };
        figure.row(Row::low(id, format!("{what}, of {n}"), count as f64, Unit::Count).bar(0.0));
    }
    let what = "damaged entries that were asked for and compiled anew";
    figure.row(Row::high("recompiled", what, damaged.n_recompiled as f64, Unit::Count).bar(1.0));
    Ok(figure)
}

/// A site whose handlers have been called, so that their code is on disk.
fn site(numbered: &Numbered) -> Result<Site> {
    let site = Site::temporary()?;
    let routes = NAMES.map(|name| format!("/{name}"));
    let handlers: Vec<_> =
        NAMES.iter().zip(&routes).map(|(name, route)| Handler::new(name, route)).collect();
    site.write_manifest(&handlers, CACHE)?;
    for (number, name) in NAMES.iter().enumerate() {
        site.put(name, &numbered.component(number)?)?;
    }
    let server = site.start(&["serve"])?;
    let mut seen = Seen::default();
    call_all(&server, 0, &mut seen);
    server.terminate()?;
    ensure!(seen.n_wrong + seen.n_errors == 0, "the undamaged site does not work: {seen:?}");
    ensure!(!entries(&site)?.is_empty(), "expected compiled code in the cache, found none");
    Ok(site)
}

/// Calls every handler; the first one runs component `first`, the others those after it.
fn call_all(server: &ServerProcess, first: usize, seen: &mut Seen) {
    let mut probe = Probe::new(server.address());
    for (number, name) in NAMES.iter().enumerate() {
        seen.call(&mut probe, &format!("/{name}"), first + number);
    }
}

/// The files of the cache that hold something.
fn entries(site: &Site) -> Result<Vec<PathBuf>> {
    files(&site.path("cache"))
}

/// Damages one file, half of the time compiled code.
fn damage_one(site: &Site, seen: &mut Seen, random: &mut Rng) -> Result<PathBuf> {
    let all = entries(site)?;
    let code: Vec<_> = all.iter().filter(|path| digest_of(path).is_some()).cloned().collect();
    let from = if random.bool() && !code.is_empty() { &code } else { &all };
    let path = random.choice(from).context("expected files in the cache, found none")?;
    *seen.by_damage.entry(damage(path, from, random)?).or_default() += 1;
    Ok(path.clone())
}

/// The digest that the name of a file with compiled code is.
fn digest_of(path: &Path) -> Option<&str> {
    let is_code = path.components().any(|part| part.as_os_str() == "code");
    let name = path.file_name()?.to_str()?;
    (is_code && name.len() == 64).then_some(name)
}

/// Damages a file between two processes.
fn restart_on_damage(site: &Site, seen: &mut Seen, random: &mut Rng) -> Result<()> {
    let path = damage_one(site, seen, random)?;
    // Without the key that they were signed with, none of the entries can be trusted.
    let is_key = path.file_name().is_some_and(|name| name == "key");
    let server = site.start(&["serve"])?;
    call_all(&server, 0, seen);
    let events = server.events(0);
    seen.judge(&events, |digest| is_key || digest_of(&path) == Some(digest));
    server.terminate()?;
    Ok(())
}

/// Damages a file between two swaps of one process.
fn swap_on_damage(
    site: &Site,
    numbered: &Numbered,
    n_rounds: usize,
    seen: &mut Seen,
    random: &mut Rng,
) -> Result<()> {
    let components: Vec<_> =
        SWAPPED.map(|number| numbered.component(number)).collect::<Result<_>>()?;
    let server = site.start(&["serve", "--watch"])?;
    call_all(&server, 0, seen);
    let mut probe = Probe::new(server.address());
    let mut serving = 0;
    for round in 0..SWAPPED.len() + n_rounds {
        // The first turn fills the cache.
        let path =
            if round >= SWAPPED.len() { Some(damage_one(site, seen, random)?) } else { None };
        let damaged = path.as_deref().and_then(digest_of);
        // What was damaged is swapped in, if it is one of them and does not serve.
        let index = components.iter().position(|it| Some(digest(it).as_str()) == damaged);
        let index =
            index.filter(|index| *index != serving).unwrap_or((serving + 1) % SWAPPED.len());
        let component = &components[index];
        serving = index;
        let from = server.n_events();
        site.put(NAMES[0], component)?;
        let event = server.wait_for("the end of a swap", from, |event| {
            let is_it = event.text("digest") == digest(component);
            event.is("rejected") || is_it && event.is("swapped")
        })?;
        if !event.is("rejected") {
            seen.call(&mut probe, &format!("/{}", NAMES[0]), SWAPPED.start + index);
        }
        // The others came back from disk for their call if their code has left memory.
        for (number, name) in NAMES.iter().enumerate().skip(1) {
            seen.call(&mut probe, &format!("/{name}"), number);
        }
        seen.judge(&server.events(from), |digest| damaged == Some(digest));
    }
    server.terminate()?;
    Ok(())
}

/// Kills processes that write to the cache; gives how many unfinished files are left in the end.
fn kill_writers(
    numbered: &Numbered,
    n_kills: usize,
    seen: &mut Seen,
    random: &mut Rng,
) -> Result<usize> {
    let site = site(numbered)?;
    let mut next = UNKNOWN;
    let mut put_unknown = || -> Result<usize> {
        let first = next;
        for name in NAMES {
            site.put(name, &numbered.component(next)?)?;
            next += 1;
        }
        // A host that knows a confirmed version would boot that one, and bring these behind it.
        site.forget_versions()?;
        Ok(first)
    };
    // How long a writer that nobody kills is at work: the kills are spread over this time.
    let first = put_unknown()?;
    let started_at = Instant::now();
    let status = build(&site)?.wait().context("failed to wait for `wrt build`")?;
    ensure!(status.success(), "`wrt build` ended with {status}");
    let build_time = started_at.elapsed();
    let server = site.start(&["serve"])?;
    call_all(&server, first, seen);
    server.terminate()?;

    for round in 1..=n_kills {
        let first = put_unknown()?;
        if round % 2 == 0 {
            let mut child = build(&site)?;
            thread::sleep(build_time.mul_f64(random.f64()));
            child.kill().context("failed to kill `wrt build`")?;
            child.wait().context("failed to wait for `wrt build`")?;
        } else {
            let server = site.start(&["serve"])?;
            let address = server.address();
            let caller = thread::spawn(move || {
                // Killed or not, what it is told now is nobody's business.
                let _ = Probe::new(address).get(&format!("/{}", NAMES[0]));
            });
            thread::sleep(serve_time(build_time).mul_f64(random.f64()));
            server.kill()?;
            // Its connection ends with the server.
            let _ = caller.join();
        }
        let server = site.start(&["serve"])?;
        call_all(&server, first, seen);
        seen.judge(&server.events(0), |_| false);
        server.terminate()?;
        if round % 25 == 0 {
            say(&format!("  {round} kills: {seen:?}"));
        }
    }
    let is_unfinished = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_str().is_some_and(|name| name.starts_with('.')))
    };
    Ok(entries(&site)?.iter().filter(|path| is_unfinished(path)).count())
}

/// One of three handlers is compiled, in a process that runs already.
fn serve_time(build_time: Duration) -> Duration {
    build_time / 2
}

fn build(site: &Site) -> Result<std::process::Child> {
    let mut command = site.wrt(&["build"])?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().context("failed to start `wrt build`")
}
