//! The dev session: watches the sources of handlers, builds them, and has each handler run what is new.
//!
//! It is on top of the facade: what it drives are [`HandlerHandle`]s. Only `drive` knows them. Everything
//! before `drive` turns files into notices, and is tested without a runtime.
//!
//! ```text
//! notify ─▶ hub ─▶ hints ─▶ settle ─▶ snapshot ─▶ build ─▶ notice      a cargo package, a command
//!                       └─▶ wait for "complete" ─▶ digest ─▶ notice    a component file
//!
//! notice ─▶ drive ─▶ event, obstacle, swap
//! ```
//!
//! # Invariants
//!
//! 1. Content decides: an event is a hint where to look, never a reason to build.
//! 2. At most one build per handler runs; newer content ends it and starts the next.
//! 3. A change that arrives during a build is looked at before that build's outcome is reported.
//! 4. When the [`Session`] is gone, so are its tasks, its watches and its builds. A swap that it asked
//!    for is the supervisor's, and ends with the runtime.

mod build;
mod capped;
mod cargo;
mod claims;
mod command;
mod depinfo;
mod drive;
mod filter;
mod follow;
mod git;
mod hints;
mod hub;
mod inputs;
mod lean;
mod lineage;
mod notice;
mod once;
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

use crate::events::Diagnostic;
use crate::runtime::HandlerHandle;

pub use build::build_once;
pub use once::{News, build_all};
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

/// A handler that a [`Session`] drives, and where its component comes from.
#[derive(Debug, Clone)]
pub struct WatchedSource {
    /// The handler. Events about its source are on the bus of its runtime.
    pub handler: HandlerHandle,
    /// Where its component comes from.
    pub source: Source,
    /// Whether a handler that runs nothing yet waits with a component for its first call; see
    /// [`HandlerHandle::load_when_called`].
    pub is_lazy: bool,
}

impl WatchedSource {
    /// A handler that runs each component as soon as it is there.
    #[must_use]
    pub fn new(handler: HandlerHandle, source: Source) -> Self {
        Self { handler, source, is_lazy: false }
    }

    /// Whether both are the same source for the same handler.
    fn is_same(&self, other: &Self) -> bool {
        self.handler.is_same(&other.handler)
            && (&self.source, self.is_lazy) == (&other.source, other.is_lazy)
    }

    /// The same for a handler that waits with its first component for its first call.
    #[must_use]
    pub fn lazily(mut self) -> Self {
        self.is_lazy = true;
        self
    }
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
    /// Look for changes at intervals instead of asking the system for events: for network file
    /// systems and containers that deliver none.
    pub poll: bool,
    /// Where cargo puts its output, instead of where it would by itself.
    pub target_dir: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { release: false, add_target: true, color: false, poll: false, target_dir: None }
    }
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
    /// What was done besides building, in one line each ("added target …"). Only [`build_once`] gives
    /// them here: [`build_all`] and a [`Session`] tell them while they happen.
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
