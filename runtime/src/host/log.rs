//! Guest logs: `wasi:logging`, and lines of standard output and error, as events.
//!
//! Text of a guest reaches terminals, so control characters are escaped here, once for all.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::bindings::wasi::logging::logging;
use crate::events::{
    EventBus, EventKind, LogAllowance, LogLevel, MAX_LINES, MAX_LOG_BYTES, MAX_TEXT, Verdict,
    WINDOW,
};
use crate::id::{GenerationNumber, HandlerName};

/// Bytes a guest may write to a stream at once; it is told so, and asks again.
const MAX_WRITE: usize = 64 * 1024;

/// Bytes of each of the two lines of a panic that are told with the failure of its call, beside which there is
/// a backtrace.
const MAX_PANIC: usize = 1024;

/// Where the log lines of one generation go.
#[derive(Debug, Clone)]
pub(crate) struct LogSink {
    shared: Arc<Origin>,
}

#[derive(Debug)]
struct Origin {
    bus: EventBus,
    handler: HandlerName,
    generation: GenerationNumber,
    /// Shared with the handler's other generations.
    allowance: Arc<LogAllowance>,
}

/// One line, or several equal ones that follow one another.
struct Lines<'a> {
    level: LogLevel,
    message: &'a str,
    field: Option<(&'static str, &'a str)>,
    /// How many lines there are.
    count: u64,
}

impl LogSink {
    pub(crate) fn new(bus: EventBus, handler: HandlerName, generation: GenerationNumber) -> Self {
        let allowance = bus.log_allowance(&handler);
        Self { shared: Arc::new(Origin { bus, handler, generation, allowance }) }
    }

    /// Passes `lines`, written `now`, on as one event, unless nobody listens or the handler has
    /// written too much.
    fn emit(&self, lines: &Lines<'_>, now: Instant) {
        let Origin { bus, allowance, .. } = &*self.shared;
        if !bus.is_observed() {
            return;
        }
        let bytes = lines.message.len().min(MAX_TEXT) + lines.field.map_or(0, |it| it.1.len());
        match allowance.judge(now, lines.count, bytes.min(2 * MAX_TEXT)) {
            Verdict::Passes { left_out } => self.tell_left_out(left_out),
            Verdict::LeftOut { is_first } => {
                if is_first {
                    self.tell_later();
                }
                return;
            }
        }
        let fields = lines.field.into_iter().map(|(key, value)| (key, printable(value)));
        let repeated = (lines.count > 1).then(|| ("repeated", lines.count.to_string()));
        self.shared.emit(lines.level, printable(lines.message), fields.chain(repeated));
    }

    /// Tells of lines that were left out when their second is over, whether or not more come.
    fn tell_later(&self) {
        // Without an async runtime there is no clock; then the next line that passes tells of them.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let sink = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(WINDOW).await;
            sink.tell_left_out(sink.shared.allowance.take_left_out());
        });
    }

    fn tell_left_out(&self, lines: u64) {
        if lines == 0 {
            return;
        }
        self.shared.bus.lines_left_out(&self.shared.handler, lines);
        let message = format!(
            "{lines} log lines were left out: a handler may write {MAX_LINES} lines, or {MAX_LOG_BYTES} bytes, a second"
        );
        let fields = [("context", "wrt".to_owned())];
        self.shared.emit(LogLevel::Warn, message, fields);
    }
}

