//! Asks a server again and again over one kept-alive connection until an answer is the awaited one.

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

/// Pause before a server that is away is tried again.
const PAUSE_WHEN_AWAY: Duration = Duration::from_millis(5);

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Probe {
    address: SocketAddr,
    request: Vec<u8>,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Probe {
    pub(crate) fn new(address: SocketAddr, path: &str) -> Self {
        let request = http1::get(path, &address.to_string());
        Self { address, request, stream: None, buffer: Vec::new() }
    }

    /// Asks until an answer of status 200 has `words` in its head or body; gives the instant at
    /// which that answer was there. A server that refuses or is away is asked again.
    pub(crate) fn wait_for(&mut self, words: &str) -> Result<Instant> {
        let deadline = Instant::now() + WAIT_LIMIT;
        loop {
            let answer = self.ask();
            let at = Instant::now();
            let pause = match &answer {
                Ok(200) if memchr::memmem::find(&self.buffer, words.as_bytes()).is_some() => {
                    return Ok(at);
                }
                Ok(_) => PAUSE,
                Err(_) => {
                    self.stream = None;
                    PAUSE_WHEN_AWAY
                }
            };
            if at > deadline {
                let text = String::from_utf8_lossy(&self.buffer);
                let last = match answer {
                    Ok(status) => format!("status {status}: {}", text.escape_debug()),
                    Err(error) => format!("{error:#}"),
                };
                bail!("expected an answer with `{words}`, the last was {last:.500}");
            }
            thread::sleep(pause);
        }
    }

    /// One question; its answer is in the buffer. Gives the status.
    fn ask(&mut self) -> Result<u16> {
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
        stream.write_all(&self.request).context("failed to send a request")?;
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
