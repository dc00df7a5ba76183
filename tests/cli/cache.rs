//! The cache directory as its users meet it: built once, served without compiling, looked after.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wrt_test_support::guests;

use crate::binary::{run, start, wait, wrt};
use crate::client::Client;
use crate::project::Project;

/// A project of one handler with a cache directory of its own.
fn project() -> Project {
    let project = Project::empty();
    fs::copy(guests::guest("trap").unwrap(), project.path("a.wasm")).unwrap();
    project
        .write("wrt.toml", "[cache]\ndir = 'cache'\n[handler.a]\nsource = 'a.wasm'\nroute = '/'\n");
    project
}

/// What `wrt cache VERB` of the project prints for programs.
fn cache(project: &Project, verb: &str) -> Vec<Value> {
    let ended = run(wrt(["cache", verb, "--json"]).arg(project.root()));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How the code of the handler came about, in a server that is started and ended.
fn serve(project: &Project) -> String {
    let server = start("serve", project.root(), &[]);
    assert_eq!(Client::connect(server.address()).get("/").body, "ok");
    wait(&server, "a", "staged", 0).text("compiled_by").to_owned()
}

fn code_file(project: &Project) -> PathBuf {
    let only = |dir: &Path| {
        let mut entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.next().unwrap_or_else(|| panic!("nothing is in {dir:?}"))
    };
    only(&only(&project.path("cache/v1/code")))
}

#[test]
fn what_is_built_is_served_without_compiling_and_can_be_looked_after() {
    let project = project();
    let ended = run(wrt(["build", "--json"]).arg(project.root()));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let built: Value = serde_json::from_str(ended.stdout.trim()).unwrap();
    assert!(built["compile_ms"].as_f64().unwrap() > 0.0, "{built}");
    assert_eq!(serve(&project), "disk");

    let stat = &cache(&project, "stat")[0];
    assert_eq!(stat["kinds"]["code"]["entries"], 1, "{stat}");
    assert!(stat["bytes"].as_u64().unwrap() > 0 && stat["budget"].as_u64().unwrap() > 0);
    let code = |entry: &&Value| entry["kind"] == "code";
    assert_eq!(cache(&project, "ls").iter().filter(code).count(), 1);

    let verified = &cache(&project, "verify")[0];
    assert_eq!(verified["removed"].as_array().unwrap().len(), 0, "{verified}");
    let mut damaged = fs::read(code_file(&project)).unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(code_file(&project), damaged).unwrap();
    let verified = &cache(&project, "verify")[0];
    assert_eq!(verified["removed"].as_array().unwrap().len(), 1, "{verified}");
    assert_ne!(serve(&project), "disk", "what was damaged is compiled again");
    assert_eq!(serve(&project), "disk");

    assert!(cache(&project, "prune")[0]["entries"].as_u64().unwrap() > 0);
    assert_eq!(cache(&project, "stat")[0]["bytes"], 0);
}

#[test]
fn directory_that_cannot_be_used_is_told_once_and_serving_goes_on() {
    let project = project();
    project.write("cache", "a file in its place");
    let server = start("serve", project.root(), &[]);
    assert_eq!(Client::connect(server.address()).get("/").body, "ok");
    drop(server);
    let ended = run(wrt(["build"]).arg(project.root()));
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stderr.matches("warning: ").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    let ended = run(wrt(["cache", "stat"]).arg(project.root()));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
}

#[test]
fn many_handlers_are_loaded_by_their_first_calls() {
    const HANDLERS: usize = 70;
    let project = project();
    let component = guests::guest("trap").unwrap();
    let section = |i: usize| {
        let preload = if i == 1 { "preload = true\n" } else { "" };
        format!("[handler.h{i}]\nsource = '{}'\nroute = '/{i}'\n{preload}", component.display())
    };
    let manifest: String = (0..HANDLERS).map(section).collect();
    project.write("wrt.toml", &format!("[cache]\ndir = 'cache'\n{manifest}"));
    let server = start("serve", project.root(), &[]);
    wait(&server, "h1", "swapped", 0);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/69").body, "ok");
    wait(&server, "h69", "swapped", 0);
    let swaps = server.events(0).iter().filter(|event| event.is("swapped")).count();
    assert_eq!(swaps, 2, "nobody called the others");
}
