//! Judges a load test: takes what happened to every call and says which promises were broken.
//!
//! Generations are numbered and unique, so one sort and one pass decide; no search over
//! interleavings is needed. The rules:
//!
//! 1. every call has exactly one outcome;
//! 2. every call is served by one generation, and a generation has one digest;
//! 3. if call A ended before call B began, B's generation is not older than A's;
//! 4. no call that began after the publication of generation N was known is served by an older one.
//!
//! Rules 3 and 4 hold per handler, and a rollback suspends them for whatever overlaps it. Times are
//! taken by the observer: a call's start before its first byte is sent, its end after its last byte
//! came, a publication when it was heard of. Whatever delay lies in between makes the rules milder,
//! never wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;

/// How many violations and failures a [`Report`] tells in words; all are counted.
const N_TOLD: usize = 10;

/// The generation that served a call, as the response header `wrt-generation` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedBy {
    /// The handler's name.
    pub handler: Arc<str>,
    /// The generation's number.
    pub generation: u64,
    /// The first 12 hexadecimal digits of its digest.
    pub digest: Arc<str>,
}

impl FromStr for ServedBy {
    type Err = anyhow::Error;

    /// Reads `NAME/N;DIGEST12`.
    fn from_str(text: &str) -> anyhow::Result<Self> {
        let parts = text.split_once('/').and_then(|(handler, rest)| {
            let (generation, digest) = rest.split_once(';')?;
            Some((handler, generation.parse().ok()?, digest))
        });
        let (handler, generation, digest) =
            parts.with_context(|| format!("expected `NAME/N;DIGEST`, found `{text}`"))?;
        Ok(Self { handler: handler.into(), generation, digest: digest.into() })
    }
}

impl fmt::Display for ServedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{};{}", self.handler, self.generation, self.digest)
    }
}

/// How a call ended, as its client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A whole response with this status; 400 and above count as failed.
    Answered(u16),
    /// No response, or a wrong one: why.
    Failed(Box<str>),
}

/// The end of a call.
#[derive(Debug, Clone)]
pub struct End {
    /// When the last byte had come.
    pub at: Instant,
    /// How it went.
    pub outcome: Outcome,
    /// The generation that the response names.
    pub served_by: Option<ServedBy>,
    /// A different generation that the same response names too, which must not be.
    pub also_served_by: Option<ServedBy>,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// What kind of request it was, for people.
    pub kind: &'static str,
    /// When it should have begun: earlier than it did if the one before it took too long.
    pub due_at: Instant,
    /// When it began.
    pub started_at: Instant,
    /// Its last recorded end.
    pub end: Option<End>,
    /// How many ends were recorded.
    pub n_ends: u32,
}

/// Which call of a [`ConnectionLog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId(usize);

/// The calls of one connection; owned by the task that makes them, so recording takes no lock.
#[derive(Debug, Default)]
pub struct ConnectionLog {
    /// Every call begun, in order.
    pub calls: Vec<Call>,
    /// The numbers that answered calls which asked for one, in order.
    pub counts: Vec<u64>,
}

impl ConnectionLog {
    /// Records that a call begins; to be called before anything of it is sent.
    pub fn begin(&mut self, kind: &'static str, started_at: Instant) -> CallId {
        self.begin_due(kind, started_at, started_at)
    }

    /// The same for a call that was due at a certain time.
    pub fn begin_due(
        &mut self,
        kind: &'static str,
        due_at: Instant,
        started_at: Instant,
    ) -> CallId {
        self.calls.push(Call { kind, due_at, started_at, end: None, n_ends: 0 });
        CallId(self.calls.len() - 1)
    }

    /// Records that a call ended.
    pub fn end(&mut self, id: CallId, end: End) {
        let call = &mut self.calls[id.0];
        call.n_ends += 1;
        call.end = Some(end);
    }
}

/// What the server said about its generations.
#[derive(Debug, Clone)]
pub enum Milestone {
    /// A generation was heard to be published.
    Published {
        /// When that was heard.
        at: Instant,
        /// Which one.
        generation: ServedBy,
    },
    /// A rollback published an earlier artifact.
    RolledBack {
        /// When it was asked for.
        asked_at: Instant,
        /// When its end was heard of.
        at: Instant,
        /// Which generation answers since.
        generation: ServedBy,
    },
}

