//! The only place that prints: lines for people to stderr, data to stdout.
//!
//! # Invariants
//!
//! 1. Nothing reaches a terminal unescaped that a guest, a compiler or a file could have written.
//! 2. A closed pipe ends the writing to it, not the process.
//! 3. Nothing that a stream does stops or ends a host: it writes through a [`Spool`].

mod event;
mod spool;
mod stream;
pub(crate) mod style;
mod table;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use wrt::events::{Event, EventKind, Missed};
use wrt::id::HandlerName;

use crate::command::load::Loaded;
use crate::diagnostics;
use event::EventRenderer;
pub(crate) use event::milliseconds;
use spool::Rank;
pub(crate) use stream::People;
use stream::Stream;
use style::{Style, escape};

/// Longest time that the end of the process waits for streams to take what was said.
const FLUSH: Duration = Duration::from_secs(1);

/// The same when somebody wants the process to end at once.
const FLUSH_AT_ONCE: Duration = Duration::from_millis(100);

/// Says of which stream the system complains.
#[derive(Debug)]
pub(crate) struct NotWritten {
    pub(crate) source: io::Error,
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to write to stdout")
    }
}

impl std::error::Error for NotWritten {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Writes what a command has to say.
pub(crate) struct Output {
    data: Stream,
    people: Stream,
    json: bool,
    style: Style,
    events: EventRenderer,
    is_hurried: bool,
}

impl Output {
    /// Output of a command that does one thing and ends: it waits for its streams, and a stream
    /// that takes no data is an error. `env` looks up `NO_COLOR` and `TERM`.
    pub(crate) fn new(json: bool, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let (data, people) = (Stream::direct(io::stdout()), Stream::direct(io::stderr()));
        Self::with(data, people, json, Self::style(env))
    }

    /// Output of a host, which goes on whatever its streams do.
    ///
    /// # Errors
    ///
    /// When the system gives neither descriptors nor threads.
    pub(crate) fn of_host(json: bool, env: &dyn Fn(&str) -> Option<String>) -> io::Result<Self> {
        let style = Self::style(env);
        let people = stream::spooled_people(style)?;
        let data = stream::spooled_data(people.clone(), style)?;
        Ok(Self::with(Stream::Spooled(data), Stream::Spooled(people), json, style))
    }

    fn style(env: &dyn Fn(&str) -> Option<String>) -> Style {
        let (no_color, term) = (env("NO_COLOR"), env("TERM"));
        Style::choose(io::stderr().is_terminal(), no_color.as_deref(), term.as_deref())
    }

    fn with(data: Stream, people: Stream, json: bool, style: Style) -> Self {
        let events = EventRenderer::new(style);
        Self { data, people, json, style, events, is_hurried: false }
    }

    /// Where wrt's own diagnostics go: to people, without waiting for them where nothing else does.
    pub(crate) fn people(&self) -> People {
        self.people.people()
    }

    /// Refusals of the first components are final, as far as the host is concerned.
    pub(crate) fn expect_no_retry(&mut self, loaded: &Loaded) {
        self.events.expect_no_retry(loaded);
    }

    /// The host was asked to stop, and closes its listener after `pre_stop`.
    pub(crate) fn stopping(&mut self, pre_stop: Duration) {
        self.events.stopping();
        let when = match pre_stop {
            Duration::ZERO => String::new(),
            pre_stop => format!(" accepting connections in {pre_stop:?}"),
        };
        self.say(&format!(
            "stopping{when}: calls in flight finish first; again, a second later, to stop at once"
        ));
    }

    /// The host has stopped, `lasted` after it was asked to; so many `connections` were cut.
    pub(crate) fn stopped(&mut self, lasted: Duration, connections: usize) {
        let calls = self.events.cut_at_the_end();
        let after = milliseconds(lasted.as_secs_f64() * 1e3);
        if calls == 0 && connections == 0 {
            return self.say(&format!("stopped after {after}; nothing was cut"));
        }
        let (calls, connections) = (count(calls, "call"), count(connections, "connection"));
        self.warn(&format!("stopped after {after}; {calls} and {connections} were cut"), &[]);
    }

    /// The host stops without waiting for so many open `connections`.
    pub(crate) fn stopped_at_once(&mut self, connections: usize) {
        if connections == 0 {
            return self.say("stopped at once; no connection was open");
        }
        let were = if connections == 1 { "was" } else { "were" };
        let connections = count(connections, "connection");
        self.warn(&format!("stopped at once; {connections} {were} cut"), &[]);
    }

    /// Somebody wants the process to end at once: its end hardly waits for the streams.
    pub(crate) fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// Waits a moment for the streams to take what was said.
    pub(crate) fn finish(&mut self) {
        let limit = if self.is_hurried { FLUSH_AT_ONCE } else { FLUSH };
        let lost = self.data.finish(limit);
        if lost > 0 {
            self.warn(&format!("the last {lost} lines for stdout were not written"), &[]);
        }
        self.people.finish(limit);
    }

