//! Every refusal of a user's input, as the user reads it, with its exit status.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use wrt_test_support::guests;

use crate::binary::{run, start, wait, wrt};
use crate::project::Project;

/// Runs `wrt serve` in the project, and expects how it ends but for paths, ports and digests.
fn check(project: &Project, path: &str, code: i32, expected: &str) {
    let ended =
        run(wrt(["serve", "--listen", "127.0.0.1:0", "--admin", "off"]).arg(project.path(path)));
    assert_eq!((ended.stdout.as_str(), filter(&ended.stderr, project).as_str()), ("", expected));
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
}

/// `text` with `[TMP]`, `[PORT]` and `[DIGEST]` for what differs from run to run.
fn filter(text: &str, project: &Project) -> String {
    let text = text.replace(project.root().to_str().unwrap(), "[TMP]");
    let text = mask(&text, "127.0.0.1:", "[PORT]", |c| c.is_ascii_digit());
    mask(&text, "sha256:", "[DIGEST]", |c| c.is_ascii_hexdigit())
}

/// Replaces the characters of a kind after each `before`.
fn mask(text: &str, before: &str, name: &str, is_part: fn(char) -> bool) -> String {
    let mut parts = text.split(before);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + before + name + part.trim_start_matches(is_part))
}

fn with_component(bytes: &[u8]) -> Project {
    let project = Project::empty();
    fs::write(project.path("x.wasm"), bytes).unwrap();
    project
}

/// Expects that `bytes` as a component are rejected at `stage`, for `cause`, with `hints`.
fn check_rejected(bytes: &[u8], stage: &str, cause: &str, hints: &[&str]) {
    let hints: String = hints.iter().map(|hint| format!("hint: {hint}\n")).collect();
    let expected = format!(
        "listening on http://127.0.0.1:[PORT]\n\
         error: rejected a new generation of `x` while {stage}\n  caused by: {cause}\n\
         note: nothing is served\n{hints}"
    );
    check(&with_component(bytes), "x.wasm", 1, &expected);
}

#[test]
fn core_module_is_rejected() {
    check_rejected(
        &wat::parse_str("(module)").unwrap(),
        "compiling its component",
        "expected a WebAssembly component, found a core WebAssembly module",
        &[
            "build for `wasm32-wasip2`, which makes components",
            "or wrap the module with `wasm-tools component new`",
        ],
    );
}

#[test]
fn html_page_is_rejected() {
    check_rejected(
        b"<!doctype html><title>404</title>",
        "compiling its component",
        "expected a WebAssembly component, found an HTML page",
        &["check what wrote the file; a component starts with the bytes `\\0asm`"],
    );
}

#[test]
fn truncated_component_is_rejected() {
    let whole = fs::read(guests::guest("trap").unwrap()).unwrap();
    let project = with_component(&whole[..whole.len() / 2]);
    let ended = run(
        wrt(["serve", "--listen", "127.0.0.1:0", "--admin", "off"]).arg(project.path("x.wasm"))
    );
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let said = filter(&ended.stderr, &project);
    let size = whole.len() / 2;
    let expected = [
        "error: rejected a new generation of `x` while compiling its component\n".to_owned(),
        format!("failed to compile the component (sha256:[DIGEST], {size} bytes): failed to parse"),
        "hint: the file may still be being written, or was cut short: build it again\n".to_owned(),
    ];
    for part in expected {
        assert!(said.contains(&part), "no `{part}` in {said}");
    }
}

#[test]
fn missing_export_is_named() {
    check_rejected(
        &wat::parse_str("(component)").unwrap(),
        "checking what it imports and exports",
        "the component does not fit world `wasi:http/proxy@0.2`: export \
         `wasi:http/incoming-handler@0.2.x` or `wrt:plugin/handler@0.1.0` is missing; it exports \
         nothing",
        &["mark the handler with `#[wrt_guest::http]` or `#[wrt_guest::event]`, or export the \
           world by hand"],
    );
}

