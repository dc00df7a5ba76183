//! Real cargo packages: built, failed, rebuilt when and only when what they read changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Bench, has, save};
use crate::dev::{NoticeKind, Options, Source, build_once};

/// A workspace with handlers `one` and `two`, of which `one` uses the library `shared`.
struct Workspace {
    dir: TempDir,
}

impl Workspace {
    fn new() -> Self {
        let workspace = Self { dir: tempfile::tempdir().unwrap() };
        workspace.write(
            "Cargo.toml",
            "[workspace]\nmembers = [\"shared\", \"one\", \"two\"]\nresolver = \"3\"\n",
        );
        workspace.add_package("shared", "", "pub fn number() -> u32 { 1 }\n");
        let cdylib = "[lib]\ncrate-type = [\"cdylib\"]\n";
        let dependency = format!("{cdylib}[dependencies]\nshared = {{ path = \"../shared\" }}\n");
        let export = "#[unsafe(no_mangle)]\npub extern \"C\" fn number() -> u32";
        workspace.add_package("one", &dependency, &format!("{export} {{ shared::number() }}\n"));
        workspace.add_package("two", cdylib, &format!("{export} {{ 2 }}\n"));
        workspace
    }

    fn add_package(&self, name: &str, more: &str, source: &str) {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}"
        );
        self.write(&format!("{name}/Cargo.toml"), &manifest);
        self.write(&format!("{name}/src/lib.rs"), source);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        save(&path, content);
    }

    fn source(&self, name: &str) -> Source {
        Source::Cargo { dir: self.path(name) }
    }

    fn options(&self) -> Options {
        // Whatever the tests' own cargo was told must not reach these builds.
        Options { target_dir: Some(self.path("target")), ..Options::default() }
    }
}

#[tokio::test]
async fn a_change_rebuilds_the_handlers_that_read_it_and_no_other() {
    let workspace = Workspace::new();
    let sources = vec![("one", workspace.source("one")), ("two", workspace.source("two"))];
    let mut bench = Bench::start_all(sources, workspace.options());
    let mut paths = Vec::new();
    for _ in 0..2 {
        let (_, notice, built) = bench.built().await;
        assert_eq!(notice.cause, "first build");
        assert!(built.build_ms.is_some_and(|ms| ms > 0.0));
        assert_eq!(&fs::read(&built.path).unwrap()[..4], b"\0asm");
        paths.push((notice.handler.to_string(), built.path));
    }
    paths.sort();
    let (one, two) = (&paths[0].1, &paths[1].1);
    assert!(one.ends_with("wasm32-wasip2/debug/one.wasm"), "{one:?}");
    assert!(two.ends_with("wasm32-wasip2/debug/two.wasm"), "{two:?}");

    let before = fs::read(one).unwrap();
    workspace.write("shared/src/lib.rs", "pub fn number() -> u32 { 12345 }\n");
    let (changed, notice, _) = bench.built().await;
    assert_eq!(notice.handler.as_str(), "one");
    assert_eq!(changed, [workspace.path("shared/src/lib.rs").canonicalize().unwrap()]);
    assert_ne!(fs::read(one).unwrap(), before);

    workspace.write("two/src/lib.rs", "#![allow(unused)]\nfn unused() {}\n");
    let (changed, notice, _) = bench.built().await;
    assert_eq!(notice.handler.as_str(), "two");
    assert_eq!(changed, [Path::new("src/lib.rs")]);
}

