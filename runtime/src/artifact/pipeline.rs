//! The way to compiled code, layer by layer: memory, cache directory, function cache, compiler.

use std::path::Path;
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;

use super::compile::{Compilers, Limits};
use super::disk::{Bucket, DiskCache, EntryKind, EntryName};
use super::fingerprint::Fingerprint;
use super::flight::Flights;
use super::functions::FunctionStore;
use super::memo::DigestMemo;
use super::memory::{Artifact, Backup, Lease, Memory};
use super::tally::{CacheReport, Tally};
use super::{Candidate, Goal, Source, Staged, Survey, blocking, load};
use crate::config::RuntimeConfig;
use crate::engine::{Engine, Engines};
use crate::error::{StageError, caught};
use crate::events::{CompiledBy, Tier};
use crate::id::Digest;

/// Code that was asked for, and where it came from.
pub(crate) struct Obtained {
    pub(crate) artifact: Artifact,
    lease: Lease,
    compile_time: Duration,
    compiled_by: CompiledBy,
}

impl Obtained {
    /// `candidate` as staged with this code, with the figures for its event.
    pub(crate) fn staged<R>(self, candidate: &Candidate, ready: R) -> Staged<R> {
        Staged {
            ready,
            bytes: candidate.size,
            compile_time: self.compile_time,
            compiled_by: self.compiled_by,
            tier: self.artifact.tier(),
            lease: Some(self.lease),
        }
    }
}

/// See the [module](self). Cheap to clone; one for a runtime.
#[derive(Clone)]
pub(crate) struct Artifacts {
    inner: Arc<Inner>,
}

struct Inner {
    engines: Engines,
    memory: Arc<Memory>,
    disk: Option<DiskCache>,
    functions: Option<FunctionStore>,
    functions_loaded: Once,
    memo: DigestMemo,
    compilers: Arc<Compilers>,
    flights: Flights<(Digest, Goal), Landed>,
    tally: Arc<Tally>,
    /// Writes to the cache directory that run aside.
    writes: TaskTracker,
    budget: u64,
}

/// How often code is asked for whose flight does not land. A flight ends with the tokio runtime of
/// the caller that started it; a caller of another tokio runtime then starts the flight again.
const FLIGHTS: usize = 2;

/// What a flight brings to everybody who waits for it.
type Landed = Result<Found, Arc<StageError>>;

/// Code, before anybody leases it.
#[derive(Clone)]
struct Found {
    artifact: Artifact,
    took: Duration,
    by: CompiledBy,
}

impl Artifacts {
    /// The layers that `config` wants, over `disk` where there is one.
    pub(crate) fn new(engines: Engines, disk: Option<DiskCache>, config: &RuntimeConfig) -> Self {
        let tally = Arc::new(Tally::default());
        if let Some(disk) = &disk {
            for engine in std::iter::once(&engines.optimized).chain(&engines.baseline) {
                disk.claim(Bucket::new(engine.bucket()));
            }
        }
        // For good: it takes tasks all the same, and `wait` waits for those that there are. Opened and
        // closed again, it would leave one of two who wait at once behind.
        let writes = TaskTracker::new();
        writes.close();
        let limits = Limits { timeout: config.compile_timeout, memory: config.compile_memory };
        let inner = Inner {
            memory: Memory::new(config.cache_memory, Arc::clone(&tally)),
            functions: function_store(&engines.optimized, disk.as_ref()),
            functions_loaded: Once::new(),
            memo: DigestMemo::load(disk.as_ref()),
            compilers: Arc::new(Compilers::new(config.dev, limits)),
            flights: Flights::new(),
            writes,
            budget: config.cache_memory,
            engines,
            disk,
            tally,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The component at `source`: by its remembered digest when the file is as it was and its code
    /// is at hand, otherwise read.
    ///
    /// # Errors
    ///
    /// [`StageError::Read`] and its siblings.
    pub(crate) async fn open(&self, source: Source) -> Result<Candidate, StageError> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.open(source)).await
    }

    /// The names in `candidate`, if it has to be compiled and can be read: what they alone show need
    /// not wait for the compiler.
    ///
    /// # Errors
    ///
    /// [`StageError`] when it is not a component, or one that is not compiled for its size or for
    /// what it consists of.
    pub(crate) async fn survey(&self, candidate: &Candidate) -> Result<Option<Survey>, StageError> {
        let (inner, candidate) = (Arc::clone(&self.inner), candidate.clone());
        let look = move || {
            if inner.is_at_hand(&candidate.digest) {
                return Ok(None);
            }
            inner.compilers.inspect(&candidate).map(|(_, survey)| survey)
        };
        blocking(look).await
    }

