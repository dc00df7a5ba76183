//! Puts a server under load over kept-alive connections and records what each call saw.
//!
//! Every connection makes one call at a time and goes through all request shapes in turn, so that
//! a connection's state after one kind of request is tested by the next.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval_at, sleep, timeout};

use crate::history::{ConnectionLog, End, Outcome, ServedBy};

mod pattern;
use pattern::{Pattern, PatternBody};

/// Response header that names the generation which served a call.
pub const GENERATION_HEADER: &str = "wrt-generation";

/// Pause after a failed call. A server that is away would otherwise be counted as thousands of
/// failures a second, and a client would not do that either.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What a request looks like.
#[derive(Debug, Clone)]
pub struct Shape {
    kind: &'static str,
    method: Method,
    path: String,
    n_chunks: usize,
    chunk_len: usize,
    answer: Answer,
}

/// What the body of a response has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Any,
    Echo,
    Number,
}

impl Shape {
    /// A GET; any response body is read and dropped.
    #[must_use]
    pub fn get(path: &str) -> Self {
        let (kind, method, path) = ("GET", Method::GET, path.to_owned());
        Self { kind, method, path, n_chunks: 0, chunk_len: 0, answer: Answer::Any }
    }

    /// A POST of `len` bytes at once, with their length, that must come back as they are.
    #[must_use]
    pub fn post(path: &str, len: usize) -> Self {
        let (kind, method, path) = ("POST", Method::POST, path.to_owned());
        Self { kind, method, path, n_chunks: 1, chunk_len: len, answer: Answer::Echo }
    }

    /// A POST whose body is sent chunk by chunk without a length, and must come back as it is.
    #[must_use]
    pub fn upload(path: &str, n_chunks: usize, chunk_len: usize) -> Self {
        let (kind, method, path) = ("upload", Method::POST, path.to_owned());
        Self { kind, method, path, n_chunks, chunk_len, answer: Answer::Echo }
    }

    /// The same request to a server that answers its body with something else.
    #[must_use]
    pub fn without_echo(self) -> Self {
        Self { answer: Answer::Any, ..self }
    }

    /// The same request to a server that answers with a number, which is kept in
    /// [`ConnectionLog::counts`].
    #[must_use]
    pub fn with_number(self) -> Self {
        Self { answer: Answer::Number, ..self }
    }

    fn request(&self, host: &str, pattern: Pattern) -> Result<Request<PatternBody>> {
        Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(http::header::HOST, host)
            .body(pattern.body())
            .with_context(|| format!("failed to make a request for `{}`", self.path))
    }
}

/// A load and its bounds.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The server.
    pub address: SocketAddr,
    /// Connections, each with one call at a time.
    pub n_connections: usize,
    /// The shapes that each connection goes through, each starting at another one.
    pub shapes: Vec<Shape>,
    /// Calls per second over all connections; without one, each answer is followed by a call.
    pub rate: Option<f64>,
    /// Whether a call whose time has passed is made late; it is left out otherwise.
    pub catches_up: bool,
    /// No call begins after this many.
    pub max_calls: u64,
    /// No call begins after this time.
    pub max_time: Duration,
    /// A call that takes longer has failed.
    pub call_timeout: Duration,
}

impl LoadPlan {
    /// 64 connections in a closed loop for at most an hour: change what should differ.
    #[must_use]
    pub fn new(address: SocketAddr, shapes: Vec<Shape>) -> Self {
        Self {
            address,
            n_connections: 64,
            shapes,
            rate: None,
            catches_up: false,
            max_calls: u64::MAX,
            max_time: Duration::from_secs(3600),
            call_timeout: Duration::from_secs(30),
        }
    }
}

/// A load under way. Dropping it lets it run to its bounds.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<ConnectionLog>>,
}

/// What a load did.
#[derive(Debug)]
pub struct LoadResult {
    /// Every call, by connection.
    pub connections: Vec<ConnectionLog>,
    /// Connections opened beyond the first of each task: those that the server lost.
    pub n_reconnects: u64,
    /// From start to the last call's end.
    pub elapsed: Duration,
}

#[derive(Debug)]
struct Shared {
    plan: LoadPlan,
    started_at: Instant,
    is_stopped: AtomicBool,
    n_begun: AtomicU64,
    n_ended: AtomicU64,
    n_reconnects: AtomicU64,
}