#[tokio::test]
async fn an_error_comes_with_file_and_line_and_mending_it_builds() {
    let workspace = Workspace::new();
    let options = Options { color: true, ..workspace.options() };
    let mut bench = Bench::start(workspace.source("two"), options);
    let (_, _, built) = bench.built().await;
    workspace.write("two/src/lib.rs", "\npub fn number() -> u32 { \"text\" }\n");
    let failure = bench.failed().await;
    assert_eq!(failure.message, "`cargo build --target wasm32-wasip2` ended with exit status: 101");
    let error = &failure.diagnostics[0];
    assert_eq!((error.level.as_str(), error.line, error.column), ("error", Some(2), Some(26)));
    assert_eq!(error.file.as_deref(), Some("two/src/lib.rs"));
    assert!(error.text.contains("mismatched types") && !error.text.contains('\u{1b}'));
    assert!(failure.rendered.contains("\u{1b}["), "{}", failure.rendered);

    workspace.write("two/src/lib.rs", "pub fn unused() {}\nfn warned() {}\n");
    let (_, _, mended) = bench.built().await;
    assert_eq!(mended.path, built.path);
    assert_eq!(mended.diagnostics[0].level, "warning");
}

/// The one copy of the standard library in `target`.
fn lean_copy(workspace: &Workspace) -> PathBuf {
    let mut copies = fs::read_dir(workspace.path("target/wrt")).unwrap();
    let copy = copies.next().unwrap().unwrap().path();
    assert!(copies.next().is_none());
    copy
}

/// A library whose code names lines of its own and of the standard library.
const FORMATS: &str = "#[unsafe(no_mangle)]
pub extern \"C\" fn formats(n: usize) -> usize { format!(\"{n:?}\").len() }\n";

#[tokio::test]
async fn only_the_packages_own_debug_information_is_linked() {
    let workspace = Workspace::new();
    workspace.write("two/src/lib.rs", FORMATS);
    let built = build_once(&workspace.source("two"), &workspace.options()).await.unwrap();
    let component = fs::read(&built.path).unwrap();
    assert!(has(&component, ".debug_line"));
    assert!(has(&component, "two/src"), "the package's own files are not named");
    assert!(component.len() < 500_000, "{} bytes", component.len());

    let options = Options { release: true, ..workspace.options() };
    build_once(&workspace.source("two"), &options).await.unwrap();
    lean_copy(&workspace);
}

#[tokio::test]
async fn a_lean_copy_that_does_not_work_is_not_used_again_and_made_anew_at_the_next_start() {
    let workspace = Workspace::new();
    workspace.write("two/src/lib.rs", FORMATS);
    build_once(&workspace.source("two"), &workspace.options()).await.unwrap();
    let libraries = lean_copy(&workspace).join("lib/rustlib/wasm32-wasip2/lib");
    for library in fs::read_dir(&libraries).unwrap() {
        let path = library.unwrap().path();
        if path.is_file() {
            fs::remove_file(&path).unwrap();
            fs::write(&path, "rubbish").unwrap();
        }
    }
    workspace.write("two/src/lib.rs", &FORMATS.replace("formats", "formats_again"));
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    let (_, _, built) = bench.built().await;
    assert!(has(&fs::read(&built.path).unwrap(), "formats_again"));
    let note = bench.next().await.kind;
    let NoticeKind::Info { message } = note else { panic!("expected a note, found {note:?}") };
    assert!(message.contains("whole standard library"), "{message}");
    // An error of the package's is told as ever, and once.
    workspace.write("two/src/lib.rs", "mistake\n");
    assert_eq!(bench.failed().await.diagnostics[0].line, Some(1));
    assert!(!libraries.exists(), "the damaged copy is still there");

    workspace.write("two/src/lib.rs", FORMATS);
    let built = build_once(&workspace.source("two"), &workspace.options()).await.unwrap();
    assert!(built.notes.is_empty(), "{:?}", built.notes);
    assert_eq!(lean_copy(&workspace).join("lib/rustlib/wasm32-wasip2/lib"), libraries);
}

#[tokio::test]
async fn new_content_with_an_old_time_is_compiled() {
    let workspace = Workspace::new();
    let mut bench = Bench::start(workspace.source("one"), workspace.options());
    let (_, _, built) = bench.built().await;
    let before = fs::read(&built.path).unwrap();
    let path = workspace.path("shared/src/lib.rs");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(workspace.path("fresh"), "pub fn number() -> u32 { 7 }\n").unwrap();
    File::open(workspace.path("fresh")).unwrap().set_modified(modified).unwrap();
    fs::rename(workspace.path("fresh"), &path).unwrap();
    let (_, _, built) = bench.built().await;
    assert_ne!(fs::read(&built.path).unwrap(), before);
}