    /// Compiled code of `candidate`, from the first layer that has it.
    ///
    /// # Errors
    ///
    /// [`StageError`] when it has to be compiled and cannot be; all who wait for the same code get
    /// the same error.
    ///
    /// # Cancel safety
    ///
    /// What was begun goes on, for whoever asks next.
    pub(crate) async fn obtain(
        &self,
        candidate: &Candidate,
        goal: Goal,
    ) -> Result<Obtained, StageError> {
        if let Some(artifact) = self.inner.in_memory(candidate.digest, goal) {
            self.inner.tally.had(CompiledBy::Memory);
            let found = Found { artifact, took: Duration::ZERO, by: CompiledBy::Memory };
            return Ok(self.inner.lease(found));
        }
        let key = (candidate.digest, goal);
        for _ in 0..FLIGHTS {
            let (inner, candidate) = (Arc::clone(&self.inner), candidate.clone());
            let fly = || async move { caught(inner.fly(&candidate, goal)).await };
            match self.inner.flights.join(key, fly).await {
                Some(Ok(found)) => return Ok(self.inner.lease(found)),
                Some(Err(error)) => return Err(StageError::Shared(error)),
                None => {}
            }
        }
        Err(StageError::AsyncEnded)
    }

    /// Makes sure that optimized code of `candidate` is in the cache directory, without keeping it
    /// in memory. Returns how long it compiled, unless the code was there. With
    /// [`Goal::Soon`] on the threads of those who wait, which a developer's runtime would use for
    /// baseline code.
    ///
    /// # Errors
    ///
    /// As [`Artifacts::obtain`].
    pub(crate) async fn prepare(
        &self,
        candidate: &Candidate,
        goal: Goal,
    ) -> Result<Option<Duration>, StageError> {
        if self.inner.has_optimized(&candidate.digest) {
            return Ok(None);
        }
        let obtained = self.obtain(candidate, goal).await?;
        let is_new = matches!(obtained.compiled_by, CompiledBy::Functions | CompiledBy::Compiler);
        Ok(is_new.then_some(obtained.compile_time))
    }

    /// What is in memory, and what the layers did.
    pub(crate) fn report(&self) -> CacheReport {
        let discarded = self.inner.disk.as_ref().map_or(0, DiskCache::discarded);
        CacheReport {
            memory: self.inner.memory.list(),
            memory_bytes: self.inner.memory.bytes(),
            memory_budget: self.inner.budget,
            counts: self.inner.tally.counts(discarded),
        }
    }

    /// Waits until everything that was compiled is in the cache directory, and remembers the
    /// digests of files for the next run.
    pub(crate) async fn flush(&self) {
        self.inner.writes.wait().await;
        let inner = Arc::clone(&self.inner);
        let save = move || inner.memo.save(&|digest| inner.memory.needs_file(digest));
        let saved = tokio::task::spawn_blocking(save).await;
        if let Ok(Err(error)) = saved {
            let error = crate::error::chain(&error);
            tracing::debug!(%error, "failed to remember the digests of files");
        }
    }
}