impl Load {
    /// Starts `plan` on the current runtime.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and without a shape.
    #[must_use]
    pub fn start(plan: LoadPlan) -> Self {
        assert!(!plan.shapes.is_empty(), "a load has at least one shape");
        let shared = Arc::new(Shared {
            plan,
            started_at: Instant::now(),
            is_stopped: AtomicBool::new(false),
            n_begun: AtomicU64::new(0),
            n_ended: AtomicU64::new(0),
            n_reconnects: AtomicU64::new(0),
        });
        let run = |index| tokio::spawn(Connection::new(Arc::clone(&shared), index).run());
        let tasks = (0..shared.plan.n_connections).map(run).collect();
        Self { shared, tasks }
    }

    /// Calls ended so far.
    #[must_use]
    pub fn n_ended(&self) -> u64 {
        // Ordering: a count to look at; nothing is read because of it.
        self.shared.n_ended.load(Ordering::Relaxed)
    }

    /// Begins no further call, and gives the record when those under way have ended.
    ///
    /// # Errors
    ///
    /// When a connection's task panicked.
    pub async fn stop(self) -> Result<LoadResult> {
        // Ordering: the tasks only have to see it soon; the record is handed over by joining.
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        self.finish().await
    }

    /// Gives the record when the plan's bounds are reached.
    ///
    /// # Errors
    ///
    /// When a connection's task panicked.
    pub async fn finish(self) -> Result<LoadResult> {
        let mut connections = Vec::with_capacity(self.tasks.len());
        for task in self.tasks {
            connections.push(task.await.context("a connection's task ended early")?);
        }
        Ok(LoadResult {
            connections,
            // Ordering: the tasks that count have been joined.
            n_reconnects: self.shared.n_reconnects.load(Ordering::Relaxed),
            elapsed: self.shared.started_at.elapsed(),
        })
    }
}

impl Shared {
    /// Whether one more call may begin; takes a place when so.
    fn may_begin(&self) -> bool {
        // Ordering: the flag and the count guard no other data.
        !self.is_stopped.load(Ordering::Relaxed)
            && self.started_at.elapsed() < self.plan.max_time
            && self.n_begun.fetch_add(1, Ordering::Relaxed) < self.plan.max_calls
    }
}

/// One connection's task.
struct Connection {
    shared: Arc<Shared>,
    index: usize,
    host: String,
    sender: Option<SendRequest<PatternBody>>,
    n_connects: u64,
    /// The generation named last, to share its text between the many calls that name it.
    last_served_by: Option<(Bytes, ServedBy)>,
}

/// What a response names as its generations.
#[derive(Default)]
struct Named {
    first: Option<ServedBy>,
    other: Option<ServedBy>,
}

impl Connection {
    fn new(shared: Arc<Shared>, index: usize) -> Self {
        let host = shared.plan.address.to_string();
        Self { shared, index, host, sender: None, n_connects: 0, last_served_by: None }
    }

    async fn run(mut self) -> ConnectionLog {
        let shared = Arc::clone(&self.shared);
        let plan = &shared.plan;
        let mut log = ConnectionLog::default();
        let mut ticks = plan.rate.map(|rate| ticks(plan, rate, self.index));
        for sequence in self.index.. {
            let due_at = match &mut ticks {
                Some(ticks) => Some(ticks.tick().await.into_std()),
                None => None,
            };
            if !shared.may_begin() {
                break;
            }
            let shape = &plan.shapes[sequence % plan.shapes.len()];
            // Neighbouring calls and connections get different bodies, so a mix-up shows.
            let seed = sequence.wrapping_mul(31).wrapping_add(self.index);
            let pattern = Pattern::new(seed, shape.n_chunks, shape.chunk_len);

            let mut named = Named::default();
            let started_at = Instant::now();
            let id = log.begin_due(shape.kind, due_at.unwrap_or(started_at), started_at);
            let outcome = timeout(plan.call_timeout, self.call(shape, pattern, &mut named)).await;
            let at = Instant::now();
            let outcome = match outcome {
                Ok(Ok((status, number))) => {
                    log.counts.extend(number);
                    Outcome::Answered(status)
                }
                Ok(Err(error)) => Outcome::Failed(format!("{error:#}").into()),
                Err(_) => {
                    let why = format!("no whole answer within {:?}", plan.call_timeout);
                    Outcome::Failed(why.into())
                }
            };
            let failed = matches!(outcome, Outcome::Failed(_));
            log.end(id, End { at, outcome, served_by: named.first, also_served_by: named.other });
            // Ordering: a count to look at; nothing is read because of it.
            shared.n_ended.fetch_add(1, Ordering::Relaxed);
            if failed {
                self.sender = None;
                sleep(PAUSE_AFTER_FAILURE).await;
            }
        }
        log
    }

