//! What the tasks of a session tell about one handler's source, and the post that takes it.

use std::path::PathBuf;
use std::time::Instant;

use super::{BuildFailure, Built};
use crate::id::HandlerName;

/// Something that happened to one handler's source.
#[derive(Debug, Clone)]
pub(super) struct Notice {
    /// The handler.
    pub(super) handler: HandlerName,
    /// When the first file event of this change arrived; the start of the session for the first.
    pub(super) since: Instant,
    /// Why, in words: "`src/lib.rs` changed", "first build", "`x.wasm` was replaced".
    pub(super) cause: String,
    /// What happened.
    pub(super) kind: NoticeKind,
}

/// The kinds of [`Notice`].
///
/// A change gives `Changed` and `Building`, then one of `Built`, `BuildFailed` and `Unchanged`. A
/// newer change starts that again before the older one has an outcome. A component file gives
/// `Built` alone.
#[derive(Debug, Clone)]
pub(super) enum NoticeKind {
    /// Input files differ in content from those of the last build.
    Changed {
        /// The files, relative to the source's directory where they are inside it.
        paths: Vec<PathBuf>,
    },
    /// A build started.
    Building,
    /// A build ended without an artifact; the artifact reported before it is still the latest.
    BuildFailed(BuildFailure),
    /// New artifact bytes are at `path`.
    Built(Built),
    /// The content went back to what the last reported outcome was for, and the build of what
    /// was in between is cancelled: that outcome stands.
    Unchanged,
    /// The source or its component is missing or unreadable; it is looked for all the time.
    Unavailable {
        /// One line that names the path.
        message: String,
        /// What the reader can do about it.
        hints: Vec<String>,
    },
    /// Something to tell people: a target was added, cargo waits for another cargo, a build changes
    /// its own inputs, watching fell back to polling.
    Info {
        /// One line.
        message: String,
    },
}

/// Takes the notices about one handler's source to their one reader.
///
/// The post calls its reader at once, in the task that watches or builds. The reader must not wait,
/// because that task hears of no change meanwhile.
pub(super) struct Post {
    pub(super) handler: HandlerName,
    read: Box<dyn Fn(Notice) + Send + Sync>,
}

impl Post {
    /// A post whose notices `read` takes.
    pub(super) fn new(handler: HandlerName, read: impl Fn(Notice) + Send + Sync + 'static) -> Self {
        Self { handler, read: Box::new(read) }
    }

    pub(super) fn send(&self, since: Instant, cause: &str, kind: NoticeKind) {
        let (handler, cause) = (self.handler.clone(), cause.to_owned());
        (self.read)(Notice { handler, since, cause, kind });
    }

    pub(super) fn info(&self, cause: &str, message: String) {
        self.send(Instant::now(), cause, NoticeKind::Info { message });
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("handler", &self.handler).finish_non_exhaustive()
    }
}
