//! Writes histories on a thread of its own: in batches, only the latest of each handler.
//!
//! Not a task of the async runtime, because each write waits for the disk.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::HandlerHistory;
use super::error::HistoryWriteError;
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
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// What is to be done. At most one history for each handler waits, however slow the disk is.
#[derive(Debug, Default)]
struct Queue {
    histories: BTreeMap<HandlerName, HandlerHistory>,
    flushes: Vec<oneshot::Sender<Flushed>>,
    is_closed: bool,
}

impl Writer {
    /// Starts the thread. Histories are written to `dir`.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(dir: PathBuf) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { dir, queue: Mutex::default(), changed: Condvar::new() });
        let thread = Thread { shared: Arc::clone(&shared), failed: BTreeMap::new(), error: None };
        std::thread::Builder::new().name("wrt-history".to_owned()).spawn(|| thread.run())?;
        Ok(Self { shared })
    }

    /// Queues `history`, in place of one that waits.
    pub(super) fn save(&self, handler: &HandlerName, history: HandlerHistory) {
        self.shared.lock().histories.insert(handler.clone(), history);
        self.shared.changed.notify_one();
    }

    /// Ready when all that was queued before is written, with the first error since the last flush.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same; the error then comes to nobody but the log.
    pub(super) async fn flush(&self) -> Flushed {
        let (done, flushed) = oneshot::channel();
        self.shared.lock().flushes.push(done);
        self.shared.changed.notify_one();
        // The thread answers before it ends, and it does not end before this handle does.
        flushed.await.unwrap_or(Ok(()))
    }

    /// Where the history of `handler` is.
    pub(super) fn path(&self, handler: &HandlerName) -> PathBuf {
        self.shared.path(handler)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn path(&self, handler: &HandlerName) -> PathBuf {
        // A handler's name is letters, digits, `-` and `_`, so it is a file's name too.
        self.dir.join(format!("{handler}.json"))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Each change is one insertion or store, so a panic leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    shared: Arc<Shared>,
    /// What could not be written; tried again with the next batch, if nothing newer came.
    failed: BTreeMap<HandlerName, HandlerHistory>,
    /// The first since the last flush.
    error: Option<HistoryWriteError>,
}

impl Thread {
    fn run(mut self) {
        loop {
            let Queue { histories, flushes, is_closed } = self.next();
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
            if is_closed {
                return;
            }
        }
    }

    /// Takes what is queued, waiting for something if need be.
    fn next(&self) -> Queue {
        let mut queue = self.shared.lock();
        while queue.histories.is_empty() && queue.flushes.is_empty() && !queue.is_closed {
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let is_closed = queue.is_closed;
        Queue { is_closed, ..std::mem::take(&mut queue) }
    }

    fn write(&mut self, handler: HandlerName, history: HandlerHistory) {
        let path = self.shared.path(&handler);
        let written = serde_json::to_vec_pretty(&history)
            .map_err(std::io::Error::other)
            .and_then(|text| files::write(&path, &[&text, b"\n"]));
        if let Err(source) = written {
            if self.error.is_none() {
                let path = path.display();
                tracing::warn!(%handler, error = %source, %path, "the history was not written");
            }
            self.failed.insert(handler, history);
            self.error.get_or_insert(HistoryWriteError::new(path, source));
        }
    }
}
