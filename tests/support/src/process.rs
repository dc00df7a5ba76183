//! Starts a server as its users do, reads where it listens and what it reports, and ends it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{env, thread};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::guests;

/// How long anything is waited for. Long, because a loaded machine is slow and a wrong result
/// shows at once; it only bounds a test that has already failed.
pub const WAIT_LIMIT: Duration = Duration::from_secs(120);

/// How long a server that is dropped, and so of no interest any more, has to end by itself.
const END_LIMIT: Duration = Duration::from_secs(3);

/// How often a process is asked whether it has ended.
const END_POLL: Duration = Duration::from_millis(5);

/// Lines of standard error kept for messages about a failed test.
const N_STDERR_LINES: usize = 200;

/// How it is known where a server listens.
#[derive(Debug, Clone, Copy)]
pub enum Ready {
    /// The first line of standard error has this before the URL.
    FirstLine(&'static str),
    /// Some line of standard error has this before the URL.
    AnyLine(&'static str),
    /// It was told to; nothing is waited for.
    At(SocketAddr),
}

impl Ready {
    /// The promise of `wrt dev` and `wrt serve`.
    pub const WRT: Self = Self::FirstLine("listening on ");
    /// What `wasmtime serve` says.
    pub const WASMTIME: Self = Self::AnyLine("Serving HTTP on ");
}

/// One JSON object that the server wrote to standard output.
#[derive(Debug, Clone)]
pub struct Event {
    /// When this process had read it.
    pub heard_at: Instant,
    /// The object.
    pub json: Value,
}

impl Event {
    /// Whether this is an event of kind `name`.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.json["event"] == name
    }

    /// The text of field `name`; empty when there is none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.json[name].as_str().unwrap_or_default()
    }
}

/// A running server; dropping it ends it and what it started.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
    heard: Arc<Heard>,
}

/// What the server has said so far.
#[derive(Debug, Default)]
struct Heard {
    state: Mutex<HeardState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct HeardState {
    events: Vec<Event>,
    stderr: VecDeque<String>,
    n_stderr_lines: usize,
    address: Option<SocketAddr>,
    n_open_streams: usize,
}

impl ServerProcess {
    /// Starts `wrt` with `arguments` and waits until it says where it listens.
    ///
    /// # Errors
    ///
    /// When the binary is missing, or its first line is not `listening on http://HOST:PORT`.
    pub fn wrt<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut command = Command::new(wrt_binary()?);
        command.args(arguments);
        Self::start(command, Ready::WRT)
    }

    /// Starts `command` in a process group of its own and waits until it is `ready`.
    ///
    /// # Errors
    ///
    /// When it does not start, or ends or stays silent instead of saying where it listens.
    pub fn start(mut command: Command, ready: Ready) -> Result<Self> {
        // A group of its own, so that whatever it starts can be ended with it.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child =
            command.spawn().with_context(|| format!("failed to start `{command:?}`"))?;
        let streams = child.stdout.take().zip(child.stderr.take());
        let (stdout, stderr) = streams.context("expected both output streams to be pipes")?;
        let heard = Arc::new(Heard::default());
        heard.lock().n_open_streams = 2;
        listen(stdout, &heard, HeardState::hear_stdout);
        listen(stderr, &heard, move |state, line| state.hear_stderr(line, ready));

        // From here on, an early return drops the server and so ends it.
        let placeholder = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, address: placeholder, heard };
        server.address = match ready {
            Ready::At(address) => address,
            Ready::FirstLine(words) | Ready::AnyLine(words) => server
                .wait_until(&format!("`{words}URL` of `{command:?}`"), |state| {
                    let too_late = matches!(ready, Ready::FirstLine(_)) && state.n_stderr_lines > 0;
                    match state.address {
                        None if too_late => Some(Err(())),
                        address => address.map(Ok),
                    }
                })?
                .or_else(|()| server.fail(&format!("expected `{words}URL` as the first line")))?,
        };
        Ok(server)
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many events there have been: where to wait from for what happens next.
    #[must_use]
    pub fn n_events(&self) -> usize {
        self.heard.lock().events.len()
    }

    /// The events so far, from number `from` on.
    #[must_use]
    pub fn events(&self, from: usize) -> Vec<Event> {
        self.heard.lock().events.get(from..).unwrap_or_default().to_vec()
    }

