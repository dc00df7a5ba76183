//! Builds a cargo package into a component, and reads what the compiler has to say.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cargo_metadata::diagnostic::DiagnosticLevel;
use cargo_metadata::{CompilerMessage, CrateType, Message};

use super::package::Package;
use super::process::{self, Ran, Rest, Stream, Tools};
use super::said::Said;
use super::target::TARGET;
use super::text::clean;
use super::{BuildFailure, Built, Options};
use crate::events::Diagnostic;

/// Longest line of cargo's messages that is read. A diagnostic with its rendering takes kilobytes;
/// what is longer is no diagnostic that anybody could read.
const MAX_LINE: usize = 1024 * 1024;
/// Diagnostics kept, and bytes of them as shown: what a wrong import in a large crate yields, and
/// far more than anybody reads.
const MAX_DIAGNOSTICS: usize = 200;
const MAX_RENDERED: usize = 256 * 1024;

/// Codes of errors about a crate that the compiler cannot use: found twice, newer or older than
/// what was compiled against it, of another target, of another kind, missing, made by another
/// compiler, damaged.
const UNFIT: [&str; 7] = ["E0152", "E0460", "E0461", "E0462", "E0463", "E0514", "E0786"];

/// Where a build failed.
pub(super) enum Failed {
    /// In what it was given, as far as can be told.
    Build(BuildFailure),
    /// In what the compiler was given besides: a library that does not fit it, or in the linker.
    Tools(BuildFailure),
}

impl From<Failed> for BuildFailure {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Build(failure) | Failed::Tools(failure) => failure,
        }
    }
}

/// What the final compiler is told beyond what cargo tells it, for the only target of a package.
#[derive(Clone, Copy)]
pub(super) struct Extra<'a> {
    pub(super) target: &'a [String],
    pub(super) sysroot: &'a Path,
}

