//! A response that takes its time: sent to an echo piece by piece, and read back as it comes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wrt_test_support::process::WAIT_LIMIT;

use crate::http1;

/// Pause between two pieces.
const PAUSE: Duration = Duration::from_millis(100);

/// Streams a body to `path` for `time`; an error unless the whole of it comes back as one response.
pub(crate) fn echo(address: SocketAddr, path: &str, time: Duration) -> Result<()> {
    let mut stream = TcpStream::connect(address).context("failed to connect")?;
    stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
    stream.set_read_timeout(Some(WAIT_LIMIT)).context("failed to set a timeout")?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ntransfer-encoding: chunked\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).context("failed to send a request")?;
    let mut sent = String::new();
    let started_at = Instant::now();
    while started_at.elapsed() < time {
        let piece = format!("piece {:08}\n", sent.len());
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        stream.write_all(chunk.as_bytes()).context("failed to send a piece")?;
        sent += &piece;
        thread::sleep(PAUSE);
    }
    stream.write_all(b"0\r\n\r\n").context("failed to end a request")?;
    let mut response = vec![];
    // Ten seconds of pieces fit into the buffers of the sockets, so reading can wait until here.
    stream.read_to_end(&mut response).context("failed to read a response")?;
    let found = http1::find_response(&response)?.context("expected a whole response")?;
    ensure!(found.status == 200, "expected status 200, found {}", found.status);
    let received = http1::chunked_body(&response)?;
    ensure!(received == sent.as_bytes(), "expected what was sent, found something else");
    Ok(())
}
