//! What does a stranger with thousands of connections or streams cost a good client, and the host?
//!
//! The stranger needs as many open files as connections: `ulimit -n 12000` before.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use wrt_test_support::guests::{Profile, guest_as};
use wrt_test_support::proc_stat::ProcStat;
use wrt_test_support::process::ServerProcess;

use crate::probe::Probe;
use crate::report::{Figure, Row, Unit, say};
use crate::site::{Handler, Site};
use crate::stats::Samples;

/// How many times as long the good client may wait, at p99.
const SLOWER_BAR: f64 = 5.0;

/// Resident memory that the stranger may cost, and what of it may be left a minute later.
const MEMORY_BAR: f64 = 200.0 * 1024.0 * 1024.0;
const LEFT_BAR: f64 = 20.0 * 1024.0 * 1024.0;

/// Pause between two requests of the good client.
const PAUSE: Duration = Duration::from_millis(20);

/// Longest wait for the host's memory to come back.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// Streams that a connection of HTTP/2 has, as many as the host allows.
const STREAMS: usize = 64;

/// Connections that are opened at once, so that the listener's backlog does not overflow.
const OPENED_AT_ONCE: usize = 64;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Connections or streams of the stranger.
    #[arg(long, default_value_t = 10_000)]
    many: usize,
    /// Seconds that each of the stranger's shapes lasts.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only the shape of this name.
    #[arg(long)]
    shape: Option<String>,
}

impl Default for Args {
    fn default() -> Self {
        Self { many: 10_000, seconds: 60, shape: None }
    }
}

/// What the stranger does on each of its connections.
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    what: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// These bytes, then nothing. What comes is read or not.
    Http1 { bytes: &'static str, reads: bool },
    /// Requests of HTTP/2 with this method and path and this window, pings answered.
    Http2 { method: &'static str, path: &'static str, window: u32, ends: bool },
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "silent",
        what: "connections that send nothing",
        kind: Kind::Http1 { bytes: "", reads: true },
    },
    Shape {
        name: "heads",
        what: "connections with half a head",
        kind: Kind::Http1 { bytes: "GET /h HTTP/1.1\r\nhost:", reads: true },
    },
    Shape {
        name: "forms",
        what: "forms of which 4 of 100 bytes arrive",
        kind: Kind::Http1 {
            bytes: "POST /h HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabcd",
            reads: true,
        },
    },
    Shape {
        name: "uploads",
        what: "uploads of no stated length that stand still",
        kind: Kind::Http1 {
            bytes: "POST /h HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\n",
            reads: true,
        },
    },
    Shape {
        name: "pages",
        what: "pages of 8 MiB of which nothing is read",
        kind: Kind::Http1 {
            bytes: "GET /h/page?bytes=8388608 HTTP/1.1\r\nhost: a\r\n\r\n",
            reads: false,
        },
    },
    Shape {
        name: "singleton-pages",
        what: "pages of 1 MiB of a singleton of which nothing is read",
        kind: Kind::Http1 {
            bytes: "GET /single/page?bytes=1048576 HTTP/1.1\r\nhost: a\r\n\r\n",
            reads: false,
        },
    },
    Shape {
        name: "ticks",
        what: "event streams without an end",
        kind: Kind::Http1 {
            bytes: "GET /h/ticks?ms=1000 HTTP/1.1\r\nhost: a\r\n\r\n",
            reads: true,
        },
    },
    Shape {
        name: "window-0",
        what: "streams of HTTP/2 without a window, of 8 MiB pages",
        kind: Kind::Http2 { method: "GET", path: "/h/page?bytes=8388608", window: 0, ends: true },
    },
    Shape {
        name: "window-1",
        what: "streams of HTTP/2 with a window of one byte, of 1 MiB pages",
        kind: Kind::Http2 { method: "GET", path: "/h/page?bytes=1048576", window: 1, ends: true },
    },
    Shape {
        name: "small-window-0",
        what: "streams of HTTP/2 without a window, of small pages",
        kind: Kind::Http2 { method: "GET", path: "/h/page?bytes=1000", window: 0, ends: true },
    },
    Shape {
        name: "open-streams",
        what: "streams of HTTP/2 whose bodies never come",
        kind: Kind::Http2 { method: "POST", path: "/h", window: 65_535, ends: false },
    },
];

pub(crate) fn run(args: &Args) -> Result<Figure> {
    let mut figure = Figure::new(
        "strangers",
        "what does a stranger with thousands of connections or streams cost others?",
    );
    let component = super::read_component(&guest_as("asked", Profile::Release)?)?;
    let site = Site::temporary()?;
    let single = "instances = \"singleton\"";
    let pooled = "instances = \"pooled\"";
    let handlers = [
        Handler::new("good", "/good").with(pooled),
        Handler::new("h", "/h/*").with(pooled),
        Handler::new("single", "/single/*").with(single),
    ];
    site.write_manifest(&handlers, "")?;
    for name in ["good", "h", "single"] {
        site.put(name, &component)?;
    }
    let wanted = |shape: &&Shape| args.shape.as_deref().is_none_or(|name| name == shape.name);
    let shapes: Vec<_> = SHAPES.iter().filter(wanted).collect();
    ensure!(!shapes.is_empty(), "unknown shape `{}`", args.shape.as_deref().unwrap_or_default());
    for shape in shapes {
        say(&format!("{} {}", args.many, shape.what));
        // A process of its own, so that no shape pays for another.
        measure(args, *shape, &site.start(&["serve"])?, &mut figure)?;
    }
    Ok(figure)
}

