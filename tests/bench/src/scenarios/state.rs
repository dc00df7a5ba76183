//! What do swaps over the control plane cost, keep and leave behind? One file for each question.

mod bad;
mod counter;
mod failing;
mod pause;
mod publish;

use anyhow::Result;
use clap::ValueEnum;
use wrt_test_support::load::{Load, LoadPlan, Shape};
use wrt_test_support::process::{Event, ServerProcess};

use crate::admin::{Admin, Answer};
use crate::report::{Figure, say};
use crate::site::{HANDLER, Site, digest, published};
use crate::stats::Samples;

/// How often progress is told, in swaps.
const TOLD_EVERY: u64 = 100;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Only these questions [default: all].
    parts: Vec<Part>,
    /// Swaps of the counter.
    #[arg(long, default_value_t = 1000)]
    counter_swaps: u64,
    /// Swaps with a large state.
    #[arg(long, default_value_t = 200)]
    pause_swaps: u64,
    /// Swaps without a state.
    #[arg(long, default_value_t = 300)]
    publish_swaps: u64,
    /// Bad candidates under one client, and under many.
    #[arg(long, default_value_t = 20)]
    bad_swaps: u64,
    /// Swaps of which half fail.
    #[arg(long, default_value_t = 10_000)]
    swaps: u64,
    /// Seed of which of them fail, and how.
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            parts: vec![],
            counter_swaps: 1000,
            pause_swaps: 200,
            publish_swaps: 300,
            bad_swaps: 20,
            swaps: 10_000,
            seed: 42,
        }
    }
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Does a swap lose or double a count that is kept in memory?
    Counter,
    /// How long does a swap with a large state hold callers?
    Pause,
    /// How long does the step take in which a swap without a state is published?
    Publish,
    /// How many calls does a bad version fail?
    Bad,
    /// What do very many swaps leave behind, half of them failing?
    Failing,
}

/// How much of it; what a figure states as its flags.
#[derive(Debug, Clone, Copy)]
struct Plan {
    swaps: u64,
    clients: usize,
}

/// The same for what is left to chance.
#[derive(Debug, Clone, Copy)]
struct RandomPlan {
    swaps: u64,
    clients: usize,
    seed: u64,
}

impl Args {
    /// The questions that are asked.
    pub(crate) fn parts(&self) -> Vec<Part> {
        match self.parts.as_slice() {
            [] => Part::value_variants().to_vec(),
            some => some.to_vec(),
        }
    }

    /// Answers `part`.
    pub(crate) fn run(&self, part: Part) -> Result<Figure> {
        let answer = |run: fn(Plan) -> Result<Figure>, swaps, clients| {
            let plan = Plan { swaps, clients };
            Ok(run(plan)?.with_settings(&plan))
        };
        match part {
            Part::Counter => answer(counter::run, self.counter_swaps, 64),
            Part::Pause => answer(pause::run, self.pause_swaps, 8),
            Part::Publish => answer(publish::run, self.publish_swaps, 16),
            Part::Bad => answer(bad::run, self.bad_swaps, 16),
            Part::Failing => {
                let plan = RandomPlan { swaps: self.swaps, clients: 8, seed: self.seed };
                Ok(failing::run(plan)?.with_settings(&plan))
            }
        }
    }
}

/// A site that is served, and its control plane.
struct Host {
    server: ServerProcess,
    admin: Admin,
    /// Its directory goes last.
    _site: Site,
}

impl Host {
    /// Serves `site`, whose first generation is waited for.
    fn start(site: Site) -> Result<Self> {
        let server = site.control()?;
        let admin = Admin::of(&site, &server)?;
        Ok(Self { server, admin, _site: site })
    }

    /// Serves one handler, `component` with these lines of settings.
    fn with(component: &[u8], settings: &str) -> Result<Self> {
        Self::start(Site::with(component, settings)?)
    }

    /// A closed loop of `n_clients` against it.
    fn plan(&self, n_clients: usize, shape: Shape) -> LoadPlan {
        LoadPlan { n_connections: n_clients, ..LoadPlan::new(self.server.address(), vec![shape]) }
    }

    /// Swaps the one handler to `component`; gives the event of the publication, or `None` when the
    /// host refused it, which is said.
    fn swap(&mut self, component: &[u8]) -> Result<(Answer, Option<Event>)> {
        let from = self.server.n_events();
        let answer = self.admin.swap(HANDLER, component)?;
        if answer.outcome() != "swapped" {
            say(&format!("  refused: {}", answer.json()));
            return Ok((answer, None));
        }
        let event = published(&self.server, from, &digest(component))?;
        Ok((answer, Some(event)))
    }
}

/// Starts `plan` on `runtime`.
fn start(runtime: &tokio::runtime::Runtime, plan: LoadPlan) -> Load {
    runtime.block_on(async { Load::start(plan) })
}

/// Tells progress.
fn tell(number: u64, load: &Load) {
    if number.is_multiple_of(TOLD_EVERY) {
        say(&format!("  {number} swaps, {} calls", load.n_ended()));
    }
}

/// Field `name` of `events` in milliseconds; those without it are not among them.
fn milliseconds(events: &[Event], name: &str) -> Samples {
    let mut samples = Samples::default();
    for value in events.iter().filter_map(|event| event.json[name].as_f64()) {
        samples.push(value);
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Instant;

    #[test]
    fn events_without_a_field_are_not_counted_as_zero() {
        let event = |json| Event { heard_at: Instant::now(), json };
        let events = [json!({ "pause_ms": 2.5 }), json!({}), json!({ "pause_ms": 0 })].map(event);
        let found = milliseconds(&events, "pause_ms");
        assert_eq!((found.len(), found.max()), (2, 2.5));
    }

    #[test]
    fn every_question_is_asked_unless_some_are_chosen() {
        let mut args = Args::default();
        assert_eq!(args.parts().len(), 5);
        args.parts = vec![Part::Bad];
        assert_eq!(args.parts(), [Part::Bad]);
    }
}
