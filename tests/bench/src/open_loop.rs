//! Requests at a constant rate, whatever the answers do: the latency of each counts from the instant
//! at which it was due, so that a server which stalls is charged with all that waited meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use wrt_test_support::process::WAIT_LIMIT;

use crate::http1;
use crate::stats::Samples;

/// Room for one read; a response of the sizes measured here fits.
const READ_LEN: usize = 16 * 1024;

/// Between the connections and the first request.
const HEAD_START: Duration = Duration::from_millis(20);

/// When requests are due: evenly spread, and each is taken by the first connection that is free.
#[derive(Debug)]
struct Schedule {
    start: Instant,
    period: Duration,
    n_requests: u32,
    n_taken: AtomicU32,
}

impl Schedule {
    fn new(start: Instant, per_second: f64, time: Duration) -> Self {
        // A few million at most.
        let n_requests = (per_second * time.as_secs_f64()) as u32;
        let period = Duration::from_secs_f64(1.0 / per_second);
        Self { start, period, n_requests, n_taken: AtomicU32::new(0) }
    }

    /// When the next request is due; `None` when there are no more.
    fn take(&self) -> Option<Instant> {
        // Ordering: each number is taken once, and nothing else is handed over.
        let number = self.n_taken.fetch_add(1, Ordering::Relaxed);
        (number < self.n_requests).then(|| self.start + self.period * number)
    }
}

/// Milliseconds from the instant each request was due to the end of its answer.
pub(crate) fn latencies(
    address: SocketAddr,
    path: &str,
    n_connections: usize,
    per_second: f64,
    time: Duration,
) -> Result<Samples> {
    let request = http1::get(path, &address.to_string());
    let connect = || -> Result<TcpStream> {
        let stream = TcpStream::connect(address).context("failed to connect")?;
        stream.set_nodelay(true).context("failed to set `TCP_NODELAY`")?;
        stream.set_read_timeout(Some(WAIT_LIMIT)).context("failed to set a timeout")?;
        Ok(stream)
    };
    let streams = (0..n_connections).map(|_| connect()).collect::<Result<Vec<_>>>()?;
    let schedule = Schedule::new(Instant::now() + HEAD_START, per_second, time);
    thread::scope(|scope| {
        // A thread for each connection: the timers of an async runtime are too coarse for this.
        let ask = |stream| ask_when_due(stream, &request, &schedule);
        let threads: Vec<_> =
            streams.into_iter().map(|stream| scope.spawn(move || ask(stream))).collect();
        let mut all = Samples::default();
        for thread in threads {
            let ms = thread.join().map_err(|_| anyhow!("a connection's thread panicked"))??;
            ms.into_iter().for_each(|ms| all.push(ms));
        }
        Ok(all)
    })
}

fn ask_when_due(mut stream: TcpStream, request: &[u8], schedule: &Schedule) -> Result<Vec<f64>> {
    let (mut latencies, mut buffer) = (vec![], vec![]);
    let mut piece = vec![0; READ_LEN];
    while let Some(due_at) = schedule.take() {
        thread::sleep(due_at.saturating_duration_since(Instant::now()));
        stream.write_all(request).context("failed to send a request")?;
        buffer.clear();
        let found = loop {
            let n_read = stream.read(&mut piece).context("failed to read a response")?;
            ensure!(n_read > 0, "the connection was closed");
            buffer.extend_from_slice(&piece[..n_read]);
            if let Some(found) = http1::find_response(&buffer)? {
                break found;
            }
        };
        latencies.push(due_at.elapsed().as_secs_f64() * 1e3);
        ensure!(found.status == 200, "expected status 200, found {}", found.status);
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_their_times_however_late_they_are_taken() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 100.0, Duration::from_millis(30));
        let due: Vec<_> = std::iter::from_fn(|| schedule.take()).collect();
        let ms = |ms| start + Duration::from_millis(ms);
        assert_eq!(due, [ms(0), ms(10), ms(20)]);
        assert_eq!(schedule.take(), None);
    }
}
