//! Asks a server over one kept-alive connection, once or until an answer is the awaited one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use wrt_test_support::process::WAIT_LIMIT;

use crate::http1;

/// Pause between two questions: what a figure may be off by. Shorter ones would take the processor
/// from the compiler that is being waited for.
const PAUSE: Duration = Duration::from_millis(3);

/// The same where nothing is compiled, and the figure is a few milliseconds itself.
const SHORT_PAUSE: Duration = Duration::from_micros(500);

/// Pause before a server that is away is tried again.
const PAUSE_WHEN_AWAY: Duration = Duration::from_millis(5);

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Probe {
    address: SocketAddr,
    pause: Duration,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Probe {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, pause: PAUSE, stream: None, buffer: Vec::new() }
    }

    /// Asks more often, where the server does not compile meanwhile.
    pub(crate) fn eager(address: SocketAddr) -> Self {
        Self { pause: SHORT_PAUSE, ..Self::new(address) }
    }

    /// Asks for `path` until an answer of status 200 has `words` in its head or body; gives the
    /// instant at which that answer was there. A server that refuses or is away is asked again.
    pub(crate) fn wait_for(&mut self, path: &str, words: &str) -> Result<Instant> {
        let request = http1::get(path, &self.address.to_string());
        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            let answer = self.ask(&request);
            let at = Instant::now();
            let pause = match &answer {
                Ok(200) if self.has(words) => return Ok(at),
                Ok(_) => self.pause,
                Err(_) => PAUSE_WHEN_AWAY,
            };
            if at > deadline {
                let last = match answer {
                    Ok(status) => format!("status {status}: {}", self.text().escape_debug()),
                    Err(error) => format!("{error:#}"),
                };
                bail!("expected an answer with `{words}`, the last was {last:.500}");
            }
            thread::sleep(pause);
        }
    }

    /// Asks for `path` once; gives the status.
    pub(crate) fn get(&mut self, path: &str) -> Result<u16> {
        let request = http1::get(path, &self.address.to_string());
        self.ask(&request)
    }

    /// Whether the last answer has `words` in its head or body.
    pub(crate) fn has(&self, words: &str) -> bool {
        memchr::memmem::find(&self.buffer, words.as_bytes()).is_some()
    }

    /// The last answer, head and body.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.buffer).into_owned()
    }

    /// One question; its answer is in the buffer. After an error, the next one connects anew.
    fn ask(&mut self, request: &[u8]) -> Result<u16> {
        let answer = self.exchange(request);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.buffer.clear();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).context("failed to connect")?;
                stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
                stream.set_read_timeout(Some(WAIT_LIMIT)).context("failed to set a timeout")?;
                none.insert(stream)
            }
        };
        stream.write_all(request).context("failed to send a request")?;
        let mut piece = [0; 16 * 1024];
        loop {
            let n_read = stream.read(&mut piece).context("failed to read a response")?;
            ensure!(n_read > 0, "the connection was closed");
            self.buffer.extend_from_slice(&piece[..n_read]);
            if let Some(found) = http1::find_response(&self.buffer)? {
                return Ok(found.status);
            }
        }
    }
}
