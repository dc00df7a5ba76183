//! Guest logs: `wasi:logging`, and lines of standard output and error, as events.
//!
//! Text of a guest reaches terminals, so control characters are escaped here, once for all.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use super::bindings::wasi::logging::logging;
use crate::events::{EventBus, EventKind, LogLevel};
use crate::id::{GenerationNumber, HandlerName};

/// Bytes of one log message that are kept; a guest that writes no newline must not make the host
/// hold its output. Enough for any line a person reads.
const MAX_MESSAGE: usize = 8 * 1024;

/// Bytes a guest may write to a stream at once; it is told so, and asks again.
const MAX_WRITE: usize = 64 * 1024;

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
}

impl LogSink {
    pub(crate) fn new(bus: EventBus, handler: HandlerName, generation: GenerationNumber) -> Self {
        Self { shared: Arc::new(Origin { bus, handler, generation }) }
    }

    fn emit(&self, level: LogLevel, message: &str, field: Option<(&'static str, &str)>) {
        let Origin { bus, handler, generation } = &*self.shared;
        if !bus.is_observed() {
            return;
        }
        let fields = field.into_iter().map(|(key, value)| (key, printable(value)));
        bus.emit(
            Some(handler),
            None,
            EventKind::Log {
                level,
                message: printable(message),
                fields: BTreeMap::from_iter(fields),
                generation: *generation,
            },
        );
    }
}

/// `text` without control characters that could act on a terminal, cut to [`MAX_MESSAGE`].
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_MESSAGE));
    for character in text.chars() {
        if out.len() >= MAX_MESSAGE {
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
        self.emit(level, &message, field);
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
struct Line(Vec<u8>);

impl LineStream {
    pub(super) fn stdout(sink: LogSink) -> Self {
        Self { sink, name: "stdout", level: LogLevel::Info, line: Arc::default() }
    }

    pub(super) fn stderr(sink: LogSink) -> Self {
        Self { sink, name: "stderr", level: LogLevel::Warn, line: Arc::default() }
    }

    fn push(&self, bytes: &[u8]) {
        // Whole lines only are kept under this lock, so a panic elsewhere cannot spoil them.
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_MESSAGE.saturating_sub(line.0.len());
            line.0.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                self.flush_line(&mut line);
            }
        }
    }

    fn flush_line(&self, line: &mut Line) {
        let text = String::from_utf8_lossy(&line.0);
        self.sink.emit(
            self.level,
            text.trim_end_matches(['\n', '\r']),
            Some(("stream", self.name)),
        );
        line.0.clear();
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        // The last stream of a store writes out what had no newline: often the panic message.
        if Arc::strong_count(&self.line) == 1 {
            let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
            if !line.0.is_empty() {
                self.flush_line(&mut line);
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

    fn logged(write: impl FnOnce(LogSink)) -> Vec<String> {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let handler = HandlerName::new("hello").unwrap();
        write(LogSink::new(bus, handler, GenerationNumber::FIRST));
        std::iter::from_fn(|| events.try_recv().ok())
            .map(|event| match event.kind {
                EventKind::Log { message, .. } => message,
                other => panic!("expected a log event, found {other:?}"),
            })
            .collect()
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
        assert_eq!(lines[0].len(), MAX_MESSAGE);
    }
}
