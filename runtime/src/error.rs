//! Errors that cross the borders of modules: why a candidate was refused, why a call failed.
//!
//! Each message describes its own level; the cause is its source, and what the reader can do is in
//! [`Hint::hints`], apart from the text.

mod call;
mod hand_over;
mod panics;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use call::{CallError, CallFailure};

use crate::config::ConfigError;
use crate::contract::ContractError;
use crate::events::{Serving, Stage, cut};
use crate::id::{GenerationNumber, HandlerName};
pub use hand_over::HandOverError;
use hand_over::PANIC_HINT;
pub(crate) use panics::{Panic, caught, shielded};

/// What the reader of an error can do about it, in order of promise; at most two.
pub trait Hint {
    /// Things to type or edit. Empty when there is nothing better than the message itself.
    fn hints(&self) -> Vec<String>;
}

/// Why a candidate never became a generation. What was serving still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StageError {
    /// The file could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file changed each time it was read.
    #[error("`{}` kept changing while it was read, {attempts} times in a row", path.display())]
    KeptChanging {
        /// The file.
        path: PathBuf,
        /// Reads tried.
        attempts: u32,
    },
    /// The component is larger than the runtime compiles.
    #[error("the component has {bytes} bytes, more than the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The largest size accepted.
        limit: u64,
    },
    /// The bytes are not a component.
    #[error("expected a WebAssembly component, found {found}")]
    NotAComponent {
        /// What the bytes look like.
        found: &'static str,
    },
    /// The compiler refused the component.
    #[error("failed to compile the component (sha256:{digest}, {bytes} bytes)")]
    Compile {
        /// First digits of its digest.
        digest: String,
        /// Its size.
        bytes: u64,
        /// What the compiler said.
        source: wasmtime::Error,
    },
    /// The compiler did not come to an end in time.
    #[error("the compiler was still busy with the component (sha256:{digest}) after {timeout:?}")]
    CompileTimeout {
        /// First digits of its digest.
        digest: String,
        /// The longest that a compilation may take.
        timeout: Duration,
    },
    /// A function of the component may exhaust the compiler's memory.
    #[error(
        "compiling function {function} of the component (sha256:{digest}) may take {bytes} bytes of \
         memory, more than the limit of {limit}"
    )]
    CompileMemory {
        /// First digits of its digest.
        digest: String,
        /// The function's number among those that the component defines, over all modules, from 0.
        function: usize,
        /// What it may take, as an estimate from above.
        bytes: u64,
        /// The most that the compilation of one function may take.
        limit: u64,
    },
    /// The component consists of more parts than the runtime compiles.
    #[error("the component has at least {found} {what}, more than the limit of {limit}")]
    TooComplex {
        /// What there is too much of, in words.
        what: &'static str,
        /// How many were counted before it was refused; there may be more.
        found: u64,
        /// The most that are compiled.
        limit: u64,
    },
    /// The file is no longer the component that it was.
    #[error("the file held the component sha256:{digest} and now holds sha256:{found}")]
    Changed {
        /// First digits of the digest that it had.
        digest: String,
        /// First digits of the digest that it has.
        found: String,
    },
    /// The same error as another's, who asked for the same code at the same time.
    #[error(transparent)]
    Shared(Arc<StageError>),
    /// The component is one of WASI 0.3, and the runtime does not opt in.
    #[error("the component uses `{interface}` of WASI 0.3, which is an opt-in")]
    Wasi03 {
        /// The first such interface.
        interface: String,
    },
    /// Imports or exports do not fit.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The first instance could not be made, or its `init` failed.
    #[error("failed to start a first instance")]
    Init {
        /// How.
        source: CallFailure,
    },
    /// The candidate did not answer its probe as it should.
    #[error("the probe of `{path}` failed")]
    Probe {
        /// The path that was asked for.
        path: String,
        /// What came instead of a good answer.
        source: Box<ProbeError>,
    },
    /// The state of the active generation could not be had.
    #[error("failed to save the state of the generation that serves")]
    Save {
        /// Why not.
        source: HandOverError,
    },
    /// The candidate did not take the state over.
    #[error("failed to restore the state in the new generation")]
    Restore {
        /// Why not.
        source: HandOverError,
    },
    /// The candidate takes calls of another kind than what serves, and the request does not allow it.
    #[error("the component takes {found}, and the generation that serves takes {serving}")]
    OtherKind {
        /// What calls of the generation that serves bring: `events` or `HTTP requests`.
        serving: &'static str,
        /// What calls of the candidate would bring.
        found: &'static str,
    },
    /// The settings that were asked for cannot work.
    #[error("the settings of the handler cannot work")]
    Settings {
        /// The first setting that cannot work.
        #[from]
        source: ConfigError,
    },
    /// `instances` was to change between `singleton` and another mode.
    #[error("`instances` cannot change to or from `singleton` while the handler runs")]
    Singleton,
    /// Settings were to change, and no component serves that could go on with them.
    #[error("there is no component whose settings could change: nothing serves")]
    NothingServes,
    /// The earlier version could have neither the state of now nor an earlier one.
    #[error("failed to go back from generation {from} with its state")]
    WayBack {
        /// The generation that goes on with its state.
        from: GenerationNumber,
        /// What happened to the state of now.
        source: Box<StageError>,
    },
    /// The component was rolled back while it ran with the same settings.
    #[error("the component sha256:{digest} was rolled back with these very settings")]
    RolledBack {
        /// First digits of its digest.
        digest: String,
    },
    /// There is no generation to go back to.
    #[error("{problem}")]
    NoWayBack {
        /// What was looked for and not found.
        problem: String,
    },
    /// Code of the host panicked while it staged the candidate: the embedder's (`make_host`, a host
    /// function, a `Contract`), wrt's own, or the compiler's.
    #[error("the host panicked while it staged the candidate: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The handler has no supervisor any more, which every swap needs. What serves goes on.
    #[error("the supervisor of the handler has ended: {reason}")]
    NoSupervisor {
        /// How it ended.
        reason: String,
    },
    /// The tokio runtime in which the work ran has ended before the work did.
    #[error("the tokio runtime in which the candidate was staged has ended")]
    AsyncEnded,
    /// The handler was taken away from the runtime.
    #[error("the handler was removed")]
    Removed,
    /// The runtime is shutting down.
    #[error("the runtime is shutting down")]
    ShuttingDown,
    /// Something that cannot be, was.
    #[error("a defect of wrt: {what}")]
    Defect {
        /// What was found.
        what: &'static str,
    },
}

