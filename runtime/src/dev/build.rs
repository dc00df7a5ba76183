//! Turns a source into an artifact once; the part that all kinds of builds share.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use tokio::sync::Semaphore;

use super::cargo::{Extra, Failed};
use super::claims::Claims;
use super::inputs::Inputs;
use super::lineage::Lineage;
use super::package::Package;
use super::process::{Rest, Tools};
use super::record::Records;
use super::session::{absolute, blocking, lock};
use super::snapshot::{Input, Snapshot};
use super::target::Toolchain;
use super::{BuildFailure, Built, Options, Source, cargo, command, lean, package, target};
use crate::events::Diagnostic;

/// What the builds of a session share. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Workshop {
    pub(super) options: Arc<Options>,
    pub(super) tools: Tools,
    /// Bounds the builds that run at once.
    permits: Arc<Semaphore>,
    /// The session's builds, as far as one may have started another.
    pub(super) lineage: Arc<Lineage>,
    /// Builds that may start each other before that is taken for going on for ever: a chain with
    /// each handler in it twice.
    pub(super) max_depth: u32,
    /// What packages were built from.
    records: Arc<Records>,
    /// Which package builds which component.
    claims: Arc<Claims>,
    /// By package's directory, what its last build that succeeded was made with.
    toolchains: Arc<Mutex<HashMap<PathBuf, Option<Toolchain>>>>,
}

/// One build to do.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) source: Source,
    /// What is known of a cargo package.
    pub(super) package: Option<Package>,
    /// The package's inputs as they are now.
    pub(super) inputs: Vec<Input>,
}

/// Builds in a row that only start each other, beyond which the last one is not followed by another: each
/// of `n_handlers` may start each other one, and be started by that.
fn max_depth(n_handlers: usize) -> u32 {
    u32::try_from(2 * n_handlers).unwrap_or(u32::MAX)
}

impl Workshop {
    /// A workshop for the sources of `n_handlers`.
    pub(super) fn new(options: Options, n_handlers: usize) -> Self {
        // A build uses all processors itself; more at once would only take memory.
        let n = std::thread::available_parallelism().map_or(1, usize::from);
        let permits = Arc::new(Semaphore::new(n));
        // Cargo would take a relative one as relative to each package.
        let target_dir = options.target_dir.map(|dir| std::path::absolute(&dir).unwrap_or(dir));
        let options = Options { target_dir, ..options };
        let (tools, toolchains) = (Tools::default(), Arc::default());
        let max_depth = max_depth(n_handlers);
        let (options, lineage) = (Arc::new(options), Arc::default());
        let (records, claims) = (Arc::default(), Arc::default());
        Self { options, tools, permits, lineage, max_depth, records, claims, toolchains }
    }

    /// The package in `dir` is not built any more.
    pub(super) fn give_up_claims(&self, dir: &Path) {
        self.claims.give_up(dir);
    }

    /// Has those that are cloned from now on be for the sources of `n_handlers`.
    pub(super) fn serve(&mut self, n_handlers: usize) {
        self.max_depth = max_depth(n_handlers);
    }

    /// Does `job`; `tell` hears what is done besides. The result may come while the tool that built
    /// it still ends.
    ///
    /// Cancel-safe: dropping the future ends all its processes.
    pub(super) async fn build(
        self,
        job: Job,
        tell: impl Fn(String) + Send + Sync,
    ) -> Result<(Built, Option<Box<Rest>>), BuildFailure> {
        // The semaphore is never closed; if it were, building without bound would do no harm.
        let _permit = self.permits.acquire().await.ok();
        let start = Instant::now();
        let (built, rest) = match &job.source {
            Source::Cargo { dir } => {
                let began = SystemTime::now();
                let known = lock(&self.toolchains).get(dir).cloned();
                let toolchain = match known {
                    Some(toolchain) => toolchain,
                    None => {
                        target::ensure(dir, &self.tools, self.options.add_target, &tell).await?
                    }
                };
                if let Some(package) = &job.package {
                    self.claims.claim(package, &self.target_dir(package))?;
                    self.take_down(package, job.inputs).await;
                }
                let (built, toolchain) =
                    self.build_package(dir, job.package.as_ref(), toolchain, &tell).await?;
                lock(&self.toolchains).insert(dir.clone(), toolchain);
                if let Some(package) = job.package {
                    self.take_down_component(package, &built.0.path, began).await;
                }
                built
            }
            Source::Command { command, dir, output, .. } => {
                (command::build(command, dir, output, &self.options).await?, None)
            }
            Source::Wasm { path } if path.is_file() => return Ok((Built::found(path), None)),
            Source::Wasm { path } => {
                let message = format!("`{}` does not exist", path.display());
                return Err(BuildFailure { message, ..BuildFailure::default() });
            }
        };
        let build_ms = Some(start.elapsed().as_secs_f64() * 1000.0);
        Ok((Built { build_ms, ..built }, rest))
    }

