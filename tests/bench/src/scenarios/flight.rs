//! Many call a handler that nobody has called before: how often is it compiled?

use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use wrt_test_support::guests::Profile;

use crate::probe::Probe;
use crate::project::Project;
use crate::report::{Figure, Row, Unit};
use crate::site::{Handler, Site};
use crate::stats::Samples;

const HEADLINE: &str = "A handler that many wait for";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Callers at once, each over a connection of its own.
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Processes that each begin with nothing compiled.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { callers: 64, rounds: 3 }
    }
}

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "flight",
        "when many call a handler that nobody has called before, how often is it compiled?",
    );
    // The large one takes seconds, so that all callers come while it compiles.
    let component = Project::large()?.component(HEADLINE, Profile::Release)?;
    let (mut n_compiled, mut n_wrong) = (0, 0);
    let mut last_ms = Samples::default();
    for _ in 0..args.rounds {
        let site = Site::temporary()?;
        site.write_manifest(&[Handler::new("cold", "/")], "")?;
        site.put("cold", &component)?;
        let server = site.start(&["serve"])?;
        let together = Barrier::new(args.callers);
        let call = || -> Result<bool> {
            let mut probe = Probe::new(server.address());
            together.wait();
            Ok(probe.get("/")? == 200 && probe.has(HEADLINE))
        };
        let started_at = Instant::now();
        let answers: Vec<_> = thread::scope(|scope| {
            let callers: Vec<_> = (0..args.callers).map(|_| scope.spawn(call)).collect();
            callers.into_iter().map(thread::ScopedJoinHandle::join).collect()
        });
        last_ms.push(started_at.elapsed().as_secs_f64() * 1e3);
        for answer in answers {
            let is_right = answer.map_err(|_| anyhow!("a caller panicked"))?;
            n_wrong += usize::from(!is_right.context("a caller got no answer")?);
        }
        let events = server.events(0);
        let is_compiled = |by: &str| by == "compiler" || by == "functions";
        n_compiled += events
            .iter()
            .filter(|it| it.is("staged") && is_compiled(it.text("compiled_by")))
            .count();
    }
    figure.line("until all were answered", last_ms.in_ms());
    let each = n_compiled as f64 / args.rounds as f64;
    let what = format!("compilations for {} callers of one cold handler", args.callers);
    figure.row(Row::low("compilations", what, each, Unit::Count).bar(1.0));
    let what = "callers without the right answer";
    figure.row(Row::low("wrong", what, n_wrong as f64, Unit::Count).bar(0.0));
    Ok(figure)
}
