//! The end of a supervisor: whoever waits for it, or asks later, is answered with how it ended.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::Operation;
use super::mailbox::Mailbox;
use crate::error::{Panic, StageError, caught};
use crate::handler::Handler;

/// How a supervisor's task is told to end: because its handler is removed, or its whole runtime
/// shuts down.
#[derive(Debug, Clone)]
pub(crate) struct Stop {
    /// Cancelled in both cases.
    pub(crate) handler: CancellationToken,
    is_removed: Arc<AtomicBool>,
}

impl Stop {
    /// The stop of one handler of a runtime that `runtime` stops.
    pub(crate) fn of(runtime: &CancellationToken) -> Self {
        Self { handler: runtime.child_token(), is_removed: Arc::default() }
    }

    /// The handler is removed.
    pub(crate) fn remove(&self) {
        // Ordering: the cancellation publishes it.
        self.is_removed.store(true, Ordering::Relaxed);
        self.handler.cancel();
    }

    /// Why nothing is published after the stop.
    pub(super) fn reason(&self) -> StageError {
        match self.is_removed.load(Ordering::Relaxed) {
            true => StageError::Removed,
            false => StageError::ShuttingDown,
        }
    }
}

/// How a supervisor's task ended, for all who ask it for something. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct End {
    stop: Stop,
    /// Set when the task ended without being told to.
    abnormal: Arc<OnceLock<String>>,
    /// Calls that were cut when the task ended.
    cut: Arc<AtomicUsize>,
    /// Cancelled when the task has ended, and it is known how.
    over: CancellationToken,
}

impl End {
    pub(super) fn new(stop: Stop) -> Self {
        let (abnormal, cut, over) = (Arc::default(), Arc::default(), CancellationToken::new());
        Self { stop, abnormal, cut, over }
    }

    /// Notes that the end of the supervisor cut `n` calls.
    pub(super) fn cut_at_end(&self, n: usize) {
        // Ordering: the cancellation of `over` publishes it.
        self.cut.store(n, Ordering::Relaxed);
    }

    /// Waits until the supervisor has ended, after its drains; returns how many calls they cut.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, dropped or not.
    pub(super) async fn over(&self) -> usize {
        self.over.cancelled().await;
        self.cut.load(Ordering::Relaxed)
    }

    /// Why a request had no answer.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, dropped or not.
    pub(super) async fn reason(&self) -> StageError {
        // A task that was not told to end drops what it has not answered as it ends.
        if !self.stop.handler.is_cancelled() {
            self.over.cancelled().await;
        }
        match self.abnormal.get() {
            Some(reason) => StageError::NoSupervisor { reason: reason.clone() },
            None => self.stop.reason(),
        }
    }
}

/// Closes a supervisor's mailbox when the supervisor's task ends, also by a panic or with the tokio
/// runtime in which it ran. What waits in the mailbox is dropped, which is its answer.
pub(super) struct Ending<R> {
    pub(super) end: End,
    pub(super) mailbox: Arc<Mailbox<Operation>>,
    pub(super) handler: Arc<Handler<R>>,
}

impl<R> Ending<R> {
    /// Runs `task`, the supervisor's loop, to its end.
    pub(super) async fn watch(self, task: impl Future<Output = ()>) {
        let run = async {
            task.await;
            Ok::<_, Panic>(())
        };
        if let Err(Panic { message }) = caught(run).await {
            tracing::error!(handler = %self.handler.name(), message, "a supervisor panicked");
            // The first reason stands.
            let _ = self.end.abnormal.set(format!("it panicked: {message}"));
        }
    }
}

impl<R> Drop for Ending<R> {
    fn drop(&mut self) {
        if !self.end.stop.handler.is_cancelled() {
            let ended = "the tokio runtime in which the handler was added has ended";
            // The first reason stands.
            let _ = self.end.abnormal.set(ended.to_owned());
        }
        self.end.over.cancel();
        drop(self.mailbox.close());
        // What serves goes on. Calls that wait for a first generation would wait in vain.
        if self.handler.serving().is_none() {
            drop(self.handler.active().close());
        }
    }
}
