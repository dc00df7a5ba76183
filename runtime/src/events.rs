//! What happened, for people and programs: the event types. The bus that carries them is in `bus`.
//!
//! The same values reach `--json`, the control plane and [`Runtime::events`](crate::Runtime), so
//! their serialised form is part of wrt's outside and only grows.

mod allowance;
mod bus;
mod counts;
mod folded;
mod rings;
#[cfg(test)]
pub(crate) mod tests;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::id::{Digest, GenerationNumber, HandlerName, RequestId};
pub(crate) use allowance::{LogAllowance, MAX_LINES, MAX_LOG_BYTES, Verdict, WINDOW};
pub use bus::{EventBus, EventReceiver, Missed, RecvError, TryRecvError};
#[cfg(feature = "admin")]
pub(crate) use counts::HandlerCounts;
pub(crate) use folded::Folded;
#[cfg(feature = "admin")]
pub(crate) use rings::{Numbered, Rings};
pub use text::MAX_TEXT;
pub(crate) use text::cut;

/// One thing that happened, when, to which handler and why.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
    /// When, as RFC 3339 with milliseconds once serialised.
    #[serde(serialize_with = "rfc3339")]
    pub time: SystemTime,
    /// The handler it happened to, where it applies to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handler: Option<HandlerName>,
    /// Why, in words: "`src/lib.rs` changed".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// The kinds of [`Event`]; names and fields are those of the interface document.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EventKind {
    /// The data plane's socket is bound.
    Listening {
        /// Where, as `http://HOST:PORT`.
        url: String,
    },
    /// Source files changed in content.
    Changed {
        /// The files, relative to the watched directory where possible.
        #[serde(serialize_with = "lossy")]
        paths: Vec<PathBuf>,
    },
    /// A plan was applied, or refused as a whole.
    Plan(PlanReport),
    /// A build started.
    Building,
    /// A build ended without an artifact.
    BuildFailed {
        /// One line that names the command and how it ended.
        message: String,
        /// What the compiler said, in its order.
        diagnostics: Vec<Diagnostic>,
        /// What the reader can do about it.
        hints: Vec<String>,
        /// What answers calls now.
        serving: Option<Serving>,
    },
    /// Something to tell people about a handler's build: a target was added, cargo waits for another
    /// cargo, a build changes its own inputs.
    Note {
        /// One line.
        message: String,
    },
    /// A build gave a component, which is staged next.
    Built {
        /// Milliseconds the build took.
        build_ms: f64,
        /// What the build tools warned of, in their order.
        warnings: Vec<Diagnostic>,
    },
    /// A candidate is compiled, checked and ready to be published.
    Staged {
        /// Its digest.
        digest: Digest,
        /// Size of the component in bytes.
        bytes: u64,
        /// Milliseconds the guest's build took; absent when there was none.
        #[serde(skip_serializing_if = "Option::is_none")]
        build_ms: Option<f64>,
        /// Milliseconds from component bytes to executable code.
        compile_ms: f64,
        /// Where the executable code came from.
        compiled_by: CompiledBy,
        /// Which compiler tier it is.
        tier: Tier,
    },
    /// A new generation answers from now on.
    Swapped {
        /// Its number.
        generation: GenerationNumber,
        /// The number it replaced; absent for a first generation.
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<GenerationNumber>,
        /// The digest of the generation's component.
        digest: Digest,
        /// The digest that names the generation's component and settings together.
        release: Digest,
        /// The settings that the generation before had otherwise, by their keys in the manifest.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        settings_changed: Vec<&'static str>,
        /// Milliseconds from the first file event or request to publication.
        total_ms: f64,
        /// Milliseconds callers were held; 0 for a stateless swap that takes nothing back.
        pause_ms: f64,
        /// Milliseconds of the publication itself: the pointer store, and the end of the old
        /// generation's admissions.
        publish_ms: f64,
        /// What became of the state.
        state: StateOutcome,
    },
    /// The bytes offered are those already serving, or those over which what serves was swapped in;
    /// nothing was done.
    Unchanged {
        /// Their digest.
        digest: Digest,
        /// What goes on in their place; absent where they serve themselves.
        #[serde(skip_serializing_if = "Option::is_none")]
        passed_over_for: Option<Serving>,
    },
    /// A candidate was refused; the active generation is untouched.
    Rejected {
        /// The step that refused it.
        stage: Stage,
        /// The whole error chain, outermost first, joined by `: `.
        error: String,
        /// What the reader can do about it.
        hints: Vec<String>,
        /// What answers calls now.
        serving: Option<Serving>,
    },
    /// A replaced generation has let its last call go.
    Drained {
        /// Its number.
        generation: GenerationNumber,
        /// Calls that the drain deadline cut.
        cut: usize,
        /// Milliseconds from replacement, or from the beginning of the runtime's end where that was before,
        /// to the last call's end.
        waited_ms: f64,
    },
    /// A generation began without the state of the one before, or lost its own.
    StateLost {
        /// The generation that began without it.
        generation: GenerationNumber,
        /// Why, outermost error first, joined by `: `.
        reason: String,
    },
    /// A generation goes on with an earlier state: what was gathered since is left out.
    StateReverted {
        /// The generation that goes on with it.
        generation: GenerationNumber,
        /// The generation whose state it was, when that was replaced.
        of: GenerationNumber,
        /// Why not with the state of now, outermost error first, joined by `: `.
        reason: String,
    },
    /// A generation takes calls of another kind than the one before it: clients see that.
    KindChanged {
        /// Its number.
        generation: GenerationNumber,
        /// What calls of the generation before brought: `events` or `HTTP requests`.
        from: &'static str,
        /// What calls bring now.
        to: &'static str,
    },
    /// A generation has proved itself: it is the one to boot.
    Confirmed {
        /// Its number.
        generation: GenerationNumber,
    },
    /// What becomes of the handler's versions is not on the disk, so that a restart would not know of
    /// it. It is tried again.
    HistoryNotKept {
        /// The whole error chain, outermost first, joined by `: `.
        error: String,
        /// What the reader can do about it.
        hints: Vec<String>,
    },
    /// What was not on the disk is there now.
    HistoryKept,
    /// A generation was taken back: an earlier component serves, as a new generation.
    RolledBack {
        /// The new number.
        generation: GenerationNumber,
        /// The number that was taken back.
        from: GenerationNumber,
        /// Why, in words: the verdict of its probation, or that somebody asked for it.
        why: String,
    },
    /// The handler was taken away from the runtime, and the last of its calls has ended.
    Removed,
    /// A generation that was published on baseline code goes on with optimized code.
    Optimized {
        /// Its number.
        generation: GenerationNumber,
        /// Milliseconds from component bytes to optimized code.
        compile_ms: f64,
    },
    /// One call failed; its store is gone, others go on.
    CallFailed {
        /// The generation that served it.
        generation: GenerationNumber,
        /// How it ended: `trap`, `deadline`, `memory`, `guest` (no answer, a broken one, or the handler's own
        /// error), `client` (the client did not send its request to the end), `cut` (by the drain
        /// deadline), `host-memory` (all guests together had too much), `instantiate`, `init`, `shutdown`;
        /// `load` when the code of an idle handler could not be had again. `client`, `cut` and
        /// `host-memory` do not count against the version that serves.
        outcome: &'static str,
        /// Whether the head of the answer was out: the client then got a broken answer, or a whole one
        /// after which the guest failed. Otherwise it got a status that tells of the failure.
        answered: bool,
        /// What the guest or the host said.
        error: String,
        /// Milliseconds from admission to the end.
        elapsed_ms: f64,
        /// The request, as in the log; absent for a call of the embedder's own, and for one that
        /// did not begin.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<RequestId>,
    },
    /// A guest wrote a log line, or to its standard output or error.
    Log {
        /// `trace` to `critical`.
        level: LogLevel,
        /// The text, with control characters escaped.
        message: String,
        /// Structured fields: `context` of `wasi:logging`, or `stream` for standard output.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        fields: BTreeMap<&'static str, String>,
        /// The generation that wrote it.
        generation: GenerationNumber,
    },
}