#[test]
fn each_missing_import_is_named_with_the_versions() {
    let text = r#"(component
        (import "wasi:logging/logging@9.0.0" (instance
            (export "log" (func (param "message" string)))))
        (import "acme:db/rows@1.2.0" (instance (export "get" (func))))
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $h (export "handle" (func $f)))
        (export "wasi:http/incoming-handler@0.2.3" (instance $h)))"#;
    check_rejected(
        &wat::parse_str(text).unwrap(),
        "checking what it imports and exports",
        "the component does not fit world `wasi:http/proxy@0.2`: import \
         `wasi:logging/logging@9.0.0` is not provided (this runtime provides 0.1.0-draft); import \
         `acme:db/rows@1.2.0` is not provided (this runtime provides nothing of that name): \
         component imports instance `wasi:logging/logging@9.0.0`, but a matching implementation \
         was not found in the linker: instance export `log` has the wrong type: function \
         implementation is missing",
        &["remove the dependency that needs it, or build against the offered version"],
    );
}

#[test]
fn package_that_is_not_built_is_refused_with_a_hint() {
    check(
        &Project::hello("cli-not-built"),
        "",
        1,
        "error: found no built component of the package in `[TMP]`\n\
         hint: run `wrt build --release` first, or `wrt dev` to build and serve at once\n",
    );
}

#[test]
fn missing_component_is_refused_with_a_hint() {
    let project = Project::empty();
    project.write("wrt.toml", "[handler.a]\nsource = 'a.wasm'\n");
    check(
        &project,
        "",
        1,
        "error: `[TMP]/a.wasm` does not exist\n\
         hint: build the handler, or correct the path\n",
    );
}

#[test]
fn source_that_is_neither_package_nor_component_is_refused_at_once() {
    let hint = "name the directory with the package's `Cargo.toml`, a component, or `{ command = \
                \"make\", output = \"out.wasm\" }` for what a tool of yours builds";
    let project = Project::empty();
    project.write("app.js", "addEventListener('fetch', () => {})\n");
    project.write("notes/readme.txt", "nothing to build\n");
    for (source, found) in [
        ("app.js", "the file `[TMP]/app.js`"),
        ("notes", "the directory `[TMP]/notes`, which has no `Cargo.toml`"),
        ("gone.py", "`[TMP]/gone.py`, which does not exist"),
    ] {
        project.write("wrt.toml", &format!("[handler.a]\nsource = '{source}'\n"));
        let expected = format!(
            "error: expected a cargo package or a `.wasm` file as `source` of handler `a`, found \
             {found}\nhint: {hint}\n"
        );
        for command in ["serve", "dev", "build"] {
            let mut wrt = wrt([command]);
            if command != "build" {
                wrt.args(["--listen", "127.0.0.1:0", "--admin", "off"]);
            }
            let ended = run(wrt.arg(project.root()));
            assert_eq!(filter(&ended.stderr, &project), expected, "{command}");
            assert_eq!(ended.code, Some(1), "{command}");
        }
    }
    // Without a manifest, too.
    let ended = run(wrt(["dev"]).arg(project.path("app.js")));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("expected a directory or a `.wasm` file"), "{}", ended.stderr);
    // What is not there cannot be built or served; `wrt dev` waits for it.
    project.write("wrt.toml", "[handler.a]\nsource = 'later'\n");
    let ended = run(wrt(["build"]).arg(project.root()));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("later/Cargo.toml` does not exist"), "{}", ended.stderr);
}

