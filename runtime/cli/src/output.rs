//! The only place that prints: lines for people to stderr, data to stdout.
//!
//! # Invariants
//!
//! 1. Nothing reaches a terminal unescaped that a guest, a compiler or a file could have written.
//! 2. A closed pipe ends the writing to it, not the process: what is being served goes on.

mod event;
pub(crate) mod style;
mod table;

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::time::Duration;

use wrt::events::Event;
use wrt::id::HandlerName;

use crate::diagnostics;
use event::EventRenderer;
pub(crate) use event::milliseconds;
use style::{Style, escape};

/// Writes what a command has to say.
pub(crate) struct Output<D = io::Stdout, P = io::Stderr> {
    /// Where data goes; `None` once its reader has gone.
    data: Option<D>,
    people: P,
    json: bool,
    style: Style,
    events: EventRenderer,
}

impl Output {
    /// Output of this process; `env` looks up `NO_COLOR` and `TERM`.
    pub(crate) fn new(json: bool, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let people = io::stderr();
        let (no_color, term) = (env("NO_COLOR"), env("TERM"));
        let style = Style::choose(people.is_terminal(), no_color.as_deref(), term.as_deref());
        Self::with(io::stdout(), people, json, style)
    }
}

impl<D: Write, P: Write> Output<D, P> {
    fn with(data: D, people: P, json: bool, style: Style) -> Self {
        Self { data: Some(data), people, json, style, events: EventRenderer::new(style) }
    }

    /// Leaves room for the name of each handler that lines will be about.
    pub(crate) fn align_to<'a>(&mut self, names: impl IntoIterator<Item = &'a HandlerName>) {
        names.into_iter().for_each(|name| self.events.align_to(name));
    }

    /// Tells people about `event`, and with `--json` programs too.
    ///
    /// # Errors
    ///
    /// When stdout takes no more data, other than by being closed.
    pub(crate) fn event(&mut self, event: &Event) -> io::Result<()> {
        let lines = self.events.render(event);
        self.tell(&lines);
        if !self.json {
            return Ok(());
        }
        let mut line = serde_json::to_string(event).map_err(io::Error::other)?;
        line.push('\n');
        self.data(&line)
    }

    /// Says one thing to people that is no event.
    pub(crate) fn say(&mut self, text: &str) {
        self.tell(&format!("{}\n", escape(text)));
    }

    /// Tells people, and with `--json` programs, that `wrt build` has made a component, and
    /// compiled it unless that was done before.
    ///
    /// # Errors
    ///
    /// When stdout takes no more data, other than by being closed.
    pub(crate) fn built(
        &mut self,
        handler: &HandlerName,
        path: &std::path::Path,
        took: Duration,
        compiled: Option<Duration>,
    ) -> io::Result<()> {
        let (path, seconds) = (path.display().to_string(), took.as_secs_f64());
        let compilation = compiled.map_or_else(
            || "compiled before".to_owned(),
            |took| format!("compiled in {:.2} s", took.as_secs_f64()),
        );
        self.say(&format!("{handler}  built `{path}` in {seconds:.2} s, {compilation}"));
        if !self.json {
            return Ok(());
        }
        let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        let line = serde_json::json!({
            "event": "built",
            "handler": handler,
            "path": path,
            "build_ms": milliseconds(took),
            "compile_ms": compiled.map(milliseconds),
        });
        self.data(&format!("{line}\n"))
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
    pub(crate) fn lagged(&mut self, missed: u64) {
        let warning = self.style.warning("warning:");
        self.tell(&format!("{warning} {missed} events came faster than they could be written\n"));
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
    /// When stdout takes no more data, other than by being closed.
    pub(crate) fn data(&mut self, text: &str) -> io::Result<()> {
        let Some(data) = &mut self.data else { return Ok(()) };
        // Flushed by the line: a reader at the other end of a pipe acts on each.
        match data.write_all(text.as_bytes()).and_then(|()| data.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.data = None;
                Ok(())
            }
            result => result,
        }
    }

    fn tell(&mut self, text: &str) {
        // Nobody is left to be told when stderr is gone, and serving goes on.
        let _ = self.people.write_all(text.as_bytes()).and_then(|()| self.people.flush());
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use wrt::events::EventKind;

    use super::*;

    fn listening() -> Event {
        let kind = EventKind::Listening { url: "http://127.0.0.1:3000".to_owned() };
        Event { kind, time: SystemTime::UNIX_EPOCH, handler: None, cause: None }
    }

    /// Refuses each write with `kind`, and counts them.
    struct Closed(ErrorKind, usize);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.1 += 1;
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn people_read_lines_and_programs_read_json() {
        let (mut data, mut people) = (Vec::new(), Vec::new());
        let mut output = Output::with(&mut data, &mut people, true, Style::PLAIN);
        output.event(&listening()).unwrap();
        output.say("adding\u{1b} the target");
        assert_eq!(
            String::from_utf8(people).unwrap(),
            "listening on http://127.0.0.1:3000\nadding\\u{1b} the target\n"
        );
        assert_eq!(
            String::from_utf8(data).unwrap(),
            "{\"event\":\"listening\",\"url\":\"http://127.0.0.1:3000\",\
             \"time\":\"1970-01-01T00:00:00.000Z\"}\n"
        );
    }

    #[test]
    fn without_json_stdout_stays_empty() {
        let (mut data, mut people) = (Vec::new(), Vec::new());
        let mut output = Output::with(&mut data, &mut people, false, Style::PLAIN);
        output.event(&listening()).unwrap();
        assert!(data.is_empty() && !people.is_empty());
    }

    #[test]
    fn closed_pipe_is_no_error_and_is_not_tried_again() {
        let mut data = Closed(ErrorKind::BrokenPipe, 0);
        let mut people = Vec::new();
        let mut output = Output::with(&mut data, &mut people, true, Style::PLAIN);
        output.event(&listening()).unwrap();
        output.event(&listening()).unwrap();
        assert_eq!(data.1, 1);
        assert_eq!(String::from_utf8(people).unwrap().lines().count(), 2);
    }

    #[test]
    fn full_disk_is_an_error() {
        let mut output =
            Output::with(Closed(ErrorKind::StorageFull, 0), Vec::new(), true, Style::PLAIN);
        assert_eq!(output.event(&listening()).unwrap_err().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn lost_stderr_stops_nothing() {
        let mut output =
            Output::with(Vec::new(), Closed(ErrorKind::BrokenPipe, 0), true, Style::PLAIN);
        output.event(&listening()).unwrap();
        output.error(&anyhow::anyhow!("x"));
        assert!(output.data.is_some_and(|data| !data.is_empty()));
    }
}