/// What answers a handler's calls at the moment of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Serving {
    /// Its number.
    pub generation: GenerationNumber,
    /// Its digest.
    pub digest: Digest,
}

/// One message of a guest's compiler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// `error` or `warning`, as the compiler calls it; `note` where wrt says how many more there are.
    pub level: String,
    /// The file it points at, as the compiler names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Column, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// The message as the compiler renders it, source excerpt included, without terminal escapes.
    pub text: String,
}

/// Where executable code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CompiledBy {
    /// Nobody: the code was in memory.
    Memory,
    /// Nobody: the code was in the cache directory.
    Disk,
    /// The compiler, which found most functions in what earlier, similar components left.
    Functions,
    /// The compiler.
    Compiler,
}

/// Compiler tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Fast to compile, slower to run (Winch).
    Baseline,
    /// Slower to compile, fast to run (Cranelift).
    Optimized,
}

/// What a swap did with the handler's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateOutcome {
    /// There was none to carry.
    None,
    /// The new generation goes on with it.
    Carried,
    /// The new generation goes on with it, in another shape.
    Migrated,
    /// It is gone: the new generation began from nothing.
    Reset,
    /// The new generation goes on with the state that an earlier one had when it was replaced.
    Reverted,
}

/// The step of a swap that refused a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// The guest's build.
    Build,
    /// Reading the component's bytes.
    Read,
    /// Compiling them.
    Compile,
    /// Holding imports and exports against what is offered and wanted.
    Check,
    /// First instantiation and `init`.
    Init,
    /// The probe.
    Probe,
    /// Taking the state out of the generation that serves.
    Save,
    /// Putting it into the new one.
    Restore,
}