#[test]
fn packages_that_were_built_to_one_file_are_refused_and_what_was_built_last_is_served() {
    let project = Project::empty();
    let package = |name: &str| {
        format!("[package]\nname = '{name}'\nversion = '0.1.0'\n[lib]\nname = 'same'\n")
    };
    project.write("Cargo.toml", "[workspace]\nmembers = ['one', 'two']\n");
    let mut manifest = String::new();
    for name in ["one", "two"] {
        project.write(&format!("{name}/Cargo.toml"), &package(name));
        manifest += &format!("[handler.{name}]\nsource = '{name}'\nroute = '/{name}'\n");
    }
    project.write("wrt.toml", &manifest);
    project.write("target/wasm32-wasip2/release/same.wasm", "release");
    project.write("target/wasm32-wasip2/debug/same.wasm", "debug");
    let make_older = |path: &Path| {
        let hour = std::time::Duration::from_secs(3600);
        let before = std::time::SystemTime::now() - hour;
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(before).unwrap();
    };
    make_older(&project.path("target/wasm32-wasip2/release/same.wasm"));
    let ended =
        run(wrt(["serve", "--listen", "127.0.0.1:0", "--admin", "off"]).arg(project.root()));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for part in ["handlers `one` and `two`", "debug/same.wasm`", "hint: give one of the packages"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }

    // One of them alone serves what was built last, and says so where that is no release build.
    project.write("wrt.toml", "[handler.one]\nsource = 'one'\n");
    let guest = guests::guest("trap").unwrap();
    let component =
        |profile: &str| project.path(&format!("target/wasm32-wasip2/{profile}/same.wasm"));
    for (older, newer, is_told) in [("release", "debug", true), ("debug", "release", false)] {
        fs::write(component(older), "no component").unwrap();
        make_older(&component(older));
        fs::copy(&guest, component(newer)).unwrap();
        let server = start("serve", project.root(), &[]);
        wait(&server, "one", "swapped", 0);
        let told = server.stderr().contains("a debug build that is newer than the release build");
        assert_eq!(told, is_told, "{}", server.stderr());
    }
}

#[test]
fn each_problem_of_a_manifest_is_told_with_its_place() {
    let project = Project::empty();
    project.write(
        "wrt.toml",
        "[handler.a]\nsource = 'a.wasm'\nroute = '/x'\ntiemout = '1s'\n\
         [handler.b]\nsource = 'b.wasm'\nroute = '/y'\nmemory = '64MB'\n",
    );
    check(
        &project,
        "",
        1,
        "error: [TMP]/wrt.toml:4:1: unknown key `tiemout` in handler `a`\n  \
           hint: did you mean `timeout`?\n\
         error: [TMP]/wrt.toml:8:10: `memory` of handler `b`: expected a size such as `64MiB`, \
         `512KiB` or `2GiB`, found `64MB`\n",
    );
    project.write(
        "wrt.toml",
        "[handler.a]\nsource = 'a.wasm'\nroute = '/x'\n\
         [handler.b]\nsource = 'b.wasm'\nroute = '/x'\n",
    );
    check(
        &project,
        "",
        1,
        "error: [TMP]/wrt.toml:6:1: handlers `a` and `b` have the same route `/x`\n  \
           hint: give `b` a route of its own, such as `/b/*`\n",
    );
}

#[test]
fn path_that_leads_to_no_project_is_a_bad_argument() {
    let project = Project::empty();
    check(
        &project,
        "",
        2,
        "error: found neither `wrt.toml` nor `Cargo.toml` in `[TMP]`\n\
         hint: pass a cargo package, a `.wasm` file or a directory with `wrt.toml`\n",
    );
    check(
        &project,
        "nowhere.wasm",
        2,
        "error: failed to open `[TMP]/nowhere.wasm`\n  \
           caused by: No such file or directory (os error 2)\n",
    );
}

#[test]
fn port_in_use_is_told_with_the_flag_that_helps() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (taken, other) in [("--listen", ["--admin", "off"]), ("--admin", ["--listen", ":0"])] {
        let flags = ["serve", taken, &address, other[0], other[1]];
        let ended = run(wrt(flags).arg(guests::guest("trap").unwrap()));
        assert_eq!(
            ended.stderr.replace(&address, "[ADDRESS]").replace(taken, "[FLAG]"),
            "error: failed to listen on `[ADDRESS]`\n  \
               caused by: Address already in use (os error 98)\n\
             hint: pass `[FLAG] :0` to let the system choose a free port\n"
        );
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
    }
}

#[test]
fn bad_arguments_are_told_with_the_usage() {
    for (arguments, expected) in [
        (&["serve", "--lisen", ":0"][..], "a similar argument exists: '--listen'"),
        (&["dev", "--listen", "localhost"], "expected an address such as `127.0.0.1:3000`"),
        (&["swerve"], "a similar subcommand exists: 'serve'"),
    ] {
        let ended = run(&mut wrt(arguments));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
}