/// Everything that happened in one load test.
#[derive(Debug, Default)]
pub struct History {
    /// The calls, by connection.
    pub connections: Vec<ConnectionLog>,
    /// What the server said, in any order.
    pub milestones: Vec<Milestone>,
}

/// What [`History::check`] found.
#[derive(Debug, Default)]
pub struct Report {
    /// Calls begun.
    pub n_calls: usize,
    /// Calls by kind.
    pub by_kind: BTreeMap<&'static str, usize>,
    /// Calls that failed or were answered with status 400 or above.
    pub n_failed: usize,
    /// Calls answered without naming their generation.
    pub n_unnamed: usize,
    /// Generations that served at least one call.
    pub n_generations: usize,
    /// Broken rules.
    pub n_violations: usize,
    /// The first failures, in words.
    pub failures: Vec<String>,
    /// The first broken rules, in words.
    pub violations: Vec<String>,
}

impl Report {
    /// Whether no call failed, every call named its generation and no rule was broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.n_failed == 0 && self.n_unnamed == 0 && self.n_violations == 0
    }

    fn fail(&mut self, words: impl FnOnce() -> String) {
        self.n_failed += 1;
        if self.failures.len() < N_TOLD {
            self.failures.push(words());
        }
    }

    fn violate(&mut self, words: impl FnOnce() -> String) {
        self.n_violations += 1;
        if self.violations.len() < N_TOLD {
            self.violations.push(words());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: Vec<_> = self.by_kind.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        write!(
            f,
            "{} calls ({}) over {} generations: {} failed, {} unnamed, {} violations",
            self.n_calls,
            kinds.join(", "),
            self.n_generations,
            self.n_failed,
            self.n_unnamed,
            self.n_violations
        )?;
        self.failures.iter().try_for_each(|words| write!(f, "\n  failed: {words}"))?;
        self.violations.iter().try_for_each(|words| write!(f, "\n  violation: {words}"))
    }
}

impl History {
    /// Holds every call against the rules at the top of this file.
    #[must_use]
    pub fn check(&self) -> Report {
        let mut report = Report::default();
        let origin = self.origin();
        let mut handlers: BTreeMap<&str, Handler<'_>> = BTreeMap::new();
        for milestone in &self.milestones {
            let (Milestone::Published { generation, .. }
            | Milestone::RolledBack { generation, .. }) = milestone;
            handlers.entry(&generation.handler).or_default().add_milestone(milestone);
        }
        for (connection, log) in self.connections.iter().enumerate() {
            for call in &log.calls {
                let told = Told { connection, call, origin };
                check_alone(&told, &mut report);
                let served = call.end.as_ref().and_then(|end| Some((end, end.served_by.as_ref()?)));
                if let Some((end, by)) = served {
                    handlers.entry(&by.handler).or_default().served.push(Served { told, end, by });
                }
            }
        }
        for (name, handler) in handlers {
            handler.check(name, &mut report);
        }
        report
    }

    /// The instant that words count from: the first call's start.
    fn origin(&self) -> Option<Instant> {
        self.connections.iter().flat_map(|log| &log.calls).map(|call| call.started_at).min()
    }
}

/// Rule 1, the first half of rule 2, and the counts: what one call shows by itself.
fn check_alone(told: &Told<'_>, report: &mut Report) {
    let call = told.call;
    report.n_calls += 1;
    *report.by_kind.entry(call.kind).or_default() += 1;
    let Some(end) = &call.end else {
        return report.violate(|| format!("{told} has no outcome"));
    };
    if call.n_ends > 1 {
        report.violate(|| format!("{told} has {} outcomes", call.n_ends));
    }
    match &end.outcome {
        Outcome::Answered(status) if *status >= 400 => {
            report.fail(|| format!("{told}: status {status}"));
        }
        Outcome::Failed(why) => report.fail(|| format!("{told}: {why}")),
        Outcome::Answered(_) if end.served_by.is_none() => report.n_unnamed += 1,
        Outcome::Answered(_) => {}
    }
    if let (Some(one), Some(other)) = (&end.served_by, &end.also_served_by) {
        report.violate(|| format!("{told} was served by both `{one}` and `{other}`"));
    }
}