/// Runs `cargo build` for the package in `dir`, until the component is there. Cargo itself may then
/// have some last steps to do, such as writing down what the compiler read. `tell` hears what cargo
/// waits for.
///
/// Cancel-safe: dropping the future kills cargo and its compilers.
pub(super) async fn build(
    dir: &Path,
    package: Option<&Package>,
    extra: Option<Extra<'_>>,
    options: &Options,
    tools: &Tools,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<(Built, Option<Box<Rest>>), Failed> {
    let mut command = process::command(&tools.cargo, dir);
    let ansi = if options.color { "json-diagnostic-rendered-ansi" } else { "json" };
    // The same as `build`, for one target.
    command.arg(if extra.is_some() { "rustc" } else { "build" });
    command.args(["--target", TARGET, "--message-format", ansi]);
    if let Some(package) = package {
        // Beside a workspace's root package, cargo may take other packages as the default.
        command.args(["-p", &package.spec]);
    }
    if options.release {
        command.arg("--release");
    }
    if let Some(target_dir) = &options.target_dir {
        command.arg("--target-dir").arg(target_dir);
    }
    if let Some(extra) = extra {
        command.args(extra.target).arg("--").arg("--sysroot").arg(extra.sysroot);
    }
    let mut report = Report { color: options.color, ..Report::default() };
    let mut said = Said::new(tell);
    // The component is there when cargo says so; what it does until its exit need not be waited for.
    let on_output = |stream, piece: &[u8]| {
        match stream {
            Stream::Stdout => report.push(piece),
            Stream::Stderr => said.push(piece),
        }
        if report.is_built { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let ran = process::run_until(&mut command, on_output)
        .await
        .map_err(|error| Failed::Build(BuildFailure::not_started("cargo", &error)))?;
    let rest = match ran {
        Ran::SaidEnough(rest) => Ok(rest),
        Ran::Ended(status) => Err(status),
    };

    let profile = if options.release { " --release" } else { "" };
    let command_line = format!("cargo build --target {TARGET}{profile}");
    if let Err(status) = rest
        && !status.success()
    {
        let message = format!("`{command_line}` ended with {status}");
        return Err(report.into_failure(message, said));
    }
    report.take_warnings(&said);
    let manifest = dir.join("Cargo.toml");
    match report.artifact_of(&manifest) {
        Some(path) => {
            let (diagnostics, rendered) = report.into_said();
            let built = Built { path, build_ms: None, diagnostics, rendered, notes: Vec::new() };
            Ok((built, rest.ok()))
        }
        None => Err(Failed::Build(BuildFailure {
            message: format!("`{command_line}` built no component from `{}`", manifest.display()),
            hints: vec!["add `[lib]` with `crate-type = [\"cdylib\"]` to the manifest".to_owned()],
            ..report.into_plain_failure()
        })),
    }
}

/// Says to backup tools that a directory can be made again; cargo writes it only into target
/// directories that it makes itself.
const CACHEDIR: (&str, &str) =
    ("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# made by wrt\n");

/// Makes the target directory if it is not there, as cargo would. Blocks.
pub(super) fn make_target_dir(target_dir: &Path) -> io::Result<()> {
    if target_dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(target_dir)?;
    fs::write(target_dir.join(CACHEDIR.0), CACHEDIR.1)
}

/// Makes cargo look at `packages` again although their files' times may say that nothing changed:
/// cargo compares times, and a file may be replaced by a newer one with an older time. Blocks.
pub(super) fn distrust_times(target_dir: &Path, packages: &BTreeSet<String>, release: bool) {
    let profile = if release { "release" } else { "debug" };
    // Dependencies that run at build time are in the second one.
    for dir in [target_dir.join(TARGET).join(profile), target_dir.join(profile)] {
        // Without the directory there was no build whose times could mislead.
        let entries = fs::read_dir(dir.join(".fingerprint")).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            // `NAME-HASH`, and no hash has a dash in it.
            let package = name.to_str().and_then(|name| Some(name.rsplit_once('-')?.0));
            if package.is_some_and(|package| packages.contains(package)) {
                distrust(&entry.path());
            }
        }
    }
}

/// Makes cargo take what it built and wrote down in `fingerprint` for out of date. At worst it builds
/// once more than it had to, so that no failure here matters.
fn distrust(fingerprint: &Path) {
    let entries = || fs::read_dir(fingerprint).into_iter().flatten().flatten();
    let begins = |entry: &DirEntry, with: &str| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(with))
    };
    // What a build script was run for is compared by more than one time: cargo takes a missing record
    // for a script that never ran.
    if entries().any(|entry| begins(&entry, "run-build-script")) {
        let _ = fs::remove_dir_all(fingerprint);
        return;
    }
    // The list of what the compiler read stands for when it did; another cargo may be reading it.
    for entry in entries().filter(|entry| begins(entry, "dep-")) {
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        let file = File::options().write(true).open(entry.path());
        let _ = file.and_then(|file| file.set_modified(long_ago));
    }
}

/// What cargo's messages add up to.
#[derive(Debug, Default)]
struct Report {
    color: bool,
    line: Vec<u8>,
    is_line_too_long: bool,
    artifacts: Vec<Artifact>,
    diagnostics: Vec<Diagnostic>,
    rendered: String,
    n_left_out: usize,
    /// Whether an error is about something else than the source.
    is_of_tools: bool,
    /// Whether cargo says that everything is built.
    is_built: bool,
}

#[derive(Debug)]
struct Artifact {
    manifest: PathBuf,
    is_cdylib: bool,
    path: PathBuf,
}

impl Report {
    /// Takes a piece of cargo's standard output.
    fn push(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MAX_LINE {
                self.is_line_too_long = true;
                self.line.clear();
            } else if !self.is_line_too_long {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if std::mem::take(&mut self.is_line_too_long) {
                    self.n_left_out += 1;
                } else if let Ok(message) = serde_json::from_slice(&line) {
                    // Other lines are what build scripts print by mistake.
                    self.take(message);
                }
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::CompilerArtifact(artifact) => {
                let is_cdylib = artifact.target.crate_types.contains(&CrateType::CDyLib);
                let is_component = is_cdylib || artifact.target.is_bin();
                let mut wasm = artifact.filenames.into_iter().map(PathBuf::from);
                let wasm = wasm.find(|path| path.extension().is_some_and(|end| end == "wasm"));
                if let Some(path) = wasm.filter(|_| is_component) {
                    let manifest = artifact.manifest_path.into();
                    self.artifacts.push(Artifact { manifest, is_cdylib, path });
                }
            }
            Message::CompilerMessage(message) => self.take_diagnostic(message),
            Message::BuildFinished(finished) => self.is_built = finished.success,
            _ => {}
        }
    }

