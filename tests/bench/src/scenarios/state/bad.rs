//! How many calls does a bad version fail before it is taken back?

use std::time::Instant;

use anyhow::{Context as _, Result};
use wrt_test_support::guests::{Profile, guest_as, plugin, variant};
use wrt_test_support::history::{Call, ConnectionLog, Outcome};
use wrt_test_support::load::Shape;

use super::super::{load_runtime, read_component};
use super::{Host, Plan, start};
use crate::probe::Probe;
use crate::report::{Figure, Row, Unit, say};
use crate::site::{digest, short};
use crate::stats::Samples;

/// Longer than this takes: only failures end it.
const SETTINGS: &str = "probation = \"1h\"\nmax_failures = 3";

/// Where the bad version traps; the good one answers everywhere.
const PATH: &str = "/trap";

/// Failed calls of one client: the three that are too many, and those that come while the good
/// version is published.
const BAR_FAILED: f64 = 5.0;

/// Milliseconds from the first failed call to the way back, when many call at once.
const BAR_MS: f64 = 100.0;

/// One bad version.
#[derive(Debug, Clone)]
struct Round {
    /// As calls name it.
    digest: String,
    /// When it was heard that it is taken back.
    back_at: Instant,
}

/// What its callers saw.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Seen {
    n_failed: u64,
    first_at: Option<Instant>,
}

pub(super) fn run(plan: Plan) -> Result<Figure> {
    let mut figure =
        Figure::new("state-bad", "how many calls does a bad version fail before it is taken back?");
    let good = read_component(&plugin("hello", Profile::Release)?)?;
    let bad = read_component(&guest_as("trap", Profile::Release)?)?;
    for (n_clients, label, ids) in [
        (1, "one client", ["failed_one", "back_one", "others_one"]),
        (plan.clients, "many clients", ["failed_many", "back_many", "others_many"]),
    ] {
        let (rounds, connections) = rounds(&good, &bad, n_clients, plan.swaps)?;
        let calls: Vec<&Call> = connections.iter().flat_map(|log| &log.calls).collect();
        let (seen, n_others) = seen(&rounds, &calls);
        let (mut failed, mut back) = (Samples::default(), Samples::default());
        for (round, seen) in rounds.iter().zip(seen) {
            failed.push(seen.n_failed as f64);
            let first_at = seen.first_at.context("expected a call of the bad version to fail")?;
            back.push(round.back_at.saturating_duration_since(first_at).as_secs_f64() * 1e3);
        }
        let clients =
            if n_clients == 1 { "1 client".into() } else { format!("{n_clients} clients") };
        let (n_calls, n_rounds) = (calls.len(), rounds.len());
        let (failed_p50, back_ms) = (failed.median(), back.in_ms());
        let calls = format!("{n_calls} calls over {n_rounds} bad versions");
        figure.line(label, format!("{calls}: p50 {failed_p50:.0} failed, rollback {back_ms}"));
        figure.value(&format!("{}_p50", ids[0]), failed_p50);
        figure.value(&format!("{}_p50", ids[1]), back.median());

        let what = format!("failed calls of a bad version under {clients}, most");
        let row = Row::low(ids[0], what, failed.max(), Unit::Count);
        figure.row(if n_clients == 1 { row.bar(BAR_FAILED) } else { row });
        let what = format!("first failed call to the rollback under {clients}, longest");
        let row = Row::low(ids[1], what, back.max(), Unit::Ms);
        figure.row(if n_clients == 1 { row } else { row.bar(BAR_MS) });
        let what = format!("failed calls of no bad version under {clients}");
        figure.row(Row::low(ids[2], what, n_others as f64, Unit::Count).bar(0.0));
    }
    Ok(figure)
}

/// Swaps bad versions in under load, each when the one before is gone.
fn rounds(
    good: &[u8],
    bad: &[u8],
    n_clients: usize,
    n_rounds: u64,
) -> Result<(Vec<Round>, Vec<ConnectionLog>)> {
    let mut host = Host::with(good, SETTINGS)?;
    let runtime = load_runtime()?;
    let load = start(&runtime, host.plan(n_clients, Shape::get(PATH)));
    let mut rounds = vec![];
    for number in 1..=n_rounds {
        let from = host.server.n_events();
        // What was taken back does not come again, so each is another.
        let bad = variant(bad, number);
        let (_, event) = host.swap(&bad)?;
        event.context("the bad version was refused before anybody called it")?;
        let back = host.server.wait_for("a rollback", from, |event| event.is("rolled-back"))?;
        rounds.push(Round { digest: short(&digest(&bad)).to_owned(), back_at: back.heard_at });
        let mut probe = Probe::new(host.server.address());
        probe.wait_for(PATH, short(&digest(good)))?;
    }
    say(&format!("  {n_rounds} bad versions under {n_clients}: {} calls", load.n_ended()));
    Ok((rounds, runtime.block_on(load.stop())?.connections))
}

/// What the callers saw of each round, and how many calls failed that no bad version answered.
fn seen(rounds: &[Round], calls: &[&Call]) -> (Vec<Seen>, u64) {
    let (mut seen, mut n_others) = (vec![Seen::default(); rounds.len()], 0);
    let answered = Outcome::Answered(200);
    let failed =
        calls.iter().filter_map(|call| call.end.as_ref().filter(|it| it.outcome != answered));
    for end in failed {
        // By what it names: its end may be seen after the next version was asked for.
        let digest = end.served_by.as_ref().map(|by| &*by.digest);
        let round = rounds.iter().position(|round| Some(round.digest.as_str()) == digest);
        let Some(seen) = round.map(|round| &mut seen[round]) else {
            n_others += 1;
            continue;
        };
        seen.n_failed += 1;
        seen.first_at = [seen.first_at, Some(end.at)].into_iter().flatten().min();
    }
    (seen, n_others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wrt_test_support::history::End;

    #[test]
    fn failures_belong_to_the_version_that_they_name() {
        let origin = Instant::now();
        let at = |ms| origin + Duration::from_millis(ms);
        let mut log = ConnectionLog::default();
        for (ended, status, by) in [
            (14, 500, "h/2;bad1"),
            (12, 500, "h/2;bad1"),
            (13, 200, "h/3;good"),
            (90, 500, "h/2;bad1"),
            (35, 500, "h/6;bad3"),
            (36, 500, "h/7;good"),
        ] {
            let id = log.begin("GET", origin);
            let served_by = Some(by.parse().unwrap());
            let outcome = Outcome::Answered(status);
            log.end(id, End { at: at(ended), outcome, served_by, also_served_by: None });
        }
        let unnamed = log.begin("GET", origin);
        let outcome = Outcome::Failed("broken".into());
        let end = End { at: at(40), outcome, served_by: None, also_served_by: None };
        log.end(unnamed, end);
        let round = |digest: &str| Round { digest: digest.to_owned(), back_at: at(20) };
        let rounds = ["bad1", "bad2", "bad3"].map(round);
        let expected = [(3, Some(at(12))), (0, None), (1, Some(at(35)))]
            .map(|(n_failed, first_at)| Seen { n_failed, first_at });
        let (found, n_others) = seen(&rounds, &log.calls.iter().collect::<Vec<_>>());
        assert_eq!((found.as_slice(), n_others), (&expected[..], 2));
    }
}