    /// Builds the package in `dir` with the lean copy of `toolchain`'s standard library where that
    /// is possible; gives `None` for a toolchain of which no more copies are to be tried.
    async fn build_package(
        &self,
        dir: &Path,
        package: Option<&Package>,
        toolchain: Option<Toolchain>,
        tell: &(dyn Fn(String) + Send + Sync),
    ) -> Result<((Built, Option<Box<Rest>>), Option<Toolchain>), BuildFailure> {
        let sysroot = match (&toolchain, package) {
            (Some(toolchain), Some(package)) => self.lean_sysroot(toolchain, package).await,
            _ => None,
        };
        let target = package.and_then(|package| package.only_target.as_deref());
        let extra = sysroot.as_deref().zip(target);
        let extra = extra.map(|(sysroot, target)| Extra { target, sysroot });
        let built = cargo::build(dir, package, extra, &self.options, &self.tools, tell).await;
        let (Err(Failed::Tools(_)), Some(Extra { sysroot, .. })) = (&built, extra) else {
            return Ok((built?, toolchain));
        };
        // Perhaps the compiler is not the one that was asked, because cargo is configured so, or
        // somebody tidied up in the copy: only a new one can tell.
        let built = cargo::build(dir, package, None, &self.options, &self.tools, tell).await?;
        let copy = sysroot.to_owned();
        let next = match blocking(move || lean::discard(&copy)).await {
            Ok(()) => "a new one is made at the next start".to_owned(),
            Err(error) => format!("delete it for a new one, which failed here: {error}"),
        };
        tell(format!(
            "building with the whole standard library, which is slower: the compiler cannot use the \
             lean copy in `{}`; {next}",
            sysroot.display()
        ));
        Ok((built, None))
    }

    /// The lean copy for builds of `package`, but for release builds: those are what they would be
    /// without wrt, and cargo leaves out debug information in them by itself.
    async fn lean_sysroot(&self, toolchain: &Toolchain, package: &Package) -> Option<PathBuf> {
        if self.options.release || package.only_target.is_none() {
            return None;
        }
        let target_dir = self.target_dir(package);
        let toolchain = toolchain.clone();
        let copied = blocking(move || lean::sysroot(&toolchain, &target_dir)).await;
        copied.inspect_err(|error| tracing::debug!("no lean standard library: {error}")).ok()
    }

    /// Where cargo puts what it builds of `package`.
    fn target_dir(&self, package: &Package) -> PathBuf {
        self.options.target_dir.as_ref().unwrap_or(&package.target_dir).clone()
    }

    /// Where the components of `package` are, once they are built.
    pub(super) fn component_dir(&self, package: &Package) -> PathBuf {
        let profile = if self.options.release { "release" } else { "debug" };
        self.target_dir(package).join(target::TARGET).join(profile)
    }

    /// Takes down what a build of `package` that begins now is made from.
    async fn take_down(&self, package: &Package, inputs: Vec<Input>) {
        let (records, package, target_dir) =
            (self.records.clone(), package.clone(), self.target_dir(package));
        let release = self.options.release;
        blocking(move || records.begin(&package, &target_dir, release, &inputs)).await;
    }

