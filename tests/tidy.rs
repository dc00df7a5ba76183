//! Source rules that text can show: one job per file, the layers, the borders, documents that
//! agree with the code. Each rule is shown to find a planted violation in `tidy/planted.rs`.

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use source::{Source, read, rust_files, tree};

/// Fails with every violation at once, so that one run shows all there is to do.
fn assert_none(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<_> = violations.into_iter().collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[track_caller]
fn assert_rule(files: &[Source], rule: impl Fn(&Source) -> Vec<String>) {
    assert!(!files.is_empty(), "the rule looks at no file");
    assert_none(files.iter().flat_map(rule));
}

#[test]
fn every_file_says_its_one_job_first() {
    assert_rule(&rust_files(), rules::first_line);
}

#[test]
fn no_file_is_too_long() {
    assert_rule(&rust_files(), rules::length);
}

#[test]
fn imports_of_the_library_point_downwards() {
    let library = tree("runtime/src", "rs");
    assert_rule(&library, layers::imports);
    // The other way round: an arrow of the table that nothing uses any more has to go.
    let used: BTreeSet<_> = library.iter().flat_map(layers::arrows).collect();
    assert_none(layers::unused(&used));
}

#[test]
fn each_layer_knows_only_those_below() {
    assert_none(layers::upward(layers::LAYERS));
}

#[test]
fn outside_crates_and_rare_calls_stay_in_their_rooms() {
    assert_rule(&rust_files(), rules::borders);
}

#[test]
fn guests_know_nothing_of_the_runtime() {
    assert_rule(&guest_side("rs"), rules::guest_independence);
    assert_rule(&guest_side("toml"), rules::guest_independence);
}

fn guest_side(extension: &str) -> Vec<Source> {
    [tree("guest-sdk", extension), tree("plugins", extension)].concat()
}

#[test]
fn nothing_is_left_undone_or_unasked() {
    assert_rule(&rust_files(), rules::left_undone);
}

#[test]
fn error_messages_have_one_form() {
    assert_rule(&rust_files(), rules::error_messages);
}

#[test]
fn every_wit_item_is_documented() {
    let ours: Vec<_> =
        tree("wit", "wit").into_iter().filter(|file| !file.path.starts_with("wit/deps/")).collect();
    assert_rule(&ours, rules::wit_documents);
}

#[test]
fn no_file_names_a_machine() {
    let text = ["md", "toml", "wit"].iter().flat_map(|extension| tree("", extension));
    let files: Vec<_> = rust_files().into_iter().chain(text).chain([read(".ci/run")]).collect();
    assert_rule(&files, rules::machine_paths);
}

#[test]
fn documents_name_commands_and_flags_that_exist() {
    let args = read("runtime/cli/src/args.rs");
    let documents: Vec<_> =
        tree("", "md").into_iter().filter(|file| file.path != "CHANGELOG.md").collect();
    assert_rule(&documents, |document| rules::command_line(document, &args));
}

#[test]
fn the_readme_names_every_command() {
    let readme = read("README.md");
    let commands = rules::commands(&read("runtime/cli/src/args.rs"));
    assert!(commands.len() >= 4, "found only {commands:?}");
    let absent = commands.into_iter().filter(|it| !readme.text.contains(&format!("wrt {it}")));
    assert_none(absent.map(|it| format!("README.md: `wrt {it}` is not there")));
}

#[test]
fn rust_in_the_readme_is_compiled_elsewhere() {
    // Both files' documents are tested by `cargo test`, so what the README copies compiles.
    let compiled = [read("runtime/src/runtime.rs"), read("guest-sdk/src/lib.rs")];
    assert_eq!(rules::rust_blocks(&read("README.md").text).len(), 3);
    assert_none(rules::uncompiled(&read("README.md"), &compiled));
}

#[test]
fn embedders_are_told_which_wasmtime_and_which_profile_to_use() {
    let workspace = read("Cargo.toml").text;
    let version = workspace.lines().find_map(|line| line.strip_prefix("wasmtime = { version = "));
    let version = version.and_then(|rest| rest.split('"').nth(1)).expect("a version of wasmtime");
    let library = read("runtime/src/lib.rs").text;
    assert!(library.contains(&format!("wasmtime = \"{version}\"")), "lib.rs: not {version}");
    for document in [&library, &read("README.md").text] {
        assert!(document.contains("opt-level = 3"), "no word about cargo's own profile");
    }
}