/// Why a probe was not passed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// The answer says that something is wrong.
    #[error("the answer has status {status}")]
    Status {
        /// Its status code.
        status: u16,
    },
    /// The handler takes events.
    #[error("an event handler has no path to ask for")]
    NotHttp,
}

impl StageError {
    /// The step of the swap that failed.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self {
            Self::Read { .. } | Self::KeptChanging { .. } | Self::Changed { .. } => Stage::Read,
            Self::TooLarge { .. }
            | Self::NotAComponent { .. }
            | Self::Compile { .. }
            | Self::CompileMemory { .. }
            | Self::CompileTimeout { .. }
            | Self::TooComplex { .. } => Stage::Compile,
            Self::Shared(error) => error.stage(),
            Self::WayBack { source, .. } => source.stage(),
            Self::Wasi03 { .. }
            | Self::Contract(_)
            | Self::OtherKind { .. }
            | Self::Settings { .. }
            | Self::Singleton
            | Self::RolledBack { .. } => Stage::Check,
            Self::Init { .. }
            | Self::Panicked { .. }
            | Self::NoSupervisor { .. }
            | Self::AsyncEnded
            | Self::Removed
            | Self::ShuttingDown
            | Self::Defect { .. } => Stage::Init,
            Self::Probe { .. } => Stage::Probe,
            Self::Save { .. } => Stage::Save,
            Self::Restore { .. } => Stage::Restore,
            Self::NoWayBack { .. } | Self::NothingServes => Stage::Read,
        }
    }

    /// Whether it says nothing about the candidate: another one would have been refused as well.
    pub(crate) fn is_of_the_host(&self) -> bool {
        match self {
            Self::NoSupervisor { .. }
            | Self::AsyncEnded
            | Self::Removed
            | Self::ShuttingDown
            | Self::NothingServes
            | Self::NoWayBack { .. } => true,
            Self::Shared(error) => error.is_of_the_host(),
            _ => false,
        }
    }

    /// Whether the same component may be taken at another time: the host was busy, or short of
    /// something. That a file cannot be read is seen by looking at it again.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::KeptChanging { .. }
            | Self::CompileTimeout { .. }
            | Self::Init { source: CallFailure::HostMemory { .. } } => true,
            Self::Shared(error) => error.may_pass(),
            other => other.is_of_the_host(),
        }
    }
}

