//! Builds the sources of many handlers once, all at once, without a runtime to drive.

use tokio::sync::mpsc;

use super::notice::{Notice, NoticeKind, Post};
use super::session::launch;
use super::{BuildFailure, Built, Options, Session, Source};
use crate::id::HandlerName;

/// What [`build_all`] tells of one source.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum News {
    /// Something to tell people while the build goes on: a target was added, cargo waits for another
    /// cargo.
    Note {
        /// One line.
        message: String,
    },
    /// The build gave an artifact; the last news of this source.
    Built(Built),
    /// The build gave no artifact; the last news of this source.
    Failed(BuildFailure),
    /// The source is missing or unreadable; the last news of this source.
    Unavailable {
        /// One line that names the path.
        message: String,
    },
}

/// Builds `sources` once, all at once, and gives the channel on which their [`News`] arrive, each with
/// the name that its source has here. The channel closes after the last news. Relative paths are
/// relative to the current directory. For one source there is [`build_once`](super::build_once).
///
/// The builds end with the [`Session`].
///
/// # Panics
///
/// Outside a tokio runtime.
#[must_use]
pub fn build_all(
    sources: Vec<(HandlerName, Source)>,
    options: Options,
) -> (Session, mpsc::UnboundedReceiver<(HandlerName, News)>) {
    // Without bound, since each source has one outcome and a few notes.
    let (sender, receiver) = mpsc::unbounded_channel();
    let sources = sources.into_iter().map(|(handler, source)| {
        let sender = sender.clone();
        let post = Post::new(handler, move |notice| {
            let Notice { handler, kind, .. } = notice;
            if let Some(news) = News::of(kind) {
                // The receiver is gone where nobody wants to know any more.
                let _ = sender.send((handler, news));
            }
        });
        (source, post)
    });
    (launch(sources.collect(), options, false), receiver)
}

impl News {
    fn of(kind: NoticeKind) -> Option<Self> {
        match kind {
            NoticeKind::Info { message } => Some(Self::Note { message }),
            NoticeKind::Built(built) => Some(Self::Built(built)),
            NoticeKind::BuildFailed(failure) => Some(Self::Failed(failure)),
            // What the hints say is for a session, which looks for the source all the time.
            NoticeKind::Unavailable { message, .. } => Some(Self::Unavailable { message }),
            NoticeKind::Changed { .. } | NoticeKind::Building | NoticeKind::Unchanged => None,
        }
    }
}
