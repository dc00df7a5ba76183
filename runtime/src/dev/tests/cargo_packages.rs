//! Real cargo packages: built, failed, rebuilt when and only when what they read changes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{Bench, Built, has, save};
use crate::dev::notice::NoticeKind;
use crate::dev::{Options, Source, build_once};

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

#[tokio::test]
async fn warnings_come_with_a_build_that_succeeds_cargos_own_among_them() {
    let workspace = Workspace::new();
    let manifest = fs::read_to_string(workspace.path("two/Cargo.toml")).unwrap();
    let unused = manifest.replace("edition = \"2024\"", "edition = \"2024\"\nfnord = 3");
    workspace.write("two/Cargo.toml", &unused);
    workspace.write(
        "two/build.rs",
        "fn main() { println!(\"cargo::rerun-if-changed=build.rs\\ncargo::warning=scripted\"); }\n",
    );
    workspace.write(
        "two/src/lib.rs",
        "#[deprecated]\npub fn old() {}\npub fn new() { let unused = 1; old() }\n",
    );
    let expected = [
        "unused manifest key: package.fnord",
        "two@0.1.0: scripted",
        "unused variable: `unused`",
        "use of deprecated function",
    ];
    let check = |built: &Built| {
        for part in expected {
            let n = built.diagnostics.iter().filter(|one| one.text.contains(part)).count();
            assert_eq!(n, 1, "{part}: {:#?}", built.diagnostics);
            assert!(built.rendered.contains(part), "{part}: {}", built.rendered);
        }
        assert!(built.diagnostics.iter().all(|one| one.level == "warning"));
    };
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    check(&bench.built().await.2);
    // Also when cargo compiles nothing.
    check(&build_once(&workspace.source("two"), &workspace.options()).await.unwrap());
    workspace.write("two/src/lib.rs", "mistake\n");
    let failure = bench.failed().await;
    let texts: Vec<_> = failure.diagnostics.iter().map(|one| &one.text).collect();
    assert!(texts.iter().any(|text| text.contains("package.fnord")), "{texts:?}");
}

#[tokio::test]
async fn waiting_for_another_cargo_is_told() {
    let workspace = Workspace::new();
    let dir = workspace.path("target/wasm32-wasip2/debug");
    fs::create_dir_all(&dir).unwrap();
    // As another cargo holds it.
    let lock = File::create(dir.join(".cargo-lock")).unwrap();
    lock.lock().unwrap();
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    loop {
        match bench.next().await.kind {
            NoticeKind::Info { message } => {
                assert!(message.contains("waiting for another cargo (file lock)"), "{message}");
                break;
            }
            NoticeKind::Building => {}
            other => panic!("expected to wait, found {other:?}"),
        }
    }
    lock.unlock().unwrap();
    bench.built().await;
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
    // With and without watching: what is done besides is told before the outcome.
    for watch in [false, true] {
        let workspace = Workspace::new();
        workspace.write("two/src/lib.rs", FORMATS);
        build_once(&workspace.source("two"), &workspace.options()).await.unwrap();
        let libraries = lean_copy(&workspace).join("lib/rustlib/wasm32-wasip2/lib");
        let files: Vec<_> =
            fs::read_dir(&libraries).unwrap().map(|file| file.unwrap().path()).collect();
        for path in files.iter().filter(|path| path.is_file()) {
            // Not through a link to the toolchain's own file.
            fs::remove_file(path).unwrap();
            fs::write(path, "rubbish").unwrap();
        }
        workspace.write("two/src/lib.rs", &FORMATS.replace("formats", "formats_again"));
        let start = if watch { Bench::start } else { Bench::start_once };
        let mut bench = start(workspace.source("two"), workspace.options());
        let mut notes = Vec::new();
        let built = loop {
            match bench.next().await.kind {
                NoticeKind::Info { message } => notes.push(message),
                NoticeKind::Built(built) => break built,
                NoticeKind::BuildFailed(failure) => panic!("{failure:?}"),
                _ => {}
            }
        };
        // Beside it, cargo may have waited for others on the machine.
        let is_told = |note: &&String| note.contains("whole standard library");
        assert_eq!(notes.iter().filter(is_told).count(), 1, "{notes:?}");
        assert!(has(&fs::read(&built.path).unwrap(), "formats_again"));
        assert!(!libraries.exists(), "the damaged copy is still there");
        if watch {
            // An error of the package's is told as ever, and once.
            workspace.write("two/src/lib.rs", "mistake\n");
            assert_eq!(bench.failed().await.diagnostics[0].line, Some(1));
        }
        // It would build what is written next, too, and the two cargos would wait for each other.
        drop(bench);

        workspace.write("two/src/lib.rs", FORMATS);
        let built = build_once(&workspace.source("two"), &workspace.options()).await.unwrap();
        assert!(!built.notes.iter().any(|note| is_told(&note)), "{:?}", built.notes);
        assert_eq!(lean_copy(&workspace).join("lib/rustlib/wasm32-wasip2/lib"), libraries);
    }
}

