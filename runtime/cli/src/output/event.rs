//! Renders events for people; pure but for what it remembers of a swap's earlier steps.

mod plan;

use std::collections::HashMap;
use std::time::Duration;

use wrt::events::{Diagnostic, Event, EventKind, LogLevel, Serving, Stage, StateOutcome};
use wrt::id::{GenerationNumber, HandlerName};

use super::style::{Style, escape};
use crate::command::load::Loaded;
use crate::diagnostics::{Report, block};

/// Turns events into lines.
#[derive(Debug)]
pub(crate) struct EventRenderer {
    style: Style,
    /// Whether the command answers requests, so that messages say what still does.
    serves: bool,
    /// Columns that names take in front of a line.
    width: usize,
    /// Times of the staged candidate that each handler's next swap is going to publish.
    staged: HashMap<HandlerName, StageTimes>,
    /// What each handler is known to serve.
    active: HashMap<HandlerName, GenerationNumber>,
    /// What comes after the refusal of a handler's first component.
    next: Next,
    is_stopping: bool,
    /// Calls that were cut since the host was asked to stop.
    cut: usize,
}

/// What comes after the refusal of a handler's first component.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// Its file is watched.
    Another,
    /// A call tries again.
    AnotherCall,
    /// Nothing, and there are other handlers.
    Others,
    /// Nothing at all.
    Nothing,
}

#[derive(Debug, Clone, Copy)]
struct StageTimes {
    build_ms: Option<f64>,
    compile_ms: f64,
}

impl EventRenderer {
    pub(crate) fn new(style: Style) -> Self {
        let (staged, active) = (HashMap::new(), HashMap::new());
        let (next, is_stopping, cut) = (Next::Another, false, 0);
        Self { style, serves: true, width: 0, staged, active, next, is_stopping, cut }
    }

    /// What was refused at the start is not tried again by itself.
    pub(crate) fn expect_no_retry(&mut self, loaded: &Loaded) {
        self.next = match loaded {
            Loaded { lazy: 1.., .. } => Next::AnotherCall,
            Loaded { handlers: 1, .. } => Next::Nothing,
            Loaded { .. } => Next::Others,
        };
    }

    /// The host was asked to stop.
    pub(crate) fn stopping(&mut self) {
        self.is_stopping = true;
    }

    /// Calls that were cut since the host was asked to stop.
    pub(crate) fn cut_at_the_end(&self) -> usize {
        self.cut
    }

    /// Leaves room for `name` in front of each line, so that lines of several handlers align.
    pub(crate) fn align_to(&mut self, name: &HandlerName) {
        self.width = self.width.max(name.as_str().len());
    }

    /// Leaves out of messages what still answers requests: the command serves none.
    pub(crate) fn serves_nothing(&mut self) {
        self.serves = false;
    }