    /// One request and its whole response; gives the status, and the number if one was asked for.
    async fn call(
        &mut self,
        shape: &Shape,
        pattern: Pattern,
        named: &mut Named,
    ) -> Result<(u16, Option<u64>)> {
        let request = shape.request(&self.host, pattern)?;
        let sender = self.connected().await?;
        let response = sender.send_request(request).await.context("failed to get a response")?;
        let (head, body) = response.into_parts();
        self.note_generations(&head.headers, named)?;
        // The body of a refusal is a message, not what was asked for.
        let answer = if head.status.is_success() { shape.answer } else { Answer::Any };
        let echoes = answer == Answer::Echo;
        let (mut body, mut n_read, mut text) = (pin!(body), 0, vec![]);
        while let Some(frame) = body.frame().await {
            let frame = frame.context("failed to read the response's body")?;
            if let Some(trailers) = frame.trailers_ref() {
                self.note_generations(trailers, named)?;
            } else if let Some(data) = frame.data_ref() {
                match answer {
                    Answer::Any => {}
                    Answer::Echo => {
                        ensure!(pattern.has_at(n_read, data), "wrong echo near byte {n_read}");
                        n_read += data.len();
                    }
                    Answer::Number => text.extend_from_slice(data),
                }
            }
        }
        ensure!(!echoes || n_read == pattern.len(), "echo of {n_read} of {} bytes", pattern.len());
        let number = if answer == Answer::Number { Some(number(&text)?) } else { None };
        Ok((head.status.as_u16(), number))
    }

    /// The connection, opened when there is none or the server has closed it.
    async fn connected(&mut self) -> Result<&mut SendRequest<PatternBody>> {
        let is_open = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            self.n_connects += 1;
            if self.n_connects > 1 {
                // Ordering: read only after this task has been joined.
                self.shared.n_reconnects.fetch_add(1, Ordering::Relaxed);
            }
            let address = self.shared.plan.address;
            let stream = TcpStream::connect(address).await.context("failed to connect")?;
            stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
            let (sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.context("failed to shake hands")?;
            // Its error reaches the call under way through the sender.
            tokio::spawn(connection);
            self.sender = Some(sender);
        }
        self.sender.as_mut().context("expected an open connection")
    }

    fn note_generations(&mut self, headers: &HeaderMap, named: &mut Named) -> Result<()> {
        for value in headers.get_all(GENERATION_HEADER) {
            let served_by = match &self.last_served_by {
                Some((text, served_by)) if text == value.as_bytes() => served_by.clone(),
                _ => {
                    let text = value.to_str().context("the generation's header is not text")?;
                    let served_by: ServedBy = text.parse()?;
                    let text = Bytes::copy_from_slice(value.as_bytes());
                    self.last_served_by.insert((text, served_by)).1.clone()
                }
            };
            match &named.first {
                None => named.first = Some(served_by),
                Some(first) if *first != served_by => named.other = Some(served_by),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// The number that a response's body is.
fn number(body: &[u8]) -> Result<u64> {
    let number = std::str::from_utf8(body).ok().and_then(|text| text.trim().parse().ok());
    number.with_context(|| {
        let found = String::from_utf8_lossy(body);
        format!("expected a number, found `{:.80}`", found.escape_debug().to_string())
    })
}

/// The beats of connection `index`, shifted so that all connections together make an even rate.
fn ticks(plan: &LoadPlan, rate: f64, index: usize) -> Interval {
    let period = Duration::from_secs_f64(plan.n_connections as f64 / rate);
    let offset = period.mul_f64(index as f64 / plan.n_connections as f64);
    let mut ticks = interval_at(tokio::time::Instant::now() + offset, period);
    // A slow answer costs the beats it covers, as catching up would be a burst of its own; unless
    // it is asked how late each call is.
    ticks.set_missed_tick_behavior(match plan.catches_up {
        true => MissedTickBehavior::Burst,
        false => MissedTickBehavior::Skip,
    });
    ticks
}
