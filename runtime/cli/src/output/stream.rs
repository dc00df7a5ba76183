//! The two streams of the process: written to directly, or through a [`Spool`].

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use super::spool::{About, Lost, Rank, Spool, Trouble};
use super::style::Style;

/// One stream of the process.
pub(super) enum Stream {
    /// Each write waits for the stream.
    Direct(Box<dyn Write + Send>),
    /// The reader has gone.
    Closed,
    /// Nothing waits for the stream.
    Spooled(Spool),
}

impl Stream {
    pub(super) fn direct(stream: impl Write + Send + 'static) -> Self {
        Self::Direct(Box::new(stream))
    }

    /// Writes lines.
    ///
    /// # Errors
    ///
    /// When the stream takes no more, other than by being closed; never through a spool.
    pub(super) fn write(&mut self, rank: Rank, text: String) -> io::Result<()> {
        let stream = match self {
            Self::Direct(stream) => stream,
            Self::Closed => return Ok(()),
            Self::Spooled(spool) => {
                spool.put(rank, text);
                return Ok(());
            }
        };
        // Flushed by the line: a reader at the other end of a pipe acts on each.
        match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                *self = Self::Closed;
                Ok(())
            }
            result => result,
        }
    }

    /// Writes lines where nobody is left to be told of an error.
    pub(super) fn tell(&mut self, rank: Rank, text: String) {
        let _ = self.write(rank, text);
    }

    /// Waits for the stream to take what was written. Returns how many lines it did not take.
    pub(super) fn finish(&self, limit: std::time::Duration) -> u64 {
        match self {
            Self::Spooled(spool) => spool.finish(limit),
            Self::Direct(_) | Self::Closed => 0,
        }
    }

    /// The same stream for others who write to people.
    pub(super) fn people(&self) -> People {
        match self {
            Self::Spooled(spool) => People(Some(spool.clone())),
            Self::Direct(_) | Self::Closed => People(None),
        }
    }
}

/// A way to stderr beside [`Output`](super::Output), for diagnostics and panics. Cheap to clone.
#[derive(Clone)]
pub(crate) struct People(Option<Spool>);

impl People {
    /// Writes what a panic said without waiting for stderr, in place of the standard library's hook,
    /// which would stop the thread for as long as nobody reads.
    pub(crate) fn hear_panics(&self) {
        let Some(spool) = self.0.clone() else { return };
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("without a name").to_owned();
            let trace = std::backtrace::Backtrace::capture();
            let trace = match trace.status() {
                std::backtrace::BacktraceStatus::Captured => format!("{trace}\n"),
                _ => String::new(),
            };
            spool.put(Rank::Failure, format!("thread `{thread}` {panic}\n{trace}"));
        }));
    }
}

impl Write for People {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(spool) => spool.put(Rank::Log, String::from_utf8_lossy(text).into_owned()),
            None => io::stderr().write_all(text)?,
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for People {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Stderr through a spool.
///
/// # Errors
///
/// When the system gives neither a descriptor nor a thread.
pub(super) fn spooled_people(style: Style) -> io::Result<Spool> {
    let notice = Box::new(move |lost| people_notice(lost, style));
    // Nobody is left to be told.
    let about = About { name: "stderr", notice, tell: Box::new(|_| {}) };
    Spool::start(unbuffered(io::stderr())?, about)
}

/// Stdout through a spool; its troubles are told to `people`.
///
/// # Errors
///
/// When the system gives neither a descriptor nor a thread.
pub(super) fn spooled_data(people: Spool, style: Style) -> io::Result<Spool> {
    let tell = move |trouble| {
        let why = match trouble {
            Trouble::Fails(why) => format!("stdout takes no events: {why}"),
            Trouble::Slow => "events come faster than stdout takes them".to_owned(),
            Trouble::Mended => {
                return people.put(Rank::Lifecycle, "stdout takes events again\n".to_owned());
            }
        };
        let (warning, note) = (style.warning("warning:"), style.note("note:"));
        let note =
            format!("{note} serving goes on; events for which memory has no room are counted");
        people.put(Rank::Lifecycle, format!("{warning} {why}\n{note}\n"));
    };
    let (notice, tell) = (Box::new(json_notice), Box::new(tell));
    let about = About { name: "stdout", notice, tell };
    Spool::start(unbuffered(io::stdout())?, about)
}

/// The stream without the standard library's buffer, of which nobody could tell what has left it.
fn unbuffered(stream: impl AsFd) -> io::Result<File> {
    let own: OwnedFd = stream.as_fd().try_clone_to_owned()?;
    Ok(File::from(own))
}

fn people_notice(lost: Lost, style: Style) -> String {
    let kinds = [(Rank::Log, "log"), (Rank::Failure, "failed call"), (Rank::Lifecycle, "other")];
    let parts: Vec<_> = kinds
        .iter()
        .filter(|(rank, _)| lost.of(*rank) > 0)
        .map(|(rank, name)| format!("{} {name}", lost.of(*rank)))
        .collect();
    let warning = style.warning("warning:");
    format!(
        "{warning} messages came faster than stderr took them; left out: {}\n",
        parts.join(", ")
    )
}

/// The line that stands in the data for the events that are missing.
fn json_notice(lost: Lost) -> String {
    let line = json!({
        "event": "left-out",
        "events": lost.total(),
        "logs": lost.of(Rank::Log),
        "failures": lost.of(Rank::Failure),
        "time": format!("{:.3}", jiff::Timestamp::now()),
    });
    format!("{line}\n")
}
