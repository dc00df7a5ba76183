//! As many GETs as a server answers over some kept-alive connections, for little processor time.
//!
//! It shares the machine with the server, so it writes one ready-made request again and again from
//! one thread and looks at no more of a response than its end; what is recorded per call and judged
//! is the other generator's job.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http1;

/// Room for one read; a response of the sizes measured here fits.
const READ_LEN: usize = 16 * 1024;

/// Requests per second that `address` answers with 200 over `n_connections` in `time`.
pub(crate) fn requests_per_second(
    address: SocketAddr,
    path: &str,
    n_connections: usize,
    time: Duration,
) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the load's runtime")?;
    let request: &[u8] = &http1::get(path, &address.to_string());
    let request: std::sync::Arc<[u8]> = request.into();
    runtime.block_on(async {
        let started_at = Instant::now();
        let deadline = started_at + time;
        let connections: Vec<_> = (0..n_connections)
            .map(|_| tokio::spawn(connection(address, request.clone(), deadline)))
            .collect();
        let mut n_answers = 0;
        for connection in connections {
            n_answers += connection.await.context("a connection's task ended early")??;
        }
        Ok(n_answers as f64 / started_at.elapsed().as_secs_f64())
    })
}

/// Asks until `deadline`; gives the number of answers.
async fn connection(
    address: SocketAddr,
    request: std::sync::Arc<[u8]>,
    deadline: Instant,
) -> Result<u64> {
    let mut stream = TcpStream::connect(address).await.context("failed to connect")?;
    stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
    let mut buffer = Vec::with_capacity(READ_LEN);
    let mut n_answers = 0;
    while Instant::now() < deadline {
        buffer.clear();
        stream.write_all(&request).await.context("failed to send a request")?;
        loop {
            buffer.reserve(READ_LEN);
            let n_read = stream.read_buf(&mut buffer).await.context("failed to read a response")?;
            ensure!(n_read > 0, "the connection was closed");
            if let Some(found) = http1::find_response(&buffer)? {
                ensure!(found.status == 200, "expected status 200, found {}", found.status);
                ensure!(found.len == buffer.len(), "expected one response, found more bytes");
                break;
            }
        }
        n_answers += 1;
    }
    Ok(n_answers)
}