impl Origin {
    fn emit(
        &self,
        level: LogLevel,
        message: String,
        fields: impl IntoIterator<Item = (&'static str, String)>,
    ) {
        let (generation, fields) = (self.generation, BTreeMap::from_iter(fields));
        let kind = EventKind::Log { level, message, fields, generation };
        self.bus.emit(Some(&self.handler), None, kind);
    }
}

/// `text` without control characters that could act on a terminal, cut to [`MAX_TEXT`].
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_TEXT));
    for character in text.chars() {
        if out.len() >= MAX_TEXT {
            out.push('…');
            break;
        }
        if character.is_control() && character != '\n' && character != '\t' {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

impl logging::Host for LogSink {
    fn log(&mut self, level: logging::Level, context: String, message: String) {
        let level = match level {
            logging::Level::Trace => LogLevel::Trace,
            logging::Level::Debug => LogLevel::Debug,
            logging::Level::Info => LogLevel::Info,
            logging::Level::Warn => LogLevel::Warn,
            logging::Level::Error => LogLevel::Error,
            logging::Level::Critical => LogLevel::Critical,
        };
        let field = (!context.is_empty()).then_some(("context", context.as_str()));
        self.emit(&Lines { level, message: &message, field, count: 1 }, Instant::now());
    }
}

/// Standard output or error of one store, turned into log events line by line.
#[derive(Clone)]
pub(super) struct LineStream {
    sink: LogSink,
    name: &'static str,
    level: LogLevel,
    /// The line that has no end yet; shared by the streams that a guest opens on one output.
    line: Arc<Mutex<Line>>,
}

#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    /// What the last panic of the guest said, as far as that is in what was written.
    panic: String,
    /// The next line is what that panic says, after where it was.
    says_panic: bool,
}

impl Line {
    /// Looks whether `message`, a whole line, tells of a panic as Rust's standard library does.
    fn hear_panic(&mut self, message: &str) {
        let is_panic = message.contains(" panicked at ");
        if is_panic {
            self.panic.clear();
        } else if !self.says_panic {
            return;
        } else {
            self.panic.push(' ');
        }
        self.says_panic = is_panic;
        self.panic.push_str(&message[..message.floor_char_boundary(MAX_PANIC)]);
    }
}

impl LineStream {
    pub(super) fn stdout(sink: LogSink) -> Self {
        Self { sink, name: "stdout", level: LogLevel::Info, line: Arc::default() }
    }

    pub(super) fn stderr(sink: LogSink) -> Self {
        Self { sink, name: "stderr", level: LogLevel::Warn, line: Arc::default() }
    }

    fn push(&self, bytes: &[u8]) {
        self.push_at(bytes, Instant::now());
    }

    /// Takes `bytes` in that a guest writes `now`.
    fn push_at(&self, bytes: &[u8], now: Instant) {
        // Whole lines only are kept under this lock, so a panic elsewhere cannot spoil them.
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let is_whole = line.bytes.is_empty();
            let room = MAX_TEXT.saturating_sub(line.bytes.len());
            line.bytes.extend_from_slice(&part[..part.len().min(room)]);
            if !part.ends_with(b"\n") {
                continue;
            }
            // Equal lines of one write are one event: a write may have 65,536 of them.
            let mut count = 1;
            while is_whole && parts.next_if_eq(&part).is_some() {
                count += 1;
            }
            self.flush_line(&mut line, count, now);
        }
    }

    fn flush_line(&self, line: &mut Line, count: u64, now: Instant) {
        let mut bytes = std::mem::take(&mut line.bytes);
        let text = String::from_utf8_lossy(&bytes);
        let message = text.trim_end_matches(['\n', '\r']);
        let field = Some(("stream", self.name));
        self.sink.emit(&Lines { level: self.level, message, field, count }, now);
        line.hear_panic(message);
        bytes.clear();
        line.bytes = bytes;
    }

    /// What the last panic of the guest said, and where it was.
    pub(super) fn panic(&self) -> Option<String> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        (!line.panic.is_empty()).then(|| printable(&line.panic))
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        // The last stream of a store writes out what had no newline: often the panic message.
        if Arc::strong_count(&self.line) == 1 {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            if !line.bytes.is_empty() {
                self.flush_line(&mut line, 1, Instant::now());
            }
        }
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LineStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventReceiver;

    type Logged = Vec<(String, BTreeMap<&'static str, String>)>;

    fn received(events: &mut EventReceiver) -> Logged {
        std::iter::from_fn(|| events.try_recv().ok())
            .map(|event| match event.kind {
                EventKind::Log { message, fields, .. } => (message, fields),
                other => panic!("expected a log event, found {other:?}"),
            })
            .collect()
    }

    fn sink(bus: &EventBus) -> LogSink {
        let handler = HandlerName::new("hello").unwrap();
        LogSink::new(bus.clone(), handler, GenerationNumber::FIRST)
    }

    fn logged(write: impl FnOnce(LogSink)) -> Vec<String> {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        write(sink(&bus));
        received(&mut events).into_iter().map(|(message, _)| message).collect()
    }

    #[test]
    fn output_becomes_one_event_a_line_and_the_last_needs_no_newline() {
        let lines = logged(|sink| {
            let stream = LineStream::stdout(sink);
            stream.push(b"one\ntw");
            stream.clone().push(b"o\r\nthree");
        });
        assert_eq!(lines, ["one", "two", "three"]);
    }

    #[test]
    fn last_panic_is_known_by_its_place_and_its_message() {
        let stream = LineStream::stderr(sink(&EventBus::new()));
        stream.push(b"about to fail\n");
        assert_eq!(stream.panic(), None);
        stream
            .push(b"\nthread 'main' (1) panicked at src/lib.rs:3:5:\nno \x1border\nnote: run it\n");
        let expected = "thread 'main' (1) panicked at src/lib.rs:3:5: no \\u{1b}order";
        assert_eq!(stream.panic().as_deref(), Some(expected));
        stream.push(&[b"thread 'main' panicked at a:1:1:\n", &[b'x'; 30_000][..], b"\n"].concat());
        assert!(stream.panic().is_some_and(|panic| panic.len() < 2 * MAX_PANIC + 2));
    }

    #[test]
    fn terminal_escapes_of_a_guest_lose_their_power() {
        let lines = logged(|sink| LineStream::stderr(sink).push(b"\x1b[2Jgone\x07\n"));
        assert_eq!(lines, ["\\u{1b}[2Jgone\\u{7}"]);
    }

    #[test]
    fn a_line_without_end_does_not_grow_without_end() {
        let lines = logged(|sink| {
            let stream = LineStream::stdout(sink);
            for _ in 0..100 {
                stream.push(&[b'x'; 1024]);
            }
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].len(), MAX_TEXT);
    }

    #[test]
    fn equal_lines_of_one_write_are_one_event_that_says_how_many() {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let stream = LineStream::stdout(sink(&bus));
        stream.push(&[b'\n'; MAX_WRITE]);
        stream.push(b"a\na\nb\na\n");
        let lines = received(&mut events);
        let lines: Vec<_> = lines
            .iter()
            .map(|(message, fields)| (message.as_str(), fields.get("repeated").map(String::as_str)))
            .collect();
        assert_eq!(lines, [("", Some("65536")), ("a", Some("2")), ("b", None), ("a", None)]);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_come_too_fast_are_left_out_told_of_in_one_line_and_counted() {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        // Two generations share what their handler may write.
        let (one, other) = (sink(&bus), sink(&bus));
        let streams = [LineStream::stdout(one), LineStream::stdout(other)];
        let now = Instant::now();
        for i in 0..2 * MAX_LINES {
            streams[i as usize % 2].push_at(format!("line {i}\n").as_bytes(), now);
        }
        let mut told = loop {
            match events.recv().await {
                Ok(event) => {
                    let EventKind::Log { message, .. } = event.kind else { continue };
                    if message.ends_with("a second") {
                        break message;
                    }
                }
                Err(_) => continue,
            }
        };
        told.truncate(told.find(':').unwrap_or(0));
        let left_out = bus.counts().values().map(|counts| counts.lines_left_out).sum::<u64>();
        assert_eq!(told, format!("{left_out} log lines were left out"));
        assert_eq!(left_out, MAX_LINES);
    }
}
