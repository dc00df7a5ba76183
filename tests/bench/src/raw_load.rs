//! As many GETs as a server answers over some kept-alive connections, for little processor time.
//!
//! It shares the machine with the server, so it writes one ready-made request again and again from
//! one thread and looks at no more of a response than its end; what is recorded per call and judged
//! is the other generator's job.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http1;

/// Room for one read; a response of the sizes measured here fits.
const READ_LEN: usize = 16 * 1024;

/// How long a load is under way before it counts, so that connecting is no part of a short time.
const LEAD: Duration = Duration::from_millis(50);

/// Requests per second that `address` answers with 200 over `n_connections` in `time`.
pub(crate) fn requests_per_second(
    address: SocketAddr,
    path: &str,
    n_connections: usize,
    time: Duration,
) -> Result<f64> {
    let load = RawLoad::start(address, path, n_connections)?;
    thread::sleep(LEAD);
    let rate = load.rate_while(|| {
        thread::sleep(time);
        Ok(())
    })?;
    load.stop()?;
    Ok(rate)
}

/// A load under way, on a thread of its own.
#[derive(Debug)]
pub(crate) struct RawLoad {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    n_answers: AtomicU64,
    is_stopped: AtomicBool,
}

impl RawLoad {
    /// Starts asking `address` for `path` over `n_connections`.
    pub(crate) fn start(address: SocketAddr, path: &str, n_connections: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("failed to start the load's runtime")?;
        let request: Arc<[u8]> = http1::get(path, &address.to_string()).into();
        let shared = Arc::new(Shared::default());
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                runtime.block_on(async {
                    let connections: Vec<_> = (0..n_connections)
                        .map(|_| tokio::spawn(connection(address, request.clone(), shared.clone())))
                        .collect();
                    for connection in connections {
                        connection.await.context("a connection's task ended early")??;
                    }
                    Ok(())
                })
            }
        });
        Ok(Self { shared, thread })
    }

    /// Answers per second while `work` is done.
    pub(crate) fn rate_while(&self, work: impl FnOnce() -> Result<()>) -> Result<f64> {
        // Ordering: a counter that is only looked at.
        let n_answers = || self.shared.n_answers.load(Ordering::Relaxed);
        let (n_before, started_at) = (n_answers(), Instant::now());
        work()?;
        let seconds = started_at.elapsed().as_secs_f64();
        ensure!(!self.thread.is_finished(), "the load ended before the work that it was for");
        Ok((n_answers() - n_before) as f64 / seconds)
    }

    /// Ends it; an answer that was none with status 200 is told now.
    pub(crate) fn stop(self) -> Result<()> {
        // Ordering: nothing else is handed over with it.
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load's thread panicked"))?
    }
}

/// Asks until the load is stopped.
async fn connection(address: SocketAddr, request: Arc<[u8]>, shared: Arc<Shared>) -> Result<()> {
    let mut stream = TcpStream::connect(address).await.context("failed to connect")?;
    stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
    let mut buffer = Vec::with_capacity(READ_LEN);
    // Ordering: see where it is stored.
    while !shared.is_stopped.load(Ordering::Relaxed) {
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
        shared.n_answers.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