    /// The lines for `event`, each ended; empty for what only programs want to know.
    pub(crate) fn render(&mut self, event: &Event) -> String {
        if let Some(name) = &event.handler {
            self.align_to(name);
        }
        match &event.kind {
            EventKind::Listening { url } => format!("listening on {}\n", escape(url)),
            EventKind::Building => self.line(event, &format!("building{}", cause(event))),
            EventKind::BuildFailed { message, diagnostics, hints, serving } => {
                let report = Report {
                    message: format!("failed to build `{}`", handler(event)),
                    causes: vec![message.clone()],
                    notes: self.still(event, *serving),
                    hints: hints.clone(),
                };
                compiler(diagnostics) + &report.render(self.style)
            }
            EventKind::Note { message } => self.line(event, &block(message, "  ")),
            EventKind::Built { warnings, .. } => match n_warnings(warnings) {
                // What a command said, if anything.
                None => compiler(warnings),
                Some(n) => {
                    let n = self.style.warning(&n);
                    compiler(warnings) + &self.line(event, &format!("built with {n}"))
                }
            },
            EventKind::Plan(report) => plan::render(&cause(event), report, self.style),
            EventKind::Staged { build_ms, compile_ms, .. } => {
                if let Some(name) = &event.handler {
                    let times = StageTimes { build_ms: *build_ms, compile_ms: *compile_ms };
                    self.staged.insert(name.clone(), times);
                }
                String::new()
            }
            EventKind::Swapped {
                generation,
                from,
                digest,
                settings_changed,
                total_ms,
                pause_ms,
                state,
                ..
            } => {
                let times = event.handler.as_ref().and_then(|name| self.staged.remove(name));
                if let Some(name) = &event.handler {
                    self.active.insert(name.clone(), *generation);
                }
                let serves =
                    self.style.good(&format!("generation {generation} serves {}", digest.short()));
                // Only what was built began with a save; the others began with a request, or with a
                // file that somebody else wrote.
                let was_built = times.is_some_and(|times| times.build_ms.is_some());
                let total = milliseconds(*total_ms);
                let when = match (from, was_built) {
                    (None, _) => format!("{total} after the start"),
                    (Some(_), true) => format!("{total} after the save"),
                    (Some(_), false) => format!("in {total}"),
                };
                let parts = times.map_or_else(String::new, steps);
                let state = state_words(*state, *pause_ms);
                let changed = match settings_changed.as_slice() {
                    [] => String::new(),
                    keys => format!("; changed settings: {}", keys.join(", ")),
                };
                self.line(event, &format!("{serves}, {when}{parts}{changed}{state}"))
            }
            EventKind::StateLost { generation, reason } => {
                let warning = self.style.warning("warning:");
                let reason = block(reason, "  ");
                let text =
                    format!("{warning} generation {generation} began without the state: {reason}");
                self.lines(event, &text)
            }
            EventKind::StateReverted { generation, of, reason } => {
                let warning = self.style.warning("warning:");
                let reason = block(reason, "  ");
                let text = format!(
                    "{warning} generation {generation} goes on with the state that generation {of} \
                     had; what was gathered since is left out: {reason}"
                );
                self.lines(event, &text)
            }
            EventKind::KindChanged { generation, from, to } => {
                let warning = self.style.warning("warning:");
                let text = format!(
                    "{warning} generation {generation} takes {to}, and the one before took {from}"
                );
                self.lines(event, &text)
            }
            EventKind::Confirmed { generation } => {
                self.line(event, &format!("generation {generation} is confirmed"))
            }
            EventKind::RolledBack { generation, from, why } => {
                let warning = self.style.warning("warning:");
                let text = format!(
                    "{warning} generation {from} was rolled back, generation {generation} runs what \
                     was there before ({})",
                    escape(why)
                );
                self.lines(event, &text)
            }
            EventKind::HistoryNotKept { error, hints } => {
                let warning = self.style.warning("warning:");
                let hint = self.style.hint("hint:");
                let hints = hints.iter().map(|text| format!("\n{hint} {}", escape(text)));
                let error = block(error, "  ");
                // The error says what that means.
                let text = format!("{warning} {error}{}", hints.collect::<String>());
                self.lines(event, &text)
            }
            EventKind::HistoryKept => {
                self.line(event, "what becomes of this handler is kept for the next start again")
            }
            EventKind::Removed => self.line(event, "removed"),
            EventKind::Unchanged { digest, passed_over_for: None } => {
                self.unchanged(event, &digest.short())
            }
            EventKind::Unchanged { digest, passed_over_for: Some(serving) } => {
                let (digest, serves) = (digest.short(), serving.digest.short());
                let text = format!(
                    "{digest} is passed over: generation {} ({serves}) was put in its place and keeps \
                     serving\n\
                     {} replace the file, or `wrt swap {} FILE.wasm`",
                    serving.generation,
                    self.style.hint("hint:"),
                    handler(event),
                );
                self.lines(event, &text)
            }
            EventKind::Rejected { stage, error, hints, serving } => {
                let report = Report {
                    message: format!(
                        "rejected a new generation of `{}`{}",
                        handler(event),
                        during(*stage)
                    ),
                    causes: vec![error.clone()],
                    notes: self.still(event, *serving),
                    hints: hints.clone(),
                };
                report.render(self.style)
            }
            EventKind::Drained { generation, cut, waited_ms } if *cut > 0 => {
                self.cut += if self.is_stopping { *cut } else { 0 };
                let since = match self.is_stopping {
                    true => "after the host was asked to stop",
                    false => "after it was replaced",
                };
                let calls = if *cut == 1 { "1 call was" } else { &format!("{cut} calls were") };
                let warning = self.style.warning("warning:");
                let text = format!(
                    "{warning} {calls} cut on generation {generation}, {} {since}\n\
                     {} raise `drain` of the handler if such calls should finish",
                    milliseconds(*waited_ms),
                    self.style.hint("hint:"),
                );
                self.lines(event, &text)
            }
            EventKind::CallFailed {
                generation, outcome, error, elapsed_ms, request_id, ..
            } => {
                let warning = self.style.warning("warning:");
                let elapsed = milliseconds(*elapsed_ms);
                let error = block(error, "  ");
                let request = request_id.map(|id| format!(", {id}")).unwrap_or_default();
                let text = format!(
                    "{warning} a call failed on generation {generation} after {elapsed} \
                     ({outcome}{request}): {error}"
                );
                self.lines(event, &text)
            }
            EventKind::Log { level, message, fields, .. } => {
                let context = fields.get("context").filter(|context| !context.is_empty());
                let context =
                    context.map_or_else(String::new, |text| format!("{}: ", escape(text)));
                // What a guest prints has no level of its own.
                let level = if fields.contains_key("stream") { None } else { Some(*level) };
                let level = level.map_or_else(String::new, |level| self.level(level));
                let times = fields.get("repeated");
                let times = times.map_or_else(String::new, |n| format!(" ({} times)", escape(n)));
                let message = block(message, "| ");
                self.lines(event, &format!("| {level}{context}{message}{times}"))
            }
            // `Changed` is the cause of the `Building` or `Swapped` that follows it.
            _ => String::new(),
        }
    }

