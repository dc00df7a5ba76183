//! What does a large handler cost: the developer at each save, and its neighbour while it compiles?

use std::time::{Duration, Instant};

use anyhow::Result;
use wrt_test_support::guests::Profile;

use crate::bare::Compiler;
use crate::numbered::Numbered;
use crate::probe::Probe;
use crate::project::Project;
use crate::raw_load::RawLoad;
use crate::report::{Figure, Row, Unit, say};
use crate::site::{Handler, Site, digest, published, staged};
use crate::stats::Samples;

/// How many times faster than plain Cranelift a developer's swap has to be.
const FASTER: f64 = 3.0;

/// The share of its requests per second that a neighbour has to keep on two processors.
const KEPT: f64 = 0.7;

/// Before the neighbour is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long the neighbour is measured while nothing compiles.
const CALM: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Edits of the large handler.
    #[arg(long, default_value_t = 7)]
    edits: usize,
    /// Compilations beside a neighbour under load.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Kept-alive connections to the neighbour.
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { edits: 7, rounds: 5, connections: 16 }
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "large",
        "what does a large handler cost: its developer at each save, its neighbour while it \
         compiles?",
    );
    let project = Project::large()?;
    edits(args, &project, &mut figure)?;
    neighbour(args, &project, &mut figure)?;
    Ok(figure)
}

/// Changes one line again and again; each build is served beside a bare compilation of the same.
fn edits(args: &Args, project: &Project, figure: &mut Figure) -> Result<()> {
    say("  building the large handler and its edits");
    let headline = |number: usize| format!("edit {number} of the large handler");
    let components: Vec<_> = (0..=args.edits)
        .map(|number| project.component(&headline(number), Profile::Dev))
        .collect::<Result<_>>()?;

    let site = Site::new(&components[0])?;
    let server = site.dev()?;
    let mut probe = Probe::new(server.address());
    super::settled(&server)?;
    let (mut swap_ms, mut stage_ms, mut bare_ms) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut compiled_by = vec![];
    for (number, component) in components.iter().enumerate().skip(1) {
        let from = server.n_events();
        let replaced_at = Instant::now();
        site.replace(component)?;
        let answered_at = probe.wait_for("/", &format!("<h1>{}</h1>", headline(number)))?;
        swap_ms.push((answered_at - replaced_at).as_secs_f64() * 1e3);
        let staged = staged(&server, from, &digest(component))?;
        stage_ms.push(staged.json["compile_ms"].as_f64().unwrap_or(f64::NAN));
        compiled_by.push(format!("{} {}", staged.text("compiled_by"), staged.text("tier")));
        // Better code is made in the background; the bare compilation is not to share with it.
        super::settled(&server)?;
        bare_ms.push(Compiler::cold()?.compile_ms(component)?);
    }
    compiled_by.dedup();
    figure.line("component, dev profile", mib(&components[0]));
    figure.line("replaced to answered", swap_ms.in_ms());
    figure.line("compilation in it", format!("{}, by {compiled_by:?}", stage_ms.in_ms()));
    figure.line("plain Cranelift", bare_ms.in_ms());
    figure.value("swap_ms", swap_ms.median());
    figure.value("bare_ms", bare_ms.median());
    let what = "one-line change, built to first answer in `wrt dev`, times faster than plain \
                Cranelift compiles it";
    let ratio = bare_ms.median() / swap_ms.median();
    figure.row(Row::high("edit", what, ratio, Unit::Times).bar(FASTER));
    Ok(())
}

/// Loads one handler while the other becomes the large one.
fn neighbour(args: &Args, project: &Project, figure: &mut Figure) -> Result<()> {
    let large = project.component("A large neighbour", Profile::Release)?;
    let numbered = Numbered::hello()?;
    let (mut calm, mut busy, mut kept) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut compile_ms = Samples::default();
    for round in 1..=args.rounds {
        // A new process in a new directory, so that the large handler is compiled each time.
        let site = Site::temporary()?;
        site.write_manifest(&[Handler::new("a", "/a"), Handler::new("b", "/b")], "")?;
        for name in ["a", "b"] {
            site.put(name, &numbered.component(0)?)?;
        }
        let server = site.start(&["serve", "--watch"])?;
        let mut probe = Probe::new(server.address());
        for path in ["/a", "/b"] {
            probe.wait_for(path, &Numbered::words(0))?;
        }
        let load = RawLoad::start(server.address(), "/a", args.connections)?;
        std::thread::sleep(WARM_UP);
        let before = load.rate_while(|| {
            std::thread::sleep(CALM);
            Ok(())
        })?;
        let from = server.n_events();
        let during = load.rate_while(|| {
            site.put("b", &large)?;
            published(&server, from, &digest(&large)).map(drop)
        })?;
        load.stop()?;
        let staged = staged(&server, from, &digest(&large))?;
        compile_ms.push(staged.json["compile_ms"].as_f64().unwrap_or(f64::NAN));
        say(&format!("  round {round}: {before:.0}/s, while it compiles {during:.0}/s"));
        calm.push(before);
        busy.push(during);
        kept.push(during / before);
    }
    figure.line("component, release", mib(&large));
    figure.line("compilation under load", compile_ms.in_ms());
    figure.line("neighbour alone", format!("p50 {:.0} requests/s", calm.median()));
    figure.line("while it compiles", format!("p50 {:.0} requests/s", busy.median()));
    let what = "requests per second of a handler while the large one compiles, against without";
    figure.row(Row::high("neighbour", what, kept.median(), Unit::Times).bar(KEPT));
    Ok(())
}

fn mib(bytes: &[u8]) -> String {
    format!("{:.1} MiB", bytes.len() as f64 / f64::from(1 << 20))
}
