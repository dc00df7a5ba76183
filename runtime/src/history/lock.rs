//! The lock of a history directory: one process at a time writes to it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The file in the directory that is locked. Its text is the number of the process that has the lock.
pub(super) const NAME: &str = "lock";

/// How long the end of the process before is waited for. A process that was stopped writes its last
/// history in some milliseconds, and one that was killed has its locks taken by the system.
const PATIENCE: Duration = Duration::from_secs(1);

/// Pause between two attempts: the system does not tell when a lock is free.
const ATTEMPT_EVERY: Duration = Duration::from_millis(10);

/// The right to write to a history directory, until it is released. The system takes the lock from a
/// process that ends, also from one that is killed.
#[derive(Debug)]
pub(super) struct Lock(Mutex<Held>);

#[derive(Debug)]
enum Held {
    /// Locked, as long as the file is open.
    Locked { _file: File },
    /// The file system knows no locks, or the disk has no room for the file: the directory is written
    /// to without one, which is better than not at all.
    Unlocked,
    /// Another process may write to the directory now.
    Released,
}

/// Another process, or another runtime of this one, has the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// The number of that process, as far as it said so.
    pub(super) holder: Option<u32>,
}

impl Lock {
    /// Locks the directory `dir`. Blocks, for as long as a process that ends may take.
    ///
    /// # Errors
    ///
    /// [`Taken`] when it is locked by somebody who goes on.
    pub(super) fn take(dir: &Path) -> Result<Self, Taken> {
        let mut options = OpenOptions::new();
        // The text stays until the lock is had: it is the other process's.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        let held = match file.open(dir.join(NAME)) {
            Ok(file) => lock(file)?,
            Err(error) => {
                tracing::debug!(%error, dir = %dir.display(), "the history is used without a lock");
                Held::Unlocked
            }
        };
        Ok(Self(Mutex::new(held)))
    }

    /// The lock of a directory that is only read.
    pub(super) fn nobody() -> Self {
        Self(Mutex::new(Held::Released))
    }

    /// Whether the system keeps every other process from writing to the directory.
    pub(super) fn is_exclusive(&self) -> bool {
        matches!(*self.held(), Held::Locked { .. })
    }

    /// Does `write` while nobody else may write to the directory; `None` when it may be another's.
    pub(super) fn while_held<T>(&self, write: impl FnOnce() -> T) -> Option<T> {
        let held = self.held();
        (!matches!(*held, Held::Released)).then(write)
    }

    /// Lets another process write to the directory. What is being written is waited for.
    pub(super) fn release(&self) {
        *self.held() = Held::Released;
    }

    /// Whoever writes waits until the result is dropped.
    #[cfg(test)]
    pub(super) fn standstill(&self) -> impl Drop {
        self.held()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // It is replaced whole, so a panic while it was held leaves it sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(mut file: File) -> Result<Held, Taken> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                std::thread::sleep(ATTEMPT_EVERY);
            }
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Only for the message; the other process may be about to write it.
                let _ = file.read_to_string(&mut text);
                return Err(Taken { holder: text.trim().parse().ok() });
            }
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "the file system has no locks");
                return Ok(Held::Unlocked);
            }
        }
    }
    let told = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = told {
        // The lock counts, and its text only helps the reader of a message.
        tracing::debug!(%error, "the holder of the history's lock is not named");
    }
    Ok(Held::Locked { _file: file })
}