    /// The lines for a component that `wrt build` wrote to `path`, compiled unless it was before.
    pub(crate) fn built_at(
        &mut self,
        event: &Event,
        path: &str,
        compiled: Option<Duration>,
    ) -> String {
        let EventKind::Built { build_ms, warnings } = &event.kind else { return String::new() };
        let warned = n_warnings(warnings)
            .map_or_else(String::new, |n| format!(" with {}", self.style.warning(&n)));
        let compilation = compiled.map_or_else(
            || "compiled before".to_owned(),
            |took| format!("compiled in {:.2} s", took.as_secs_f64()),
        );
        let (path, seconds) = (escape(path), build_ms / 1e3);
        let text = format!("built `{path}` in {seconds:.2} s{warned}, {compilation}");
        compiler(warnings) + &self.line(event, &text)
    }

    fn unchanged(&self, event: &Event, digest: &str) -> String {
        let active = event.handler.as_ref().and_then(|name| self.active.get(name));
        let serving = match active {
            Some(generation) => format!("generation {generation} keeps serving"),
            None => "nothing to swap".to_owned(),
        };
        self.line(event, &format!("unchanged ({digest}), {serving}"))
    }

    /// What answers the handler's requests after something was refused.
    fn still(&self, event: &Event, serving: Option<Serving>) -> Vec<String> {
        let handler = handler(event);
        let note = match (serving, self.next) {
            _ if !self.serves => return Vec::new(),
            (Some(serving), _) => format!("generation {} keeps serving", serving.generation),
            (None, Next::Another) => format!(
                "`{handler}` has no active generation yet; its requests are answered with status 503"
            ),
            (None, Next::AnotherCall) => {
                format!("`{handler}` has no active generation; its next call tries again")
            }
            (None, Next::Others) => format!(
                "`{handler}` has no active generation, and its requests fail; \
                 `wrt swap {handler} FILE.wasm` or a restart mends that"
            ),
            (None, Next::Nothing) => "nothing is served".to_owned(),
        };
        vec![note]
    }

    fn level(&self, level: LogLevel) -> String {
        let word = match level {
            LogLevel::Trace => "trace:",
            LogLevel::Debug => "debug:",
            LogLevel::Info => "info:",
            LogLevel::Warn => &self.style.warning("warn:"),
            LogLevel::Error => &self.style.error("error:"),
            LogLevel::Critical => &self.style.error("critical:"),
        };
        format!("{word} ")
    }

    /// `text` behind the handler's name.
    fn line(&self, event: &Event, text: &str) -> String {
        match &event.handler {
            Some(name) => {
                let name = format!("{:width$}", name.as_str(), width = self.width);
                format!("{}  {text}\n", self.style.handler(&name))
            }
            None => format!("{text}\n"),
        }
    }

    fn lines(&self, event: &Event, text: &str) -> String {
        text.lines().map(|line| self.line(event, line)).collect()
    }
}

fn handler(event: &Event) -> &str {
    event.handler.as_ref().map_or("?", HandlerName::as_str)
}

fn cause(event: &Event) -> String {
    event.cause.as_ref().map_or_else(String::new, |cause| format!(" ({})", escape(cause)))
}

/// What the compiler said, in its own layout, as its reader knows it.
fn compiler(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|one| format!("{}\n\n", block(&one.text, ""))).collect()
}

/// How many warnings there are, in words; `None` without any.
fn n_warnings(diagnostics: &[Diagnostic]) -> Option<String> {
    match diagnostics.iter().filter(|one| one.level == "warning").count() {
        0 => None,
        1 => Some("1 warning".to_owned()),
        n => Some(format!("{n} warnings")),
    }
}

fn during(stage: Stage) -> &'static str {
    match stage {
        Stage::Build => " while building it",
        Stage::Read => " while reading its component",
        Stage::Compile => " while compiling its component",
        Stage::Check => " while checking what it imports and exports",
        Stage::Init => " while starting its first instance",
        Stage::Probe => " while probing it",
        Stage::Save => " while saving the state",
        Stage::Restore => " while restoring the state",
        _ => "",
    }
}

/// What became of the state, if there was any.
fn state_words(state: StateOutcome, pause_ms: f64) -> String {
    let words = match state {
        StateOutcome::None => return String::new(),
        StateOutcome::Carried => "state carried",
        StateOutcome::Migrated => "state migrated",
        StateOutcome::Reset => "state reset",
        StateOutcome::Reverted => "state as before an earlier swap",
    };
    format!("; {words}, callers held {}", milliseconds(pause_ms))
}

fn steps(times: StageTimes) -> String {
    let compile = milliseconds(times.compile_ms);
    match times.build_ms {
        Some(build_ms) => format!(" (build {}, compile {compile})", milliseconds(build_ms)),
        None => format!(" (compile {compile})"),
    }
}

/// A duration in three digits or so, with its unit.
pub(crate) fn milliseconds(ms: f64) -> String {
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..999.5 => format!("{ms:.0} ms"),
        ..9995.0 => format!("{:.2} s", ms / 1000.0),
        _ => format!("{:.1} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests;
