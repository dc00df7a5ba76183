//! `wrt dev`: what is saved answers the next request, and what does not build changes nothing.

use std::fs;

use crate::binary::{count, guest_target_dir, run, start, wait, wrt};
use crate::client::Client;
use crate::project::{Project, heading, hello};

#[test]
fn next_request_runs_what_was_saved_and_a_broken_save_changes_nothing() {
    let project = Project::hello("cli-dev-edit");
    let server = start("dev", project.root(), &[]);
    wait(&server, "cli-dev-edit", "swapped", 0);
    // One connection for all of it.
    let mut client = Client::connect(server.address());
    let answer = client.get("/");
    assert!(answer.body.contains(&heading("Hello from wrt")), "{answer:?}");
    let first = answer.served_by().unwrap();
    assert_eq!((&*first.handler, first.generation), ("cli-dev-edit", 1));

    let from = server.n_events();
    project.save("second");
    let swapped = wait(&server, "cli-dev-edit", "swapped", from);
    assert_eq!(swapped.text("cause"), "`src/lib.rs` changed");
    let changed = wait(&server, "cli-dev-edit", "changed", from);
    assert_eq!(changed.json["paths"], serde_json::json!(["src/lib.rs"]));
    assert!(wait(&server, "cli-dev-edit", "staged", from).json["build_ms"].as_f64() > Some(0.0));
    let answer = client.get("/");
    assert!(answer.body.contains(&heading("second")), "{answer:?}");
    let second = answer.served_by().unwrap();
    assert_eq!(second.generation, 2);
    assert_ne!(second.digest, first.digest);

    let from = server.n_events();
    project.save_text("src/lib.rs", &hello(Some("broken")).replace("Html(page", "Htm1(page"));
    let failed = wait(&server, "cli-dev-edit", "build-failed", from).json;
    assert_eq!(failed["serving"]["generation"], 2);
    assert!(failed["message"].as_str().unwrap().contains("cargo build"), "{failed}");
    let error = &failed["diagnostics"][0];
    let line = hello(None).lines().position(|line| line.contains("Ok(Html(page")).unwrap() + 1;
    assert_eq!(
        (error["level"].as_str(), error["file"].as_str()),
        (Some("error"), Some("src/lib.rs"))
    );
    assert_eq!(error["line"].as_u64(), Some(line as u64));
    assert!(error["column"].as_u64().is_some() && error["text"].as_str().unwrap().contains("Htm1"));
    server.wait_for_stderr("note: generation 2 keeps serving").unwrap();
    assert!(server.stderr().contains("Htm1"), "{}", server.stderr());
    assert_eq!(client.get("/").served_by().unwrap(), second);

    let from = server.n_events();
    project.save("third");
    wait(&server, "cli-dev-edit", "swapped", from);
    let answer = client.get("/");
    assert!(answer.body.contains(&heading("third")), "{answer:?}");
    assert_eq!(count(&server, "cli-dev-edit", "swapped", 0), 3);
}

#[test]
fn requests_wait_for_the_first_build_and_a_first_broken_one_is_told() {
    let project = Project::hello("cli-dev-first");
    project.write("src/lib.rs", "compile_error!(\"not yet\");\n");
    let server = start("dev", project.root(), &[]);
    let failed = wait(&server, "cli-dev-first", "build-failed", 0);
    assert!(failed.json["serving"].is_null(), "{}", failed.json);
    server.wait_for_stderr("no active generation yet").unwrap();

    // Nobody is mending it: the compiler's message comes at once, as the client wants to read it.
    let mut client = Client::connect(server.address());
    let answer = client.get("/");
    assert_eq!(answer.status, 503, "{answer:?}");
    for part in ["not yet", "src/lib.rs", "error: failed to build `cli-dev-first`"] {
        assert!(answer.body.contains(part), "{part}: {answer:?}");
    }
    client.send("GET", "/", "accept: text/html,*/*;q=0.8\r\n", "");
    let answer = client.answer();
    assert!(answer.status == 503 && answer.body.contains("<pre"), "{answer:?}");
    client.send("GET", "/", "accept: application/json\r\n", "");
    let answer = client.answer();
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(problem["diagnostics"][0]["file"], "src/lib.rs", "{problem}");

    // A component that is refused is told likewise, and a build that is under way is waited for.
    let from = server.n_events();
    project.save_text("src/lib.rs", "");
    wait(&server, "cli-dev-first", "rejected", from);
    let answer = client.get("/");
    assert!(answer.status == 503 && answer.body.contains("is missing"), "{answer:?}");
    let from = server.n_events();
    project.save("at last");
    wait(&server, "cli-dev-first", "building", from);
    let answer = client.get("/");
    assert!(answer.status == 200 && answer.body.contains(&heading("at last")), "{answer:?}");
}