    /// The last lines of standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.heard.lock().stderr_text()
    }

    /// Waits for an event, number `from` or later, that `predicate` holds for.
    ///
    /// # Errors
    ///
    /// When the server ends, or [`WAIT_LIMIT`] passes, without one; the error says `what` was
    /// waited for and what the server said instead.
    pub fn wait_for(
        &self,
        what: &str,
        from: usize,
        predicate: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        let mut next = from;
        self.wait_until(what, |state| {
            let found = state.events.get(next..)?.iter().find(|event| predicate(event)).cloned();
            next = state.events.len();
            found
        })
    }

    /// Waits for a line of standard error that contains `words`.
    ///
    /// # Errors
    ///
    /// As [`ServerProcess::wait_for`].
    pub fn wait_for_stderr(&self, words: &str) -> Result<String> {
        self.wait_until(&format!("a line with `{words}`"), |state| {
            state.stderr.iter().find(|line| line.contains(words)).cloned()
        })
    }

    /// Asks the server to end, as a service manager would, and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end within [`WAIT_LIMIT`].
    pub fn terminate(mut self) -> Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .context("failed to send SIGTERM")?;
        match self.wait_for_end(WAIT_LIMIT)? {
            Some(status) => Ok(status),
            None => self.fail("expected the process to end after SIGTERM"),
        }
    }

    /// Ends the server and what it started at once, as a crash would.
    ///
    /// # Errors
    ///
    /// When the signal cannot be sent, or the process cannot be waited for.
    pub fn kill(mut self) -> Result<()> {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL)
            .context("failed to send SIGKILL")?;
        self.child.wait().context("failed to wait for the process").map(drop)
    }

    fn wait_for_end(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            let ended = self.child.try_wait().context("failed to wait for the process")?;
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            thread::sleep(END_POLL);
        }
    }

    fn wait_until<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&HeardState) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + WAIT_LIMIT;
        let mut state = self.heard.lock();
        loop {
            if let Some(found) = find(&state) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.n_open_streams == 0 || left.is_zero() {
                drop(state);
                return self.fail(&format!("expected {what}, in vain"));
            }
            state = self
                .heard
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// An error with what the server said last.
    fn fail<T>(&self, message: &str) -> Result<T> {
        let state = self.heard.lock();
        let mut text = message.to_owned();
        let n_skipped = state.events.len().saturating_sub(10);
        for event in &state.events[n_skipped..] {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\n  event: {}", event.json);
        }
        bail!("{text}\n{}", state.stderr_text())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let group = Pid::from_child(&self.child);
        // Nobody is left to tell about a failure here, and each step is tried in any case.
        let _ = kill_process_group(group, Signal::TERM);
        let _ = self.wait_for_end(END_LIMIT);
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, HeardState> {
        // Each change is one push or store, so a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HeardState {
    fn hear_stdout(&mut self, line: String) {
        if let Ok(json) = serde_json::from_str(&line) {
            self.events.push(Event { heard_at: Instant::now(), json });
        }
    }

    fn hear_stderr(&mut self, line: String, ready: Ready) {
        let may_tell = match ready {
            Ready::FirstLine(_) => self.n_stderr_lines == 0,
            Ready::AnyLine(_) => self.address.is_none(),
            Ready::At(_) => false,
        };
        if let (true, Ready::FirstLine(words) | Ready::AnyLine(words)) = (may_tell, ready) {
            self.address = address_after(&line, words);
        }
        self.n_stderr_lines += 1;
        if self.stderr.len() == N_STDERR_LINES {
            self.stderr.pop_front();
        }
        self.stderr.push_back(line);
    }

    fn stderr_text(&self) -> String {
        self.stderr.iter().flat_map(|line| ["  stderr: ", line, "\n"]).collect()
    }
}

/// Reads the address from `…WORDShttp://HOST:PORT…`.
fn address_after(line: &str, words: &str) -> Option<SocketAddr> {
    let url = line.split_once(words)?.1.strip_prefix("http://")?;
    let end = url.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(url.len());
    url[..end].parse().ok()
}

/// Hands every line of `stream` to `hear`, on a thread that ends with the stream.
fn listen(
    stream: impl Read + Send + 'static,
    heard: &Arc<Heard>,
    mut hear: impl FnMut(&mut HeardState, String) + Send + 'static,
) {
    let heard = Arc::clone(heard);
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            hear(&mut heard.lock(), String::from_utf8_lossy(&line).into_owned());
            heard.changed.notify_all();
        }
        heard.lock().n_open_streams -= 1;
        heard.changed.notify_all();
    });
}

/// Path of the `wrt` binary: `WRT_BIN`, else beside this executable, else in the target directory.
///
/// # Errors
///
/// When it is in none of these places.
pub fn wrt_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("WRT_BIN") {
        return Ok(path.into());
    }
    let here = env::current_exe().context("failed to find the path of this executable")?;
    // A test executable is in `PROFILE/deps`, a binary in `PROFILE`.
    let beside = here.ancestors().skip(1).take(2).map(|directory| directory.join("wrt"));
    let candidates: Vec<_> = beside.chain([guests::target_dir().join("debug/wrt")]).collect();
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => bail!(
            "expected the binary `wrt` in one of {candidates:?}, found it in none; build it with \
             `cargo build -p wrt-cli`, or name it in `WRT_BIN`"
        ),
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