/// The outcome of a plan, or of comparing a plan without applying it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlanReport {
    /// Whether the plan was applied, refused or only compared.
    pub outcome: PlanOutcome,
    /// The change of each handler that the plan changes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub changes: BTreeMap<HandlerName, PlanChange>,
    /// Why the plan was refused, outermost error first, joined by `: `.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the reader can do about a plan that was refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
    /// The parts of the plan that were not applied, such as values that need a restart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl PlanReport {
    /// A plan that means these changes.
    pub(crate) fn of(changes: BTreeMap<HandlerName, PlanChange>) -> Self {
        let is_unchanged = changes.is_empty();
        let outcome = if is_unchanged { PlanOutcome::Unchanged } else { PlanOutcome::Applied };
        Self { outcome, changes, error: None, hints: Vec::new(), notes: Vec::new() }
    }

    /// A plan that was refused as a whole, by an `error` in words: outermost first, joined by `: `.
    #[must_use]
    pub fn refused(error: String, hints: Vec<String>) -> Self {
        let (outcome, changes) = (PlanOutcome::Refused, BTreeMap::new());
        Self { outcome, changes, error: Some(error), hints, notes: Vec::new() }
    }
}

/// Whether a plan was applied, refused or only compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PlanOutcome {
    /// The handlers are those of the plan, as far as each of them was not refused.
    Applied,
    /// The handlers were those of the plan already.
    Unchanged,
    /// Nothing has changed.
    Refused,
}

/// The change that a plan made, or would make, to one handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
#[non_exhaustive]
pub enum PlanChange {
    /// The handler is new.
    Added,
    /// The handler was taken away, and its calls drain.
    Removed,
    /// A newer request for the handler came before its component was published, and holds in its place.
    Superseded,
    /// The handler goes by the plan now.
    Changed {
        /// What differs from before, by its keys in the manifest; empty where only the component does.
        keys: Vec<&'static str>,
        /// What became of the handler's state, where a version was swapped in.
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<StateOutcome>,
    },
    /// The handler's component was refused, or does not run with its settings. The version that served
    /// before goes on, with the routes and with what holds over all versions that the plan names.
    Refused {
        /// Why, outermost error first, joined by `: `.
        error: String,
        /// What the reader can do about it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        hints: Vec<String>,
        /// What differs from before all the same, by its keys in the manifest.
        keys: Vec<&'static str>,
        /// What answers the handler's calls.
        serving: Option<Serving>,
    },
}

