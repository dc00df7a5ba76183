//! The dev session: watches the sources of handlers, builds them, and tells when bytes are new.
//!
//! Apart from the runtime because it knows nothing of generations: it turns files into
//! [`Notice`]s, and whoever receives them stages, swaps or prints.
//!
//! ```text
//! notify ─▶ hub ─▶ hints ─▶ settle ─▶ snapshot ─▶ build ─▶ Notice      a cargo package, a command
//!                       └─▶ wait for "complete" ─▶ digest ─▶ Notice    a component file
//! ```
//!
//! # Invariants
//!
//! 1. Content decides: an event is a hint where to look, never a reason to build.
//! 2. At most one build per handler runs; newer content ends it and starts the next.
//! 3. A change that arrives during a build is looked at before that build's outcome is reported.
//! 4. When the [`Session`] is gone, so are its tasks, its watches and its builds.

mod build;
mod capped;
mod cargo;
mod claims;
mod command;
mod depinfo;
mod filter;
mod follow;
mod git;
mod hints;
mod hub;
mod inputs;
mod lean;
mod lineage;
mod own;
mod package;
mod process;
mod reap;
mod rebuild;
mod record;
mod said;
mod sections;
mod session;
mod settle;
mod snapshot;
mod target;
mod text;
mod trail;
mod view;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Instant;

use crate::events::Diagnostic;
use crate::id::HandlerName;

pub use build::build_once;
#[cfg(any(feature = "fuzz", all(test, feature = "admin", feature = "dev")))]
pub(crate) use sections::shape;
pub use session::Session;

/// Where a handler's component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A cargo package that is built for `wasm32-wasip2`.
    Cargo {
        /// The directory with its `Cargo.toml`.
        dir: PathBuf,
    },
    /// A component file that somebody else writes.
    Wasm {
        /// The file; it may be a symbolic link, and it need not exist yet.
        path: PathBuf,
    },
    /// A command of the user's that writes a component.
    Command {
        /// The command, run by `sh -c`.
        command: String,
        /// The directory it runs in.
        dir: PathBuf,
        /// The component it writes, relative to `dir` unless absolute.
        output: PathBuf,
        /// Files and directories, relative to `dir` unless absolute, whose change runs it again;
        /// empty stands for all of `dir`.
        watch: Vec<PathBuf>,
    },
}

/// A handler and where its component comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedSource {
    /// The handler; every [`Notice`] about this source names it.
    pub handler: HandlerName,
    /// Where its component comes from.
    pub source: Source,
}

/// How to build and watch. `Options::default()` is what `wrt dev` does without flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Build cargo packages with the release profile.
    pub release: bool,
    /// Add the `wasm32-wasip2` target with rustup when the toolchain lacks it.
    pub add_target: bool,
    /// Keep the compiler's colours in the `rendered` texts; [`Diagnostic`]s never have any.
    pub color: bool,
    /// Go on watching after the first build; without it each handler gets one outcome and the
    /// channel closes after the last.
    pub watch: bool,
    /// Look for changes at intervals instead of asking the system for events: for network file
    /// systems and containers that deliver none.
    pub poll: bool,
    /// Where cargo puts its output, instead of where it would by itself.
    pub target_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            release: false,
            add_target: true,
            color: false,
            watch: true,
            poll: false,
            target_dir: None,
        }
    }
}

/// Something that happened to one handler's source.
#[derive(Debug, Clone)]
pub struct Notice {
    /// The handler.
    pub handler: HandlerName,
    /// When the first file event of this change arrived; the start of the session for the first.
    pub since: Instant,
    /// Why, in words: "`src/lib.rs` changed", "first build", "`x.wasm` was replaced".
    pub cause: String,
    /// What happened.
    pub kind: NoticeKind,
}

/// The kinds of [`Notice`].
///
/// A change gives `Changed` and `Building`, then one of `Built`, `BuildFailed` and `Unchanged`. A
/// newer change starts that again before the older one has an outcome. A component file gives
/// `Built` alone.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NoticeKind {
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

/// An artifact, fresh from its build or its writer.
#[derive(Debug, Clone)]
pub struct Built {
    /// The component file.
    pub path: PathBuf,
    /// Milliseconds the build took; absent for a component file that somebody else wrote.
    pub build_ms: Option<f64>,
    /// Warnings of a build that succeeded. What a command said is one note: it may be anything.
    pub diagnostics: Vec<Diagnostic>,
    /// The warnings as the compiler shows them, with its colours where [`Options::color`] is set
    /// and no other control characters.
    pub rendered: String,
    /// What was done besides building, in one line each ("added target …"). A session reports
    /// these as [`NoticeKind::Info`] while they happen, and leaves this empty.
    pub notes: Vec<String>,
}

/// A build that gave no artifact.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{message}")]
pub struct BuildFailure {
    /// One line that names the command and how it ended.
    pub message: String,
    /// What the reader can do about it.
    pub hints: Vec<String>,
    /// What the compiler said, in its order; the whole output as one entry when it is not a
    /// compiler's.
    pub diagnostics: Vec<Diagnostic>,
    /// The same as the compiler shows it, with its colours where [`Options::color`] is set and no
    /// other control characters.
    pub rendered: String,
}