#[tokio::test]
async fn a_file_outside_the_package_that_the_compiler_read_is_an_input() {
    let workspace = Workspace::new();
    workspace.write("elsewhere.txt", "1");
    workspace.write(
        "two/src/lib.rs",
        "#[unsafe(no_mangle)]\npub static TEXT: &str = include_str!(\"../../elsewhere.txt\");\n",
    );
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    bench.built().await;
    workspace.write("elsewhere.txt", "2");
    let (changed, ..) = bench.built().await;
    assert_eq!(changed, [workspace.path("elsewhere.txt").canonicalize().unwrap()]);
}

#[tokio::test]
async fn a_file_that_the_compiler_does_not_read_never_causes_a_build() {
    let workspace = Workspace::new();
    workspace.write("two/log", "1");
    workspace.write("two/read.txt", "1");
    workspace.write(
        "two/src/lib.rs",
        "#[unsafe(no_mangle)]\npub static TEXT: &str = include_str!(\"../read.txt\");\n",
    );
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    bench.built().await;
    workspace.write("two/log", "2");
    fs::create_dir_all(workspace.path("two/target")).unwrap();
    workspace.write("two/target/x.rs", "2");
    workspace.write("two/read.txt", "2");
    let (changed, ..) = bench.built().await;
    assert_eq!(changed, [Path::new("read.txt")]);
}

#[tokio::test]
async fn a_new_dependency_is_followed_from_then_on() {
    let workspace = Workspace::new();
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    bench.built().await;
    let manifest = fs::read_to_string(workspace.path("one/Cargo.toml")).unwrap();
    workspace.write("two/Cargo.toml", &manifest.replace("\"one\"", "\"two\""));
    bench.built().await;
    workspace.write("shared/src/lib.rs", "pub fn number() -> u32 { 3 }\n");
    let (changed, ..) = bench.built().await;
    assert_eq!(changed, [workspace.path("shared/src/lib.rs").canonicalize().unwrap()]);
}

#[tokio::test]
async fn a_broken_manifest_is_told_in_cargos_words_and_mended() {
    let workspace = Workspace::new();
    let good = fs::read_to_string(workspace.path("two/Cargo.toml")).unwrap();
    workspace.write("two/Cargo.toml", "[package\n");
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    let failure = bench.failed().await;
    assert!(failure.message.contains("`cargo metadata`"), "{failure:?}");
    assert!(failure.rendered.contains("Cargo.toml"), "{failure:?}");
    workspace.write("two/Cargo.toml", &good);
    bench.built().await;
}

#[tokio::test]
async fn a_missing_package_is_awaited() {
    let workspace = Workspace::new();
    fs::rename(workspace.path("two"), workspace.path("aside")).unwrap();
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    let (_, notice) = bench.outcome().await;
    assert!(matches!(notice.kind, NoticeKind::Unavailable { .. }), "{notice:?}");
    fs::rename(workspace.path("aside"), workspace.path("two")).unwrap();
    bench.built().await;
}

#[tokio::test]
async fn packages_that_make_no_component_are_told_what_is_missing() {
    let workspace = Workspace::new();
    let options = workspace.options();
    let library = build_once(&workspace.source("shared"), &options).await.unwrap_err();
    assert!(library.message.contains("built no component from"), "{library}");
    assert!(library.hints[0].contains("crate-type = [\"cdylib\"]"), "{library:?}");
    let whole = Source::Cargo { dir: workspace.dir.path().to_owned() };
    let whole = build_once(&whole, &options).await.unwrap_err();
    assert!(whole.message.contains("has no package of its own"), "{whole}");
}