fn measure(args: &Args, shape: Shape, server: &ServerProcess, figure: &mut Figure) -> Result<()> {
    let (address, time) = (server.address(), Duration::from_secs(args.seconds));
    for path in ["/good", "/h", "/single"] {
        ensure!(Probe::new(address).get(path)? == 200, "`{path}` is not answered");
    }
    let before = good_client(address, time.min(Duration::from_secs(10)))?;
    let memory = || Ok::<_, anyhow::Error>(ProcStat::of(server.id())?.rss as f64);
    let memory_before = memory()?;
    let runtime = super::load_runtime()?;
    for _ in 0..connections(args.many, shape.kind).1 {
        let kind = shape.kind;
        runtime.spawn(async move {
            // A connection that the host closes is opened again, as a stranger would.
            loop {
                let _ = stranger(address, kind).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    let during = good_client(address, time)?;
    let memory_during = memory()?;
    runtime.shutdown_background();
    let ended_at = Instant::now();
    let mut memory_after = memory()?;
    while memory_after > memory_before + LEFT_BAR && ended_at.elapsed() < BACK_WITHIN {
        thread::sleep(Duration::from_millis(500));
        memory_after = memory()?;
    }
    let id = |what: &str| format!("{}-{what}", shape.name);
    let [was, is] = [&before, &during].map(|seen| seen.answered.in_ms());
    figure.line(shape.name, format!("before: {was}; meanwhile: {is}"));
    let slower = during.answered.percentile(99) / before.answered.percentile(99);
    let what = format!("p99 of a good client beside {}", shape.what);
    figure.row(Row::low(id("slower"), what, slower, Unit::Times).bar(SLOWER_BAR));
    let what = format!("its requests that failed beside {}", shape.what);
    figure.row(Row::low(id("failed"), what, during.n_failed as f64, Unit::Count).bar(0.0));
    let what = format!("memory for {}", shape.what);
    let grown = memory_during - memory_before;
    figure.row(Row::low(id("memory"), what, grown, Unit::Bytes).bar(MEMORY_BAR));
    let what = format!("what is left of it after a minute at most, of {}", shape.what);
    let left = memory_after - memory_before;
    figure.row(Row::low(id("left"), what, left, Unit::Bytes).bar(LEFT_BAR));
    Ok(())
}

/// What a good client saw.
#[derive(Default)]
struct Seen {
    /// Milliseconds of each answer.
    answered: Samples,
    n_failed: usize,
}

/// Asks over one open connection for `time`.
fn good_client(address: SocketAddr, time: Duration) -> Result<Seen> {
    let (mut probe, mut seen) = (Probe::new(address), Seen::default());
    let started_at = Instant::now();
    while started_at.elapsed() < time {
        let asked_at = Instant::now();
        match probe.get("/good") {
            Ok(200) => seen.answered.push(asked_at.elapsed().as_secs_f64() * 1e3),
            _ => seen.n_failed += 1,
        }
        thread::sleep(PAUSE.saturating_sub(asked_at.elapsed()));
    }
    ensure!(seen.answered.len() > 0, "no request of the good client was answered");
    Ok(seen)
}

/// Streams of each connection, and connections, for `many` of them together.
fn connections(many: usize, kind: Kind) -> (usize, usize) {
    match kind {
        Kind::Http1 { .. } => (1, many),
        Kind::Http2 { .. } => (STREAMS, many.div_ceil(STREAMS)),
    }
}

/// One connection, until the host closes it.
async fn stranger(address: SocketAddr, kind: Kind) -> Result<()> {
    static OPENED: Semaphore = Semaphore::const_new(OPENED_AT_ONCE);
    let opening = OPENED.acquire().await.context("it is never closed")?;
    let stream = TcpStream::connect(address).await.context("failed to connect")?;
    drop(opening);
    let (mut reader, mut writer) = stream.into_split();
    let mut buffer = vec![0; 16 * 1024];
    match kind {
        Kind::Http1 { bytes, reads } => {
            writer.write_all(bytes.as_bytes()).await.context("failed to send")?;
            if !reads {
                // Until the runtime of the load ends.
                std::future::pending::<()>().await;
            }
            while reader.read(&mut buffer).await.context("failed to read")? > 0 {}
        }
        Kind::Http2 { method, path, window, ends } => {
            let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            sent.extend(frame(4, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat()));
            for i in 0..STREAMS {
                let flags = if ends { 5 } else { 4 };
                let stream = u32::try_from(1 + 2 * i).context("there are few streams")?;
                sent.extend(frame(1, flags, stream, &head(method, path)));
            }
            writer.write_all(&sent).await.context("failed to send")?;
            let mut read = Vec::new();
            loop {
                let n = reader.read(&mut buffer).await.context("failed to read")?;
                if n == 0 {
                    return Ok(());
                }
                read.extend_from_slice(&buffer[..n]);
                while let Some((length, kind, flags)) = next_frame(&read) {
                    let answer = match (kind, flags & 1) {
                        (4, 0) => frame(4, 1, 0, &[]),
                        (6, 0) => frame(6, 1, 0, &read[9..length]),
                        _ => Vec::new(),
                    };
                    read.drain(..length);
                    writer.write_all(&answer).await.context("failed to send")?;
                }
            }
        }
    }
    Ok(())
}

/// A frame of HTTP/2: type, flags, stream, content.
fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap_or(0).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// Length with its head, type and flags of the frame that `bytes` begin with, if it is whole.
fn next_frame(bytes: &[u8]) -> Option<(usize, u8, u8)> {
    let head = bytes.get(..9)?;
    let length = 9 + u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    (bytes.len() >= length).then_some((length, head[3], head[4]))
}

/// The fields of a request, as literals; names and values are short.
fn head(method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap_or(0)], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}
