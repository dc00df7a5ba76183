//! `wrt build`: every handler in parallel, each told, and what was built is served.

use std::os::unix::fs::symlink;

use serde_json::Value;
use wrt_test_support::guests;

use crate::binary::{guest_target_dir, run, start, wrt};
use crate::client::Client;
use crate::project::{Project, heading};

/// A manifest whose handlers are made by the commands, each to `NAME.wasm`.
fn manifest(handlers: &[(&str, &str)]) -> String {
    let section = |(name, command): &(&str, &str)| {
        let source = format!("{{ command = \"{command}\", output = \"{name}.wasm\" }}");
        format!("[handler.{name}]\nsource = {source}\nroute = '/{name}'\n")
    };
    handlers.iter().map(section).collect()
}

#[test]
fn handlers_are_built_at_the_same_time_and_then_served() {
    let guest = guests::guest("trap").unwrap();
    let copy = format!("cp '{}'", guest.display());
    // Each waits for the other's mark, which it would do in vain if they ran one after the other.
    let meet = |own: &str, other: &str| {
        format!(
            "touch {own}; for i in $(seq 600); do [ -e {other} ] && exec {copy} {own}.wasm; \
             sleep 0.1; done; exit 1"
        )
    };
    let project = Project::empty();
    let (one, two) = (meet("one", "two"), meet("two", "one"));
    project.write("wrt.toml", &manifest(&[("one", &one), ("two", &two)]));
    let ended = run(wrt(["build", "--json"]).arg(project.root()));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut built: Vec<String> = Vec::new();
    for line in ended.stdout.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["event"], "built");
        assert!(event["build_ms"].as_f64().unwrap() > 0.0, "{event}");
        assert_eq!(event["warnings"], serde_json::json!([]));
        built.push(event["handler"].as_str().unwrap().to_owned());
    }
    built.sort();
    assert_eq!(built, ["one", "two"]);

    let server = start("serve", project.root(), &[]);
    let mut client = Client::connect(server.address());
    assert_eq!((client.get("/one").body, client.get("/two").body), ("ok".into(), "ok".into()));
}

#[test]
fn failure_of_one_is_named_and_the_others_are_built() {
    let copy = format!("cp '{}' good.wasm", guests::guest("trap").unwrap().display());
    let project = Project::empty();
    let bad = "echo no such tool >&2; exit 3";
    project.write("wrt.toml", &manifest(&[("good", &copy), ("bad", bad)]));
    let ended = run(wrt(["build", "--json"]).arg(project.root()));
    assert_eq!(ended.code, Some(1));
    let events: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().find(|event| event["handler"] == name).unwrap();
    assert_eq!((events.len(), &of("good")["event"]), (2, &"built".into()));
    assert_eq!(of("bad")["event"], "build-failed");
    assert!(ended.stderr.contains("no such tool"), "{}", ended.stderr);
    assert!(
        ended.stderr.ends_with("error: 1 of 2 handlers did not build: `bad`\n"),
        "{}",
        ended.stderr
    );
    assert!(project.path("good.wasm").is_file());
}

#[test]
fn package_is_built_where_serve_finds_it() {
    let project = Project::hello("cli-build-serve");
    // A target directory of the project's own, in which dependencies are compiled already.
    let target = guest_target_dir();
    std::fs::create_dir_all(&target).unwrap();
    symlink(target, project.path("target")).unwrap();
    let ended = run(wrt(["build"]).arg(project.root()).env_remove("CARGO_TARGET_DIR"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    // Other builds on the machine may be waited for first.
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("cli-build-serve  built `"), "{}", ended.stderr);

    let server = start("serve", project.root(), &[]);
    let answer = Client::connect(server.address()).get("/");
    assert!(answer.body.contains(&heading("Hello from wrt")), "{answer:?}");
}
