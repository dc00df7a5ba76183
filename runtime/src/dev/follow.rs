//! Follows a component file that somebody else writes, and tells when it is whole and new.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::sleep_until;

use super::Built;
use super::hints::{Hints, Inbox, Touch};
use super::hub::{Hub, Stamp, Subscription, stamp};
use super::notice::{NoticeKind, Post};
use super::sections::{Shape, shape};
use super::session::{POLL_INTERVAL, lock, with};
use super::trail::trail;
use crate::id::Digest;

/// Quiet after a file appeared: a hard link makes no further event, a writer does at once.
const CREATED_QUIET: Duration = Duration::from_millis(10);
/// Quiet after a write without a close: twice the pause of a writer that sends a block every 50 ms.
const OPEN_QUIET: Duration = Duration::from_millis(100);
/// How long a file may be missing: tools that delete and write again take far less.
const MISSING_QUIET: Duration = Duration::from_millis(200);
/// How long a file that ends amid a section waits for its rest; then it is passed on as it is, to
/// be rejected with a message.
const CUT_QUIET: Duration = Duration::from_millis(500);

/// Bytes of a file that is read: the largest component that the runtime compiles.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Looks of all files at once. Each takes a thread and the memory for a whole file, and the thousands
/// of files that a host may follow are all looked at when it starts.
static LOOKS: Semaphore = Semaphore::const_new(16);

/// What the loop of [`Follow`] waits for.
enum Event {
    /// The watcher saw something.
    Hinted(Hints),
    /// It is time to look at the file.
    Due,
    /// It is time to look, where no events come.
    LookAround,
}

/// Events that nobody has acted on yet.
struct Pending {
    since: Instant,
    last: Instant,
    due: Instant,
}

/// What is at the path.
#[derive(Debug)]
enum Found {
    Missing { message: String },
    File { digest: Digest, shape: Shape },
}

/// The task that follows one file.
#[derive(Debug)]
pub(super) struct Follow {
    path: PathBuf,
    post: Post,
    eye: Arc<Mutex<Eye>>,
    inbox: Arc<Inbox>,
    reported: Option<Digest>,
    is_missing: bool,
}

/// The part that does the looking, apart so that it can move to a blocking thread.
#[derive(Debug)]
struct Eye {
    subscription: Subscription,
    entries: BTreeSet<PathBuf>,
    /// At the last look.
    seen: Option<Stamp>,
    limit: Option<String>,
}

impl Follow {
    pub(super) fn new(path: PathBuf, hub: Arc<Hub>, post: Post) -> Self {
        let subscription = Subscription::new(hub);
        let inbox = subscription.inbox.clone();
        let eye = Eye { subscription, entries: BTreeSet::new(), seen: None, limit: None };
        Self {
            path,
            post,
            eye: Arc::new(Mutex::new(eye)),
            inbox,
            reported: None,
            is_missing: false,
        }
    }

    /// Runs for ever; a file that it is not watching is done with at the first outcome.
    pub(super) async fn run(mut self, is_watching: bool) {
        let now = Instant::now();
        let mut pending = Some(Pending { since: now, last: now, due: now });
        loop {
            let due = pending.as_ref().map(|pending| pending.due);
            let is_polling = lock(&self.eye).subscription.is_polling;
            let event = tokio::select! {
                // Hints first: what is looked at should be what was heard of.
                biased;
                hints = self.inbox.next() => Event::Hinted(hints),
                () = sleep_until(due.unwrap_or(now).into()), if due.is_some() => Event::Due,
                () = tokio::time::sleep(POLL_INTERVAL), if is_polling => Event::LookAround,
            };
            match event {
                Event::Hinted(hints) => {
                    let touch = lock(&self.eye).relevant(&hints);
                    if let (Some(touch), Some((first, last))) = (touch, hints.span) {
                        put_off(&mut pending, touch, first, last);
                    }
                }
                Event::LookAround => {
                    let path = self.path.clone();
                    if with(&self.eye, move |eye| eye.sees_change(&path)).await {
                        let now = Instant::now();
                        put_off(&mut pending, Touch::Open, now, now);
                    }
                }
                Event::Due => {
                    if let Some(now) = pending.take() {
                        pending = self.look(now).await;
                    }
                }
            }
            if pending.is_none() && !is_watching {
                return;
            }
        }
    }