    /// Leaves room for the name of each handler that lines will be about.
    pub(crate) fn align_to<'a>(&mut self, names: impl IntoIterator<Item = &'a HandlerName>) {
        names.into_iter().for_each(|name| self.events.align_to(name));
    }

    /// Leaves out of messages what still answers requests: this command serves none.
    pub(crate) fn serves_nothing(&mut self) {
        self.events.serves_nothing();
    }

    /// Tells people about `event`, and with `--json` programs too.
    ///
    /// # Errors
    ///
    /// When stdout takes no more data, other than by being closed; never of a host.
    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        let (rank, lines) = (rank(event), self.events.render(event));
        self.people.tell(rank, lines);
        if !self.json {
            return Ok(());
        }
        match serde_json::to_string(event) {
            Ok(line) => self.write(rank, line + "\n"),
            // A defect of wrt, which is no reason to end anything.
            Err(error) => {
                self.warn(&format!("an event could not be written as JSON: {error}"), &[]);
                Ok(())
            }
        }
    }

    /// Says one thing to people that is no event.
    pub(crate) fn say(&mut self, text: &str) {
        self.tell(&format!("{}\n", escape(text)));
    }

    /// Tells people, and with `--json` programs, that `wrt build` has made a component at `path`, and
    /// compiled it unless that was done before. `event` is the build's own, with its warnings.
    ///
    /// # Errors
    ///
    /// When stdout takes no more data, other than by being closed.
    pub(crate) fn built(
        &mut self,
        event: &Event,
        path: &std::path::Path,
        compiled: Option<Duration>,
    ) -> io::Result<()> {
        let path = path.display().to_string();
        let lines = self.events.built_at(event, &path, compiled);
        self.tell(&lines);
        if !self.json {
            return Ok(());
        }
        let mut data = serde_json::to_value(event).map_err(io::Error::other)?;
        data["path"] = path.into();
        data["compile_ms"] = compiled.map(|took| (took.as_secs_f64() * 1e6).round() / 1e3).into();
        self.data(&format!("{data}\n"))
    }

    /// One thing that was asked for, to stdout: `line` for people, with `--json` `data` for programs.
    ///
    /// # Errors
    ///
    /// When stdout takes no more data, other than by being closed.
    pub(crate) fn datum(&mut self, line: &str, data: &serde_json::Value) -> io::Result<()> {
        let text = if self.json { data.to_string() } else { line.to_owned() };
        self.data(&format!("{text}\n"))
    }

    /// Tells people `line` about what was done, and with `--json` programs `data`.
    ///
    /// # Errors
    ///
    /// When stdout takes no more data, other than by being closed.
    pub(crate) fn done(&mut self, line: &str, data: &serde_json::Value) -> io::Result<()> {
        self.say(line);
        if self.json { self.data(&format!("{data}\n")) } else { Ok(()) }
    }

    /// [`done`](Self::done) where everything may have been said already.
    ///
    /// # Errors
    ///
    /// As [`done`](Self::done).
    pub(crate) fn done_with(&mut self, line: &str, data: &serde_json::Value) -> io::Result<()> {
        if !line.is_empty() {
            self.say(line);
        }
        if self.json { self.data(&format!("{data}\n")) } else { Ok(()) }
    }

    /// A list that was asked for, to stdout: for people in columns under `header`, with `--json`
    /// the data of each row on a line of its own.
    ///
    /// # Errors
    ///
    /// When stdout takes no more data, other than by being closed.
    pub(crate) fn table(
        &mut self,
        header: &[&str],
        rows: &[(Vec<String>, serde_json::Value)],
    ) -> io::Result<()> {
        let text = if self.json {
            rows.iter().map(|(_, data)| format!("{data}\n")).collect()
        } else {
            table::render(header, rows.iter().map(|(cells, _)| &cells[..]))
        };
        self.data(&text)
    }

    /// Warns people of something that costs time only, with what can be done.
    pub(crate) fn warn(&mut self, message: &str, hints: &[String]) {
        let warning = self.style.warning("warning:");
        let hint = self.style.hint("hint:");
        let hints = hints.iter().map(|text| format!("{hint} {}\n", escape(text)));
        let text = format!("{warning} {}\n{}", escape(message), hints.collect::<String>());
        self.tell(&text);
    }

    /// Warns people that events were lost between their producers and this output.
    pub(crate) fn missed(&mut self, missed: Missed) {
        let warning = self.style.warning("warning:");
        let counts = [
            (missed.logs, "log lines"),
            (missed.failures, "failed calls"),
            (missed.lifecycle, "other events"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let counts: Vec<_> = counts.map(|(count, what)| format!("{count} {what}")).collect();
        let counts = counts.join(", ");
        self.tell(&format!("{warning} {counts} came faster than they could be written\n"));
    }

    /// Tells people how the command failed.
    pub(crate) fn error(&mut self, error: &anyhow::Error) {
        let text = diagnostics::render(error, self.style);
        self.tell(&text);
    }

    /// Writes data as it is.
    ///
    /// # Errors
    ///
    /// When stdout takes no more data, other than by being closed; never of a host.
    pub(crate) fn data(&mut self, text: &str) -> io::Result<()> {
        self.write(Rank::Lifecycle, text.to_owned())
    }

    fn write(&mut self, rank: Rank, text: String) -> io::Result<()> {
        let written = self.data.write(rank, text);
        written.map_err(|source| io::Error::new(source.kind(), NotWritten { source }))
    }

    fn tell(&mut self, text: &str) {
        self.people.tell(Rank::Lifecycle, text.to_owned());
    }
}

/// `n` of `what`, in words.
fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// How much the lines about `event` matter.
fn rank(event: &Event) -> Rank {
    match event.kind {
        EventKind::Log { .. } => Rank::Log,
        EventKind::CallFailed { .. } => Rank::Failure,
        _ => Rank::Lifecycle,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::sync::{Arc, Mutex};
    use std::time::SystemTime;

    use super::*;

    fn listening() -> Event {
        let kind = EventKind::Listening { url: "http://127.0.0.1:3000".to_owned() };
        Event { kind, time: SystemTime::UNIX_EPOCH, handler: None, cause: None }
    }

    /// What was written, for the test to look at.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Written {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(piece)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Refuses each write with an error, and counts the writes.
    #[derive(Clone)]
    struct Closed(ErrorKind, Arc<Mutex<usize>>);

    impl Closed {
        fn with(kind: ErrorKind) -> Self {
            Self(kind, Arc::default())
        }
    }

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            *self.1.lock().unwrap() += 1;
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output(
        data: impl Write + Send + 'static,
        people: impl Write + Send + 'static,
        json: bool,
    ) -> Output {
        Output::with(Stream::direct(data), Stream::direct(people), json, Style::PLAIN)
    }

    #[test]
    fn people_read_lines_and_programs_read_json() {
        let (data, people) = (Written::default(), Written::default());
        let mut output = output(data.clone(), people.clone(), true);
        output.event(&listening()).unwrap();
        output.say("adding\u{1b} the target");
        assert_eq!(people.text(), "listening on http://127.0.0.1:3000\nadding\\u{1b} the target\n");
        assert_eq!(
            data.text(),
            "{\"event\":\"listening\",\"url\":\"http://127.0.0.1:3000\",\
             \"time\":\"1970-01-01T00:00:00.000Z\"}\n"
        );
    }

    #[test]
    fn event_of_any_year_and_any_path_is_written() {
        use std::os::unix::ffi::OsStrExt as _;

        let data = Written::default();
        let mut output = output(data.clone(), Written::default(), true);
        let odd = std::path::Path::new(std::ffi::OsStr::from_bytes(b"odd\xff.rs")).to_owned();
        let mut changed = listening();
        changed.kind = EventKind::Changed { paths: vec![odd] };
        changed.time = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        output.event(&changed).unwrap();
        assert_eq!(
            data.text(),
            "{\"event\":\"changed\",\"paths\":[\"odd\u{fffd}.rs\"],\
             \"time\":\"9999-12-30T22:00:00.999Z\"}\n"
        );
    }

    #[test]
    fn without_json_stdout_stays_empty() {
        let (data, people) = (Written::default(), Written::default());
        let mut output = output(data.clone(), people.clone(), false);
        output.event(&listening()).unwrap();
        assert!(data.text().is_empty() && !people.text().is_empty());
    }

    #[test]
    fn closed_pipe_is_no_error_and_is_not_tried_again() {
        let (data, people) = (Closed::with(ErrorKind::BrokenPipe), Written::default());
        let mut output = output(data.clone(), people.clone(), true);
        output.event(&listening()).unwrap();
        output.event(&listening()).unwrap();
        assert_eq!(*data.1.lock().unwrap(), 1);
        assert_eq!(people.text().lines().count(), 2);
    }

    #[test]
    fn full_disk_is_an_error_of_a_command_that_ends() {
        let mut output = output(Closed::with(ErrorKind::StorageFull), Written::default(), true);
        assert_eq!(output.event(&listening()).unwrap_err().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn lost_stderr_stops_nothing() {
        let data = Written::default();
        let mut output = output(data.clone(), Closed::with(ErrorKind::BrokenPipe), true);
        output.event(&listening()).unwrap();
        output.error(&anyhow::anyhow!("x"));
        assert!(!data.text().is_empty());
    }
}