/// Severity of a guest's log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the levels of wasi:logging, which say what they are")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
}

/// The classes of events, each of which is kept apart, so that none displaces another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// What happens to handlers: builds, swaps, rejections, and whatever else is neither of the
    /// others.
    Lifecycle,
    /// Calls that failed.
    Failure,
    /// Log lines of guests.
    Log,
}

impl Class {
    /// All of them, each at the place of its number.
    pub(crate) const ALL: [Self; 3] = [Self::Lifecycle, Self::Failure, Self::Log];
}

impl Event {
    pub(crate) fn class(&self) -> Class {
        match self.kind {
            EventKind::CallFailed { .. } => Class::Failure,
            EventKind::Log { .. } => Class::Log,
            _ => Class::Lifecycle,
        }
    }

    /// Bytes of memory that it takes, about: the texts that a guest or a compiler wrote, and itself.
    pub(crate) fn bytes(&self) -> usize {
        let texts = match &self.kind {
            EventKind::Changed { paths } => {
                paths.iter().map(|path| path.as_os_str().len()).sum::<usize>()
            }
            EventKind::BuildFailed { message, diagnostics, hints, .. } => {
                let texts = diagnostics.iter().map(|diagnostic| diagnostic.text.len());
                message.len() + texts.chain(hints.iter().map(String::len)).sum::<usize>()
            }
            EventKind::Built { warnings, .. } => {
                warnings.iter().map(|warning| warning.text.len()).sum::<usize>()
            }
            EventKind::Note { message } => message.len(),
            EventKind::Plan(PlanReport { changes, error, hints, .. }) => {
                let refusals = changes.values().map(|change| match change {
                    PlanChange::Refused { error, .. } => error.len(),
                    // A name and some keys.
                    _ => 128,
                });
                let error = error.as_ref().map_or(0, String::len);
                error + hints.iter().map(String::len).sum::<usize>() + refusals.sum::<usize>()
            }
            EventKind::Rejected { error, hints, .. } => {
                error.len() + hints.iter().map(String::len).sum::<usize>()
            }
            EventKind::StateLost { reason, .. } | EventKind::StateReverted { reason, .. } => {
                reason.len()
            }
            EventKind::CallFailed { error, .. } => error.len(),
            EventKind::Log { message, fields, .. } => {
                message.len() + fields.values().map(String::len).sum::<usize>()
            }
            _ => 0,
        };
        size_of::<Self>() + texts + self.cause.as_ref().map_or(0, String::len)
    }
}

/// A time as events tell it: RFC 3339 with milliseconds. A time that RFC 3339 has no form for, from a
/// clock that is wrong by millennia, is told as the nearest one that has.
///
/// # Errors
///
/// The serializer's own.
pub(crate) fn rfc3339<S: serde::Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let nearest = match *time < SystemTime::UNIX_EPOCH {
        true => jiff::Timestamp::UNIX_EPOCH,
        false => jiff::Timestamp::MAX,
    };
    let time = jiff::Timestamp::try_from(*time).unwrap_or(nearest);
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// Paths as text. A byte that is no UTF-8 becomes U+FFFD: JSON has no form for it, and a file with such
/// a name must not end the stream of events.
///
/// # Errors
///
/// The serializer's own.
fn lossy<S: serde::Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}

/// Reads what [`rfc3339`] writes.
///
/// # Errors
///
/// For a text that is no such time.
pub(crate) fn from_rfc3339<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
    Ok(time.into())
}