/// A call with what words about it need.
#[derive(Clone, Copy)]
struct Told<'a> {
    connection: usize,
    call: &'a Call,
    origin: Option<Instant>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin.unwrap_or(self.call.started_at);
        let second = self.call.started_at.saturating_duration_since(origin).as_secs_f64();
        write!(f, "{} on connection {} at {second:.6} s", self.call.kind, self.connection)
    }
}

/// A call and the generation that served it.
struct Served<'a> {
    told: Told<'a>,
    end: &'a End,
    by: &'a ServedBy,
}

/// A rollback and the time that it may have happened in.
struct Rollback {
    asked_at: Instant,
    at: Instant,
}

/// Proof that a generation was published by an instant.
struct Evidence<'a> {
    at: Instant,
    generation: u64,
    /// The call that it answered; without one the server said so.
    answered: Option<Told<'a>>,
    /// Whether earlier evidence stops to count here.
    resets: bool,
}

/// All that concerns one handler.
#[derive(Default)]
struct Handler<'a> {
    served: Vec<Served<'a>>,
    rollbacks: Vec<Rollback>,
    evidence: Vec<Evidence<'a>>,
    digests: BTreeMap<u64, BTreeSet<&'a str>>,
}

impl<'a> Handler<'a> {
    fn add_milestone(&mut self, milestone: &'a Milestone) {
        let (at, by, resets) = match milestone {
            Milestone::Published { at, generation } => (*at, generation, false),
            Milestone::RolledBack { asked_at, at, generation } => {
                self.rollbacks.push(Rollback { asked_at: *asked_at, at: *at });
                (*at, generation, true)
            }
        };
        self.digests.entry(by.generation).or_default().insert(&by.digest);
        self.evidence.push(Evidence { at, generation: by.generation, answered: None, resets });
    }

    /// Whether a rollback may have happened while a call with these ends was under way.
    fn is_excused(&self, started_at: Instant, ended_at: Instant) -> bool {
        // One handler's rollbacks follow each other, so the last one asked for is the one to ask.
        let n_before = self.rollbacks.partition_point(|rollback| rollback.asked_at <= ended_at);
        n_before > 0 && self.rollbacks[n_before - 1].at >= started_at
    }

    fn check(mut self, name: &str, report: &mut Report) {
        self.rollbacks.sort_by_key(|rollback| rollback.at);
        let mut seen = BTreeSet::new();
        for Served { told, end, by } in &self.served {
            seen.insert(by.generation);
            self.digests.entry(by.generation).or_default().insert(&by.digest);
            if !self.is_excused(told.call.started_at, end.at) {
                let (at, generation) = (end.at, by.generation);
                let answered = Some(*told);
                self.evidence.push(Evidence { at, generation, answered, resets: false });
            }
        }
        report.n_generations += seen.len();
        for (generation, digests) in &self.digests {
            if digests.len() > 1 {
                let digests: Vec<_> = digests.iter().map(|digest| format!("`{digest}`")).collect();
                report.violate(|| {
                    format!(
                        "generation {generation} of `{name}` has digests {}",
                        digests.join(", ")
                    )
                });
            }
        }

        self.evidence.sort_by_key(|evidence| evidence.at);
        let newest_until = newest_until(&self.evidence);
        for Served { told, end, by } in &self.served {
            let started_at = told.call.started_at;
            if self.is_excused(started_at, end.at) {
                continue;
            }
            let n_before = self.evidence.partition_point(|evidence| evidence.at < started_at);
            let Some(newest) = n_before.checked_sub(1).map(|i| &self.evidence[newest_until[i]])
            else {
                continue;
            };
            if by.generation < newest.generation {
                report.violate(|| {
                    let how = match &newest.answered {
                        Some(call) => format!("had already answered {call}"),
                        None => "had already been published".to_owned(),
                    };
                    format!(
                        "{told} was served by `{by}`, but generation {} {how}",
                        newest.generation
                    )
                });
            }
        }
    }
}

/// For each piece of evidence, in order of time, the index of the newest generation until then.
fn newest_until(evidence: &[Evidence<'_>]) -> Vec<usize> {
    let mut newest = 0;
    (0..evidence.len())
        .map(|i| {
            if evidence[i].resets || evidence[i].generation >= evidence[newest].generation {
                newest = i;
            }
            newest
        })
        .collect()
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