    fn take_diagnostic(&mut self, CompilerMessage { message, .. }: CompilerMessage) {
        let level = match message.level {
            DiagnosticLevel::Error | DiagnosticLevel::Ice => "error",
            DiagnosticLevel::Warning => "warning",
            // "1 warning emitted", "for more information about this error": said already.
            _ => return,
        };
        let is_unfit = message.code.is_some_and(|code| UNFIT.contains(&code.code.as_str()));
        // What the linker says is about no place in the source.
        self.is_of_tools |= level == "error" && (is_unfit || message.spans.is_empty());
        let rendered = message.rendered.unwrap_or_else(|| message.message.clone());
        let is_full = self.diagnostics.len() >= MAX_DIAGNOSTICS
            || self.rendered.len() + rendered.len() > MAX_RENDERED;
        if is_full {
            self.n_left_out += 1;
            return;
        }
        self.rendered.push_str(&clean(&rendered, self.color));
        let span = message.spans.iter().find(|span| span.is_primary);
        let number = |n: usize| u32::try_from(n).ok();
        self.diagnostics.push(Diagnostic {
            level: level.to_owned(),
            file: span.map(|span| span.file_name.clone()),
            line: span.and_then(|span| number(span.line_start)),
            column: span.and_then(|span| number(span.column_start)),
            text: clean(&rendered, false),
        });
    }

    /// The component built from the package of `manifest`: its library, or else its only program.
    fn artifact_of(&self, manifest: &Path) -> Option<PathBuf> {
        // Cargo names real paths.
        let manifest = manifest.canonicalize().ok()?;
        let own = || {
            self.artifacts.iter().filter(|artifact| {
                artifact.manifest.canonicalize().is_ok_and(|path| path == manifest)
            })
        };
        let library = own().find(|artifact| artifact.is_cdylib);
        let program = || own().next().filter(|_| own().count() == 1);
        library.or_else(program).map(|artifact| artifact.path.clone())
    }

    /// Adds what cargo itself warned of, before what the compiler said.
    fn take_warnings(&mut self, said: &Said<'_>) {
        let warnings = said.warnings();
        let rendered: String = warnings.iter().map(|one| format!("{}\n\n", one.text)).collect();
        self.rendered.insert_str(0, &rendered);
        self.diagnostics.splice(..0, warnings);
        self.n_left_out += said.n_left_out();
    }

    /// What was said, with a last word on what was left out of it.
    fn into_said(mut self) -> (Vec<Diagnostic>, String) {
        if self.n_left_out > 0 {
            let text = format!("… {} more messages left out …", self.n_left_out);
            self.rendered.push_str(&text);
            self.rendered.push('\n');
            self.diagnostics.push(Diagnostic {
                level: "note".to_owned(),
                file: None,
                line: None,
                column: None,
                text,
            });
        }
        (self.diagnostics, self.rendered)
    }

    fn into_plain_failure(self) -> BuildFailure {
        let (diagnostics, rendered) = self.into_said();
        BuildFailure { message: String::new(), hints: Vec::new(), diagnostics, rendered }
    }

    /// A failure with the compiler's diagnostics, or with cargo's own words when it got no further.
    fn into_failure(mut self, message: String, said: Said<'_>) -> Failed {
        if !self.diagnostics.iter().any(|diagnostic| diagnostic.level == "error") {
            let mut failure = BuildFailure::with_output(message, &said.into_text());
            let (mut diagnostics, rendered) = self.into_said();
            diagnostics.append(&mut failure.diagnostics);
            let rendered = rendered + &failure.rendered;
            return Failed::Build(BuildFailure { diagnostics, rendered, ..failure });
        }
        self.take_warnings(&said);
        let is_of_tools = self.is_of_tools;
        let failure = BuildFailure { message, ..self.into_plain_failure() };
        if is_of_tools { Failed::Tools(failure) } else { Failed::Build(failure) }
    }
}
