//! The steady clock that lets guests be interrupted: one thread for an engine's life.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two epochs: how long a guest that only computes can delay the other tasks of its
/// thread, and the precision of deadlines. 10 ms costs 100 wake-ups a second.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Advances the epoch every [`TICK`]; stops and joins its thread when dropped.
#[derive(Debug)]
pub(super) struct EpochTicker {
    /// Dropped to stop the thread.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EpochTicker {
    pub(super) fn start<'a>(engines: impl Iterator<Item = &'a wasmtime::Engine>) -> Self {
        // Weak, so that a store that outlives the runtime does not find a half-dropped engine.
        let engines: Vec<_> = engines.map(wasmtime::Engine::weak).collect();
        let (stop, stopped) = mpsc::channel::<()>();
        let tick = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                let mut alive = engines.iter().filter_map(wasmtime::EngineWeak::upgrade).peekable();
                if alive.peek().is_none() {
                    break;
                }
                alive.for_each(|engine| engine.increment_epoch());
            }
        };
        let thread = std::thread::Builder::new().name("wrt-epoch".to_owned()).spawn(tick);
        if let Err(error) = &thread {
            // Without the clock a looping guest would never yield; deadlines of blocked host calls
            // still hold. A machine that cannot start one thread fails elsewhere at once.
            tracing::error!(%error, "failed to start the epoch thread");
        }
        Self { stop: Some(stop), thread: thread.ok() }
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It cannot panic, and if it did, the runtime is going away anyway.
            let _ = thread.join();
        }
    }
}