impl Inner {
    fn open(&self, source: Source) -> Result<Candidate, StageError> {
        let Source::File(path) = &source else { return Candidate::read_now(source) };
        // A file that cannot be looked at fails with its reason below.
        let Some(before) = fingerprint(path) else { return Candidate::read_now(source) };
        // The next run may have another working directory.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        if let Some(digest) = self.memo.get(&path, &before).filter(|it| self.is_at_hand(it)) {
            let size = before.size();
            return Ok(Candidate::remembered(source, digest, size));
        }
        let candidate = Candidate::read_now(source)?;
        self.remember(&path, &before, candidate.digest);
        Ok(candidate)
    }

    /// Notes the digest of a file that was the same before and after it was read.
    fn remember(&self, path: &Path, before: &Fingerprint, digest: Digest) {
        if fingerprint(path).as_ref() == Some(before) {
            self.memo.put(path, *before, digest, std::time::SystemTime::now());
        }
    }

    /// Whether no compiler is needed for the component of `digest`.
    fn is_at_hand(&self, digest: &Digest) -> bool {
        self.memory.has(&(*digest, Tier::Optimized))
            || self.memory.has(&(*digest, Tier::Baseline))
            || self.has_optimized(digest)
    }

    fn has_optimized(&self, digest: &Digest) -> bool {
        let name = entry(&self.engines.optimized, *digest);
        self.disk.as_ref().is_some_and(|disk| disk.has(&name))
    }

    /// The engines whose code serves `goal`, best first.
    fn engines(&self, goal: Goal) -> impl Iterator<Item = &Engine> {
        let baseline = self.engines.baseline.as_ref().filter(|_| goal == Goal::Soon);
        std::iter::once(&self.engines.optimized).chain(baseline)
    }

    fn in_memory(&self, digest: Digest, goal: Goal) -> Option<Artifact> {
        self.engines(goal).find_map(|engine| self.memory.find(&(digest, engine.tier())))
    }

    fn lease(&self, found: Found) -> Obtained {
        let Found { artifact, took, by } = found;
        let lease = self.memory.lease(artifact);
        Obtained { artifact: lease.artifact().clone(), lease, compile_time: took, compiled_by: by }
    }

    /// Brings code that is not in memory.
    async fn fly(self: Arc<Self>, candidate: &Candidate, goal: Goal) -> Landed {
        let (inner, digest) = (Arc::clone(&self), candidate.digest);
        let read = blocking(move || Ok(inner.load_saved(digest, goal))).await.map_err(Arc::new)?;
        let found = match read {
            Some(found) => found,
            None => self.compile(candidate, goal).await.map_err(Arc::new)?,
        };
        self.tally.had(found.by);
        Ok(found)
    }

    /// Code from the cache directory. Blocks.
    fn load_saved(&self, digest: Digest, goal: Goal) -> Option<Found> {
        let disk = self.disk.as_ref()?;
        let started = Instant::now();
        let artifact = self.engines(goal).find_map(|engine| {
            let name = entry(engine, digest);
            let code = disk.read(&name)?;
            match load::load(engine, &code) {
                Ok(component) => Some(Artifact::new(digest, engine.clone(), component)),
                Err(error) => {
                    // Of the right bucket and signed, and still refused: make it anew.
                    tracing::debug!(%digest, "discarding compiled code: {error:#}");
                    disk.remove(&name);
                    None
                }
            }
        })?;
        artifact.mark(Backup::Saved);
        let artifact = self.memory.keep(artifact);
        Some(Found { artifact, took: started.elapsed(), by: CompiledBy::Disk })
    }

    async fn compile(
        self: &Arc<Self>,
        candidate: &Candidate,
        goal: Goal,
    ) -> Result<Found, StageError> {
        let first = match (&self.engines.baseline, goal) {
            (Some(baseline), Goal::Soon) => {
                match self.compilers.compile(baseline, candidate, goal).await {
                    Ok(compiled) => Some((baseline, compiled)),
                    Err(error @ StageError::Compile { .. }) => {
                        // It does not know every instruction; the other compiler has the last word.
                        let error = crate::error::chain(&error);
                        tracing::debug!(%error, "no baseline code for this component");
                        None
                    }
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        let (engine, compiled) = match first {
            Some(first) => first,
            None => {
                let engine = &self.engines.optimized;
                let inner = Arc::clone(self);
                blocking(move || {
                    inner.load_functions();
                    Ok(())
                })
                .await?;
                (engine, self.compilers.compile(engine, candidate, goal).await?)
            }
        };
        let artifact = Artifact::new(candidate.digest, engine.clone(), compiled.component);
        let artifact = match &self.disk {
            Some(disk) => {
                artifact.mark(Backup::Pending);
                let artifact = self.memory.keep(artifact);
                self.save_aside(disk.clone(), artifact.clone());
                artifact
            }
            None => self.memory.keep(artifact),
        };
        Ok(Found { artifact, took: compiled.took, by: compiled.by })
    }

    /// Writes `artifact` and the functions compiled for it to the cache directory.
    fn save_aside(self: &Arc<Self>, disk: DiskCache, artifact: Artifact) {
        let inner = Arc::clone(self);
        let save = move || {
            let saved = inner.save(&disk, &artifact);
            inner
                .memory
                .settle(&artifact, if saved.is_ok() { Backup::Saved } else { Backup::None });
            if let Err(error) = saved {
                tracing::warn!(%error, "failed to write to the cache directory");
            }
        };
        drop(self.writes.spawn_blocking(save));
    }

    /// Whatever is written, what is in use stays.
    fn save(
        &self,
        disk: &DiskCache,
        artifact: &Artifact,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let is_pinned = |digest: &Digest| self.memory.needs_file(digest);
        let code = artifact.component().serialize()?;
        disk.write(&entry(artifact.engine(), artifact.digest()), &code, &is_pinned)?;
        if let Some(functions) = &self.functions {
            functions.save(&is_pinned)?;
        }
        Ok(())
    }

    /// Functions of earlier runs, read before the first compilation that can use them.
    fn load_functions(&self) {
        self.functions_loaded.call_once(|| {
            if let Some(functions) = &self.functions {
                functions.load();
            }
        });
    }
}

/// Where the functions of `engine` are kept beyond this process.
fn function_store(engine: &Engine, disk: Option<&DiskCache>) -> Option<FunctionStore> {
    let (disk, functions) = (disk?.clone(), Arc::clone(engine.functions()?));
    Some(FunctionStore::new(disk, functions, Bucket::new(engine.bucket())))
}

fn fingerprint(path: &Path) -> Option<Fingerprint> {
    std::fs::metadata(path).ok().map(|metadata| Fingerprint::of(&metadata))
}

/// The name of compiled code in the cache directory.
fn entry(engine: &Engine, digest: Digest) -> EntryName {
    EntryName { kind: EntryKind::Code, bucket: Bucket::new(engine.bucket()), digest }
}

impl std::fmt::Debug for Artifacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artifacts").finish_non_exhaustive()
    }
}