#[tokio::test]
async fn what_is_up_to_date_is_as_new_as_its_last_build() {
    let workspace = Workspace::new();
    let build = async |release| {
        let options = Options { release, ..workspace.options() };
        build_once(&workspace.source("two"), &options).await.unwrap().path
    };
    let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let (release, debug) = (build(true).await, build(false).await);
    let (first, built) = (modified(&release), fs::read(&release).unwrap());
    assert!(first < modified(&debug));
    build(true).await;
    assert!(modified(&release) > modified(&debug));
    assert_eq!(fs::read(&release).unwrap(), built);
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

/// Replaces `name` by `text` with a time before that of what was there.
fn restore(workspace: &Workspace, name: &str, text: &str) {
    let modified = fs::metadata(workspace.path(name)).unwrap().modified().unwrap();
    fs::write(workspace.path("fresh"), text).unwrap();
    let older = modified - Duration::from_secs(3600);
    File::open(workspace.path("fresh")).unwrap().set_modified(older).unwrap();
    fs::rename(workspace.path("fresh"), workspace.path(name)).unwrap();
}

#[tokio::test]
async fn new_content_with_an_old_time_is_compiled_by_a_later_session() {
    let workspace = Workspace::new();
    for release in [false, true] {
        let options = Options { release, ..workspace.options() };
        let build = async || {
            let built = build_once(&workspace.source("one"), &options).await.unwrap();
            fs::read(&built.path).unwrap()
        };
        workspace.write("shared/src/lib.rs", "pub fn number() -> u32 { 54321 }\n");
        let first = build().await;
        // In a dependency, in the package itself, and in what its build script reads.
        restore(&workspace, "shared/src/lib.rs", "pub fn number() -> u32 { 12345 }\n");
        let second = build().await;
        assert_ne!(second, first);
        let source = fs::read_to_string(workspace.path("one/src/lib.rs")).unwrap();
        restore(&workspace, "one/src/lib.rs", &source.replace("::number()", "::number() + 99"));
        let third = build().await;
        assert_ne!(third, second);
        workspace.write("one/number.txt", "7");
        workspace.write(
            "one/build.rs",
            "fn main() { println!(\"cargo::rerun-if-changed=number.txt\\ncargo::rustc-env=N={}\", \
             std::fs::read_to_string(\"number.txt\").unwrap()) }\n",
        );
        let scripted =
            source.replace("shared::number()", "{ const N: &str = env!(\"N\"); N.len() as u32 }");
        workspace.write("one/src/lib.rs", &scripted);
        let fourth = build().await;
        restore(&workspace, "one/number.txt", "1234567");
        assert_ne!(build().await, fourth);
        fs::remove_file(workspace.path("one/build.rs")).unwrap();
        workspace.write("one/src/lib.rs", &source);
    }
}

#[tokio::test]
async fn a_component_that_another_build_wrote_over_is_built_again() {
    let workspace = Workspace::new();
    let component = async |package: &str| {
        let built = build_once(&workspace.source(package), &workspace.options()).await.unwrap();
        fs::read(&built.path).unwrap()
    };
    let two = component("two").await;
    // Another package that builds a file of the same name.
    let manifest = fs::read_to_string(workspace.path("one/Cargo.toml")).unwrap();
    workspace.write("one/Cargo.toml", &manifest.replace("[lib]", "[lib]\nname = \"two\""));
    assert_ne!(component("one").await, two);
    assert_eq!(component("two").await, two);
}

#[tokio::test]
async fn two_packages_that_build_one_file_are_told_by_name() {
    let workspace = Workspace::new();
    let manifest = fs::read_to_string(workspace.path("one/Cargo.toml")).unwrap();
    workspace.write("one/Cargo.toml", &manifest.replace("[lib]", "[lib]\nname = \"two\""));
    let sources = vec![("one", workspace.source("one")), ("two", workspace.source("two"))];
    let mut bench = Bench::start_all(sources, workspace.options());
    let (mut n_failed, mut components) = (0, BTreeMap::new());
    // What a handler has from its own package: until the name is mended, both build `two.wasm`.
    let mut take = |handler: &str, path: &Path| {
        let is_own = path.file_stem() == Some(handler.as_ref());
        if is_own {
            components.insert(handler.to_owned(), fs::read(path).unwrap());
        }
        components.len()
    };
    for _ in 0..2 {
        let notice = bench.outcome().await.1;
        match notice.kind {
            NoticeKind::BuildFailed(failure) => {
                n_failed += 1;
                for part in ["`one`", "`two`", "`two.wasm`"] {
                    assert!(failure.message.contains(part), "{part}: {failure}");
                }
                assert_eq!(failure.hints.len(), 1, "{failure:?}");
            }
            NoticeKind::Built(built) => {
                take(notice.handler.as_str(), &built.path);
            }
            other => panic!("expected an outcome of a build, found {other:?}"),
        }
    }
    assert_eq!(n_failed, 1);
    // Mending it mends both. Where `two` came first, what it built is right, and nothing builds it
    // again; where `one` did, both are built.
    workspace.write("one/Cargo.toml", &manifest);
    loop {
        let (_, notice, built) = bench.built().await;
        if take(notice.handler.as_str(), &built.path) == 2 {
            break;
        }
    }
    assert_ne!(components["one"], components["two"]);
    // Two handlers of one package are no rivals.
    let sources = vec![("a", workspace.source("one")), ("b", workspace.source("one"))];
    let mut bench = Bench::start_all(sources, workspace.options());
    for _ in 0..2 {
        bench.built().await;
    }
}

#[tokio::test]
async fn a_source_that_git_ignores_is_watched_though_the_first_build_fails() {
    // In the package's sources, elsewhere in it, missing at first.
    for (name, module) in [
        ("src/generated.rs", "mod generated;"),
        ("gen/code.rs", "#[path = \"../gen/code.rs\"] mod code;"),
    ] {
        for is_there in [true, false] {
            let workspace = Workspace::new();
            fs::create_dir(workspace.path(".git")).unwrap();
            workspace.write(".gitignore", "generated.rs\n/two/gen\ntarget\n");
            let library = fs::read_to_string(workspace.path("two/src/lib.rs")).unwrap();
            workspace.write("two/src/lib.rs", &format!("{module}\n{library}"));
            let name = format!("two/{name}");
            fs::create_dir_all(workspace.path(&name).parent().unwrap()).unwrap();
            if is_there {
                workspace.write(&name, "mistake\n");
            }
            let mut bench = Bench::start(workspace.source("two"), workspace.options());
            bench.failed().await;
            workspace.write(&name, "pub fn mended() {}\n");
            bench.built().await;
        }
    }
}

#[tokio::test]
async fn a_text_that_git_ignores_is_awaited_though_the_first_build_misses_it() {
    let workspace = Workspace::new();
    fs::create_dir(workspace.path(".git")).unwrap();
    workspace.write(".gitignore", "*.txt\ntarget\n");
    workspace.write(
        "two/src/lib.rs",
        "#[unsafe(no_mangle)]\npub static TEXT: &str = include_str!(\"../text.txt\");\n",
    );
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    bench.failed().await;
    workspace.write("two/text.txt", "1");
    bench.built().await;
}

#[tokio::test]
async fn a_build_script_that_writes_into_the_sources_comes_to_an_end() {
    let workspace = Workspace::new();
    let script = "fn main() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let text = format!(\"pub const AT: u128 = {};\", now.as_nanos());
        std::fs::write(\"src/stamp.rs\", text).unwrap();
    }\n";
    workspace.write("two/build.rs", script);
    let library = fs::read_to_string(workspace.path("two/src/lib.rs")).unwrap();
    workspace.write("two/src/lib.rs", &format!("pub mod stamp;\n{library}"));
    let mut bench = Bench::start(workspace.source("two"), workspace.options());
    let mut n_built = 0;
    let told = loop {
        match bench.next().await.kind {
            NoticeKind::Info { message } if message.contains("own inputs") => break message,
            NoticeKind::Built(_) => n_built += 1,
            NoticeKind::BuildFailed(failure) => panic!("{failure:?}"),
            _ => {}
        }
    };
    assert!((1..=4).contains(&n_built), "{n_built} builds");
    assert!(told.contains("stamp.rs"), "{told}");
    // One more, because the last change may have been a save.
    bench.built().await;
    workspace.write("two/src/lib.rs", &format!("{library}// saved\npub mod stamp;\n"));
    let (changed, ..) = bench.built().await;
    assert!(changed.contains(&PathBuf::from("src/lib.rs")), "{changed:?}");
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
async fn a_broken_manifest_outside_the_package_is_mended_at_the_start() {
    let workspace = Workspace::new();
    for name in ["Cargo.toml", "shared/Cargo.toml"] {
        let good = fs::read_to_string(workspace.path(name)).unwrap();
        workspace.write(name, "[package\n");
        let mut bench = Bench::start(workspace.source("one"), workspace.options());
        let failure = bench.failed().await;
        assert!(failure.message.contains("`cargo metadata`"), "{failure:?}");
        workspace.write(name, &good);
        let (changed, ..) = bench.built().await;
        assert_eq!(changed, [workspace.path(name).canonicalize().unwrap()]);
    }
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