impl Hint for StageError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                vec!["build the handler, or correct the path".to_owned()]
            }
            Self::KeptChanging { .. } => {
                vec!["write to another name in the same directory and rename it".to_owned()]
            }
            Self::NotAComponent { found } if found.contains("preview 1") => vec![
                "build for `wasm32-wasip2`, which makes components".to_owned(),
                "or wrap the module with `wasm-tools component new` and the adapter \
                 `wasi_snapshot_preview1.reactor.wasm`"
                    .to_owned(),
            ],
            Self::NotAComponent { found } if found.contains("module") => vec![
                "build for `wasm32-wasip2`, which makes components".to_owned(),
                "or wrap the module with `wasm-tools component new`".to_owned(),
            ],
            Self::NotAComponent { .. } => {
                vec![
                    "check what wrote the file; a component starts with the bytes `\\0asm`"
                        .to_owned(),
                ]
            }
            Self::Compile { .. } => {
                vec![
                    "the file may still be being written, or was cut short: build it again"
                        .to_owned(),
                ]
            }
            Self::Wasi03 { .. } => {
                vec!["set `host.wasi03 = true` in the manifest to allow WASI 0.3".to_owned()]
            }
            Self::CompileTimeout { .. } => {
                vec![
                    "split very large functions, or raise `host.compile_timeout` in the manifest"
                        .to_owned(),
                ]
            }
            Self::CompileMemory { .. } => {
                vec![
                    "split the function: it has many locals in deeply nested blocks, calls that \
                     return many values, or is very long"
                        .to_owned(),
                    "or raise `host.compile_memory` in the manifest".to_owned(),
                ]
            }
            Self::TooComplex { .. } => {
                vec![
                    "leave out what the handler does not use, or split it into several handlers"
                        .to_owned(),
                ]
            }
            Self::Changed { .. } => {
                vec![
                    "swap it in: `wrt serve --watch` does so for each file that is replaced"
                        .to_owned(),
                ]
            }
            Self::Shared(error) => error.hints(),
            Self::Contract(error) => error.hints(),
            Self::Init { source } => source.hints(),
            Self::Save { source } | Self::Restore { source } => source.hints(),
            Self::RolledBack { .. } => vec![
                "change the component and build it again, or change the settings".to_owned(),
                "or try the same once more: `wrt swap --again`, or `wrt apply --again` for settings".to_owned(),
            ],
            Self::OtherKind { .. } => vec![
                "check that the component belongs to this handler".to_owned(),
                "or let it take the other's place: `wrt swap --as-other-kind`".to_owned(),
            ],
            Self::Settings { .. } => {
                vec!["change that setting; the version that serves goes on".to_owned()]
            }
            Self::Singleton => {
                vec!["take the handler away and add it again with the other `instances`".to_owned()]
            }
            Self::NothingServes => vec!["load a component first".to_owned()],
            Self::WayBack { source, .. } => {
                let busy = "raise `hand_over` of the handler if its calls take that long";
                let fresh = "go back without the state: `wrt rollback --fresh`";
                match &**source {
                    Self::Save { source: HandOverError::Busy { .. } } => {
                        vec![busy.to_owned(), format!("or {fresh}")]
                    }
                    _ => vec![fresh.to_owned()],
                }
            }
            Self::NoWayBack { .. } => vec!["see `wrt history` for what there was".to_owned()],
            Self::Panicked { .. } => vec![PANIC_HINT.to_owned()],
            Self::NoSupervisor { .. } | Self::AsyncEnded => vec![
                "make the `Runtime` and add its handlers in the tokio runtime that lives longest, \
                 and start the program again"
                    .to_owned(),
            ],
            Self::Removed => vec!["add the handler again, and use the new handle".to_owned()],
            Self::Defect { .. } => vec!["please report it with this message".to_owned()],
            Self::Probe { .. } | Self::Read { .. } | Self::TooLarge { .. } | Self::ShuttingDown => {
                Vec::new()
            }
        }
    }
}

/// A swap that was refused; the handler's active generation, if it has one, is untouched.
#[derive(Debug, thiserror::Error)]
#[error("failed to stage a new generation of `{handler}`")]
pub struct Rejected {
    /// The handler.
    pub handler: HandlerName,
    /// What answers its calls now.
    pub serving: Option<Serving>,
    /// Why.
    pub source: StageError,
}

/// The messages of `error` and all its sources, outermost first, joined by `: `; cut to
/// [`MAX_TEXT`](crate::events::MAX_TEXT) bytes, since a guest may have written some of it.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        // A `transparent` error repeats its source.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    cut(text)
}