    /// Looks at the file; gives back `pending` when it is not the time to say anything yet.
    async fn look(&mut self, pending: Pending) -> Option<Pending> {
        let path = self.path.clone();
        let found = {
            // It is never closed; without a permit the look is only one too many.
            let _permit = LOOKS.acquire().await;
            with(&self.eye, move |eye| eye.look(&path)).await
        };
        let name = self.path.file_name().unwrap_or_default().display().to_string();
        let limit = lock(&self.eye).limit.take();
        if let Some(message) = limit {
            self.post.info(&format!("watching `{name}`"), message);
        }
        let is_first = self.reported.is_none() && !self.is_missing;
        let quiet = match found {
            Found::Missing { .. } if is_first => Duration::ZERO,
            Found::Missing { .. } => MISSING_QUIET,
            Found::File { shape: Shape::Cut, .. } => CUT_QUIET,
            Found::File { .. } => Duration::ZERO,
        };
        let due = pending.last + quiet;
        if Instant::now() < due {
            return Some(Pending { due, ..pending });
        }
        match found {
            Found::Missing { message } => {
                if !std::mem::replace(&mut self.is_missing, true) {
                    let cause = format!("`{name}` is missing");
                    let hints = vec!["it is picked up as soon as it is there".to_owned()];
                    let kind = NoticeKind::Unavailable { message, hints };
                    self.post.send(pending.since, &cause, kind);
                }
            }
            Found::File { digest, .. } => {
                let was_missing = std::mem::take(&mut self.is_missing);
                let is_new = self.reported.replace(digest) != Some(digest);
                let cause = match (is_first, was_missing) {
                    (true, _) => "first load".to_owned(),
                    (false, true) => format!("`{name}` appeared"),
                    (false, false) => format!("`{name}` was replaced"),
                };
                if is_new {
                    let kind = NoticeKind::Built(Built::found(&self.path));
                    self.post.send(pending.since, &cause, kind);
                } else if was_missing {
                    self.post.send(pending.since, &cause, NoticeKind::Unchanged);
                }
            }
        }
        None
    }
}

impl Eye {
    /// How far along the writing is, if `hints` concern the file at all.
    fn relevant(&mut self, hints: &Hints) -> Option<Touch> {
        let mut is_gone = hints.rescan;
        for path in hints.paths.keys() {
            // A watched directory with an event of its own is gone or another one.
            is_gone |= self.subscription.forget(path);
        }
        let touches = hints.paths.iter().filter(|(path, _)| self.entries.contains(*path));
        let touch = touches.map(|(_, touch)| *touch).max();
        touch.or(is_gone.then_some(Touch::Complete))
    }

    /// Whether something changed since the last look. Blocks.
    fn sees_change(&self, path: &Path) -> bool {
        stamp(path) != self.seen
    }

    /// Looks what is there, and watches what leads there. Blocks.
    fn look(&mut self, path: &Path) -> Found {
        loop {
            let found = trail(path);
            self.entries = found.entries;
            let watched = self.subscription.follow_only(&self.entries);
            self.limit = self.limit.take().or(watched.limit);
            // Each round comes closer to the file, and links are bounded: this ends.
            if !watched.has_new {
                break;
            }
        }
        self.seen = stamp(path);
        match read(path) {
            Ok(bytes) => Found::File { digest: Digest::of(&bytes), shape: shape(&bytes) },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Found::Missing { message: format!("`{}` does not exist", path.display()) }
            }
            Err(error) => {
                let message = format!("failed to read `{}`: {error}", path.display());
                Found::Missing { message }
            }
        }
    }
}

/// The bytes of the file at `path`. What is no file is not read, since a pipe may never end, and
/// neither is what is too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if metadata.len() > MAX_BYTES {
        let message = format!("it has {} bytes, more than a component may have", metadata.len());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    // The system has words of its own for a directory.
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    fs::read(path)
}

/// Sets when to look, after events between `first` and `last` that leave the file as `touch` says.
fn put_off(pending: &mut Option<Pending>, touch: Touch, first: Instant, last: Instant) {
    let quiet = match touch {
        Touch::Complete => Duration::ZERO,
        Touch::Created => CREATED_QUIET,
        Touch::Open => OPEN_QUIET,
    };
    let since = pending.as_ref().map_or(first, |pending| pending.since);
    *pending = Some(Pending { since, last, due: last + quiet });
}