#[test]
fn hints_of_a_failed_build_and_warnings_of_a_good_one_are_told() {
    let project = Project::hello("cli-dev-words");
    let manifest = fs::read_to_string(project.path("Cargo.toml")).unwrap();
    project.write("Cargo.toml", &manifest.replace("crate-type", "crate-typo"));
    let hint = "add `[lib]` with `crate-type = [\"cdylib\"]` to the manifest";
    // The same by `wrt build`.
    let mut build = wrt(["build", "--json"]);
    let ended = run(build.arg(project.root()).env("CARGO_TARGET_DIR", guest_target_dir()));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("hint: {hint}\n")), "{}", ended.stderr);
    assert!(!ended.stderr.contains("its requests"), "nothing serves: {}", ended.stderr);
    // Notes may come first, such as that another cargo is waited for.
    let last = ended.stdout.lines().last().unwrap();
    let failed: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(failed["event"], "build-failed");
    assert_eq!(failed["hints"], serde_json::json!([hint]));

    let server = start("dev", project.root(), &[]);
    let failed = wait(&server, "cli-dev-words", "build-failed", 0);
    assert_eq!(failed.json["hints"], serde_json::json!([hint]));
    server.wait_for_stderr(&format!("hint: {hint}")).unwrap();

    project.write("src/lib.rs", &(hello(None) + "fn nobody() {}\n"));
    project.save_text("Cargo.toml", &manifest.replace("[lib]", "fnord = 1\n[lib]"));
    let built = wait(&server, "cli-dev-words", "built", 0);
    assert!(built.json["build_ms"].as_f64() > Some(0.0), "{}", built.json);
    let warnings = built.json["warnings"].to_string();
    for part in ["function `nobody` is never used", "unused manifest key: package.fnord"] {
        assert!(warnings.contains(part), "{part}: {warnings}");
        server.wait_for_stderr(part).unwrap();
    }
    server.wait_for_stderr("cli-dev-words  built with 2 warnings").unwrap();
    wait(&server, "cli-dev-words", "swapped", 0);
}

#[test]
fn source_directory_that_is_deleted_and_created_again_is_found() {
    let outer = Project::hello("cli-dev-again");
    let aside = tempfile::tempdir().unwrap();
    let server = start("dev", outer.root(), &[]);
    wait(&server, "cli-dev-again", "swapped", 0);
    let mut client = Client::connect(server.address());
    assert_eq!(client.get("/").generation(), 1);

    let from = server.n_events();
    let copies: Vec<_> = ["Cargo.toml", "Cargo.lock"]
        .map(|name| (name, fs::read_to_string(outer.path(name)).unwrap()))
        .into();
    fs::rename(outer.root(), aside.path().join("moved")).unwrap();
    let rejected = wait(&server, "cli-dev-again", "rejected", from);
    assert!(rejected.text("error").ends_with("does not exist"), "{}", rejected.json);
    assert_eq!(rejected.json["serving"]["generation"], 1);
    assert_eq!(client.get("/").generation(), 1);

    let from = server.n_events();
    for (name, text) in copies {
        outer.write(name, &text);
    }
    outer.write("src/lib.rs", &hello(Some("again")));
    wait(&server, "cli-dev-again", "swapped", from);
    assert!(client.get("/").body.contains(&heading("again")));
}

#[test]
fn change_rebuilds_the_handlers_that_read_it_and_no_others() {
    let names = ["cli-dev-one", "cli-dev-two"];
    let project = Project::workspace(&names, "cli-dev-shared = { path = \"../shared\" }");
    project.write(
        "shared/Cargo.toml",
        "[package]\nname = \"cli-dev-shared\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    );
    let shared = |text: &str| format!("pub fn text() -> String {{ {text:?}.into() }}\n");
    project.write("shared/src/lib.rs", &shared("shared"));
    let uses_shared =
        hello(None).replace("GREETING.into()", "GREETING.to_owned() + &cli_dev_shared::text()");
    let manifest: String = names
        .iter()
        .map(|name| format!("[handler.{name}]\nsource = '{name}'\nroute = '/{name}'\n"))
        .collect();
    project.write("wrt.toml", &manifest);
    for name in names {
        project.write(&format!("{name}/src/lib.rs"), &uses_shared);
    }
    let server = start("dev", project.root(), &[]);
    let mut client = Client::connect(server.address());
    let mut get = |name: &str| client.get(&format!("/{name}"));
    for name in names {
        wait(&server, name, "swapped", 0);
        assert!(get(name).body.contains(&heading("Hello from wrtshared")), "{name}");
    }

    let from = server.n_events();
    let edited = uses_shared.replace("Hello from wrt", "Edited ");
    project.save_text("cli-dev-one/src/lib.rs", &edited);
    wait(&server, "cli-dev-one", "swapped", from);
    assert!(get("cli-dev-one").body.contains(&heading("Edited shared")));
    assert_eq!(get("cli-dev-two").generation(), 1);
    assert_eq!(count(&server, "cli-dev-two", "building", from), 0);

    let shared_from = server.n_events();
    project.save_text("shared/src/lib.rs", &shared("changed"));
    for name in names {
        wait(&server, name, "swapped", shared_from);
    }
    assert!(get("cli-dev-one").body.contains(&heading("Edited changed")));
    assert!(get("cli-dev-two").body.contains(&heading("Hello from wrtchanged")));
    // The edit of `one` came first, so a build of `two` because of it would have been heard by now.
    assert_eq!(count(&server, "cli-dev-two", "building", from), 1);
}
