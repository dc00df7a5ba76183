//! Writes histories on a thread of its own: in batches, only the latest of each handler.
//!
//! Not a task of the async runtime, because each write waits for the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::HandlerHistory;
use super::error::HistoryWriteError;
use super::lock::Lock;
use crate::files;
use crate::id::HandlerName;

type Flushed = Result<(), HistoryWriteError>;

/// The end that callers hold; the thread writes what is queued and ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    lock: Arc<Lock>,
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Why the last history of a handler was not written.
    failures: Mutex<BTreeMap<HandlerName, HistoryWriteError>>,
}

/// What is to be done. At most one history for each handler waits, however slow the disk is.
#[derive(Debug, Default)]
struct Queue {
    histories: BTreeMap<HandlerName, HandlerHistory>,
    flushes: Vec<oneshot::Sender<Flushed>>,
    is_closed: bool,
    /// Whether another process may have the directory when the queue is empty.
    is_released: bool,
    /// The thread has ended, which it does before it is told to only by a panic.
    is_dead: bool,
}

impl Writer {
    /// Starts the thread. Histories are written to `dir`.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(dir: PathBuf, lock: Arc<Lock>) -> std::io::Result<Self> {
        let (queue, changed, failures) = (Mutex::default(), Condvar::new(), Mutex::default());
        let shared = Arc::new(Shared { dir, lock, queue, changed, failures });
        let thread = Thread {
            shared: Arc::clone(&shared),
            failed: BTreeMap::new(),
            error: None,
            has_released: false,
        };
        std::thread::Builder::new().name("wrt-history".to_owned()).spawn(|| thread.run())?;
        Ok(Self { shared })
    }

    /// Queues `history`, in place of one that waits.
    pub(super) fn save(&self, handler: &HandlerName, history: HandlerHistory) {
        self.shared.queue().histories.insert(handler.clone(), history);
        self.shared.changed.notify_one();
    }

    /// Ready when all that was queued before is written, with the first error since the last flush.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same; the error then comes to nobody but the log.
    pub(super) async fn flush(&self) -> Flushed {
        let (done, flushed) = oneshot::channel();
        {
            let mut queue = self.shared.queue();
            if queue.is_dead {
                return Err(self.dead());
            }
            queue.flushes.push(done);
        }
        self.shared.changed.notify_one();
        // The thread answers before it ends, unless it panics.
        flushed.await.unwrap_or_else(|_| Err(self.dead()))
    }

    /// Why the last history of `handler` was not written, if it was not.
    pub(super) fn failure(&self, handler: &HandlerName) -> Option<HistoryWriteError> {
        let is_dead = self.shared.queue().is_dead;
        is_dead.then(|| self.dead()).or_else(|| self.shared.failures().get(handler).cloned())
    }

    fn dead(&self) -> HistoryWriteError {
        let source = std::io::Error::other("the thread that writes histories has ended by a panic");
        HistoryWriteError::new(self.shared.dir.clone(), source)
    }

    /// Lets another process have the directory when all that is queued is written.
    pub(super) fn release(&self) {
        let mut queue = self.shared.queue();
        queue.is_released = true;
        if queue.is_dead {
            self.shared.lock.release();
        }
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Where the history of `handler` is.
    pub(super) fn path(&self, handler: &HandlerName) -> PathBuf {
        self.shared.path(handler)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue().is_closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn path(&self, handler: &HandlerName) -> PathBuf {
        // A handler's name is letters, digits, `-` and `_`, so it is a file's name too.
        self.dir.join(format!("{handler}.json"))
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<HandlerName, HistoryWriteError>> {
        // Entries are inserted and removed whole, so a panic leaves nothing half done.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Each change is one insertion or store, so a panic leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells those who wait for the thread, or would, that it has ended.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.is_dead = true;
        if queue.is_released {
            self.0.lock.release();
        }
        // Dropping them is their answer.
        queue.flushes.clear();
    }
}

struct Thread {
    shared: Arc<Shared>,
    /// What could not be written; tried again with the next batch, if nothing newer came.
    failed: BTreeMap<HandlerName, HandlerHistory>,
    /// The first since the last flush.
    error: Option<HistoryWriteError>,
    has_released: bool,
}

impl Thread {
    fn run(mut self) {
        let _ending = Ending(Arc::clone(&self.shared));
        loop {
            let Queue { histories, flushes, is_closed, is_released, .. } = self.next();
            let mut batch = std::mem::take(&mut self.failed);
            batch.extend(histories);
            for (handler, history) in batch {
                self.write(handler, history);
            }
            if !flushes.is_empty() {
                let result = self.error.take().map_or(Ok(()), Err);
                for flush in flushes {
                    // Whoever waited may have gone.
                    let _ = flush.send(result.clone());
                }
            }
            if is_released {
                self.shared.lock.release();
                self.has_released = true;
            }
            if is_closed {
                return;
            }
        }
    }

    /// Takes what is queued, waiting for something if need be.
    fn next(&self) -> Queue {
        let mut queue = self.shared.queue();
        // A directory is released once, and what comes later is not written.
        let is_idle = |queue: &Queue| {
            let is_done = queue.is_closed || queue.is_released && !self.has_released;
            queue.histories.is_empty() && queue.flushes.is_empty() && !is_done
        };
        while is_idle(&queue) {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let histories = std::mem::take(&mut queue.histories);
        let flushes = std::mem::take(&mut queue.flushes);
        let Queue { is_closed, is_released, .. } = *queue;
        Queue { histories, flushes, is_closed, is_released, is_dead: false }
    }

    fn write(&mut self, handler: HandlerName, history: HandlerHistory) {
        let path = self.shared.path(&handler);
        let write = || {
            let text = serde_json::to_vec_pretty(&history).map_err(std::io::Error::other)?;
            files::write(&path, &[&text, b"\n"])
        };
        // Once another process may have the directory, its histories count.
        let Some(written) = self.shared.lock.while_held(write) else { return };
        match written {
            Ok(()) => drop(self.shared.failures().remove(&handler)),
            Err(source) => {
                let error = HistoryWriteError::new(path, source);
                self.shared.failures().insert(handler.clone(), error.clone());
                self.failed.insert(handler, history);
                self.error.get_or_insert(error);
            }
        }
    }
}
