//! Component bytes to executable code, on threads of the compiler's own.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use super::survey::{self, Exceeded, Survey};
use super::{Candidate, Goal, blocking, estimate, kind};
use crate::engine::{Engine, give_way};
use crate::error::StageError;
use crate::events::CompiledBy;

/// Largest component that is compiled. A script engine with its library has some 20 MiB; ten times
/// that keeps a mistake (a disk image, say) from occupying the compiler for minutes.
pub(super) const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// The compiler's threads, bounded however many components wait.
#[derive(Debug)]
pub(super) struct Compilers {
    /// For what somebody waits for.
    awaited: Pool,
    /// For what nobody waits for; a place of its own, so that this delays nobody who does.
    ahead: Pool,
    limits: Limits,
}

/// What one compilation may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    /// Bytes of memory for one function; each thread compiles one at a time.
    pub(super) memory: u64,
}

/// Threads that are started when there is something to compile.
#[derive(Debug)]
struct Pool {
    threads: usize,
    is_nice: bool,
    /// Components compiled at once; each takes memory of many times its size.
    places: Arc<Semaphore>,
    pool: OnceLock<Option<ThreadPool>>,
}

impl Compilers {
    /// Compilers for a process that others are served by, unless it is a developer's own.
    pub(super) fn new(dev: bool, limits: Limits) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { awaited: Pool::new(processors, !dev), ahead: Pool::new(1, true), limits }
    }

    /// Compiles `candidate` for `engine`.
    ///
    /// # Errors
    ///
    /// [`StageError`] when the bytes are too many, not a component, of WASI 0.3 without the opt-in,
    /// refused by the compiler, may exhaust its memory by one function or by what they consist of, or
    /// keep it busy for longer than its timeout.
    ///
    /// # Cancel safety
    ///
    /// The compilation goes on when this is dropped; its result is dropped with it.
    pub(super) async fn compile(
        self: &Arc<Self>,
        engine: &Engine,
        candidate: &Candidate,
        goal: Goal,
    ) -> Result<Compiled, StageError> {
        // The semaphore is never closed.
        let place = Arc::clone(&self.pool(goal).places).acquire_owned().await;
        let place =
            place.map_err(|_| StageError::Defect { what: "the compiler's queue is closed" })?;
        let (compilers, engine, candidate) = (Arc::clone(self), engine.clone(), candidate.clone());
        let (digest, timeout) = (candidate.digest.short(), self.limits.timeout);
        let work = blocking(move || {
            let _place = place;
            compilers.compile_now(&engine, &candidate, goal)
        });
        match tokio::time::timeout(timeout, work).await {
            Ok(result) => result,
            Err(_) => Err(StageError::CompileTimeout { digest, timeout }),
        }
    }

    /// The bytes of `candidate` and the names in them, or `None` where only the compiler can say what is
    /// wrong with them. Blocks.
    ///
    /// # Errors
    ///
    /// [`StageError`] when the bytes cannot be read, are too many, are not a component, or are one that
    /// may exhaust the compiler's memory by what it consists of or by one function.
    pub(super) fn inspect(
        &self,
        candidate: &Candidate,
    ) -> Result<(Bytes, Option<Survey>), StageError> {
        if candidate.size > MAX_BYTES {
            return Err(StageError::TooLarge { bytes: candidate.size, limit: MAX_BYTES });
        }
        let bytes = candidate.bytes()?;
        if let Some(found) = kind::not_a_component(&bytes) {
            return Err(StageError::NotAComponent { found });
        }
        let survey = survey::survey(&bytes).map_err(|exceeded| {
            let Exceeded { what, found, limit } = exceeded;
            StageError::TooComplex { what, found, limit }
        })?;
        if let Some(heaviest) = estimate::above(self.limits.memory, &bytes) {
            return Err(StageError::CompileMemory {
                digest: candidate.digest.short(),
                function: heaviest.function,
                bytes: heaviest.memory,
                limit: self.limits.memory,
            });
        }
        Ok((bytes, survey))
    }

    fn pool(&self, goal: Goal) -> &Pool {
        match goal {
            Goal::Soon | Goal::BestSoon => &self.awaited,
            Goal::Best => &self.ahead,
        }
    }

    fn compile_now(
        &self,
        engine: &Engine,
        candidate: &Candidate,
        goal: Goal,
    ) -> Result<Compiled, StageError> {
        let (bytes, survey) = self.inspect(candidate)?;
        let lookups = || engine.functions().map(|functions| functions.lookups());
        if let Some(functions) = engine.functions() {
            functions.begin_compilation();
        }
        let (started, before) = (Instant::now(), lookups());
        let compile = || Component::from_binary(engine.wasmtime(), &bytes);
        let compiled = match self.pool(goal).get() {
            Some(pool) => pool.install(compile),
            None => compile(),
        };
        let took = started.elapsed();
        // Two compilations at once may each count the other's functions; it is a figure for people.
        let is_like_earlier =
            lookups().zip(before).is_some_and(|(lookups, before)| lookups.mostly_hit_since(before));
        Ok(Compiled {
            component: compiled.map_err(|source| refusal(engine, candidate, survey, source))?,
            took,
            by: if is_like_earlier { CompiledBy::Functions } else { CompiledBy::Compiler },
        })
    }
}

/// What a compilation made.
pub(super) struct Compiled {
    pub(super) component: Component,
    pub(super) took: Duration,
    pub(super) by: CompiledBy,
}

impl Pool {
    fn new(threads: usize, is_nice: bool) -> Self {
        let places = Arc::new(Semaphore::new(threads));
        Self { threads, is_nice, places, pool: OnceLock::new() }
    }

    /// The threads; `None` where the system has none to spare, and the caller's has to do.
    fn get(&self) -> Option<&ThreadPool> {
        let start = || {
            let is_nice = self.is_nice;
            let builder = ThreadPoolBuilder::new()
                .num_threads(self.threads)
                .thread_name(|n| format!("wrt-compile-{n}"))
                .start_handler(move |_| {
                    if is_nice && let Err(error) = give_way() {
                        tracing::debug!(%error, "the compiler runs at normal priority");
                    }
                });
            builder
                .build()
                .inspect_err(
                    |error| tracing::warn!(%error, "failed to start the compiler's threads"),
                )
                .ok()
        };
        self.pool.get_or_init(start).as_ref()
    }
}

/// Why the compiler refused `candidate`, as far as more than its own words can be said.
fn refusal(
    engine: &Engine,
    candidate: &Candidate,
    survey: Option<Survey>,
    source: wasmtime::Error,
) -> StageError {
    // Without the opt-in the engine does not know the types that WASI 0.3 is made of.
    let of_wasi03 = survey.filter(|_| !engine.allows_wasi03()).and_then(Survey::wasi03);
    match of_wasi03 {
        Some(interface) => StageError::Wasi03 { interface },
        None => {
            StageError::Compile { digest: candidate.digest.short(), bytes: candidate.size, source }
        }
    }
}