    /// Takes down what the build that `began` then has made.
    async fn take_down_component(&self, package: Package, component: &Path, began: SystemTime) {
        let (records, component) = (self.records.clone(), component.to_owned());
        let (target_dir, release) = (self.target_dir(&package), self.options.release);
        blocking(move || {
            make_newer(&component, began);
            records.built(&package, &target_dir, release, &component);
        })
        .await;
    }

    /// Files of packages that keep `package` from its build, because both build one component.
    pub(super) fn rivals(&self, package: &Package) -> Vec<PathBuf> {
        self.claims.rivals(package, &self.target_dir(package))
    }
}

/// Gives `component` the time `began`, if it is older: cargo leaves one alone that is up to date, and
/// `wrt serve` takes of a debug and a release build the one that was made last. Not the time of now,
/// because that would hide from cargo what others have compiled since it looked. Blocks.
fn make_newer(component: &Path, began: SystemTime) {
    let make = || {
        let file = File::open(component)?;
        if file.metadata()?.modified()? < began { file.set_modified(began) } else { Ok(()) }
    };
    if let Err(error) = make() {
        tracing::debug!(%error, "`{}` keeps the time of an earlier build", component.display());
    }
}

/// Builds `source` once, without watching it.
///
/// # Errors
///
/// [`BuildFailure`] when there is no artifact at the end, with the compiler's words.
///
/// # Cancel safety
///
/// Dropping the future ends the build with all its processes.
pub async fn build_once(source: &Source, options: &Options) -> Result<Built, BuildFailure> {
    let workshop = Workshop::new(options.clone(), 1);
    let source = absolute(source.clone());
    let notes = Mutex::new(Vec::new());
    let tell = |note| lock(&notes).push(note);
    let package = match &source {
        Source::Cargo { dir } => Some(package::load(dir, &workshop.tools, &tell).await?),
        Source::Command { .. } | Source::Wasm { .. } => None,
    };
    let inputs = match &package {
        Some(package) => inputs_of(&source, package, &workshop.options).await,
        None => Vec::new(),
    };
    let job = Job { source, package, inputs };
    let (built, rest) = workshop.build(job, tell).await?;
    if let Some(rest) = rest {
        rest.end().await;
    }
    let notes = std::mem::take(&mut *lock(&notes));
    Ok(Built { notes, ..built })
}

/// The inputs of `package`, which `source` names, as they are now.
async fn inputs_of(source: &Source, package: &Package, options: &Options) -> Vec<Input> {
    let mut inputs = Inputs::of(source, Some(package));
    inputs.outputs.extend(options.target_dir.clone());
    blocking(move || Snapshot::scan(&inputs, Snapshot::default(), &BTreeSet::new()).inputs()).await
}

impl Built {
    /// A component file that somebody else wrote.
    pub(super) fn found(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            build_ms: None,
            diagnostics: Vec::new(),
            rendered: String::new(),
            notes: Vec::new(),
        }
    }
}

impl BuildFailure {
    /// `program` did not even start.
    pub(super) fn not_started(program: &str, error: &io::Error) -> Self {
        let is_absent = error.kind() == io::ErrorKind::NotFound;
        let hint = || format!("`{program}` is not in `PATH`, or the directory does not exist");
        Self {
            message: format!("failed to run `{program}`: {error}"),
            hints: is_absent.then(hint).into_iter().collect(),
            ..Self::default()
        }
    }

    /// A tool ended as `message` says, and said `output`, which has no control characters.
    pub(super) fn with_output(message: String, output: &str) -> Self {
        let text = output.trim();
        let diagnostic = Diagnostic {
            level: "error".to_owned(),
            file: None,
            line: None,
            column: None,
            text: text.to_owned(),
        };
        let diagnostics = if text.is_empty() { Vec::new() } else { vec![diagnostic] };
        let rendered = if text.is_empty() { String::new() } else { format!("{text}\n") };
        Self { message, hints: Vec::new(), diagnostics, rendered }
    }
}
