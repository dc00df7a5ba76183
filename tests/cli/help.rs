//! What `--help` says is what the interface promises and the README shows.

use std::fs;

use wrt_test_support::guests;

use crate::binary::{run, wrt};

/// Commands with the arguments and flags that users rely on.
const COMMANDS: [(&str, &[&str]); 11] = [
    (
        "dev",
        &["[PATH]", "--listen", "--admin", "--json", "--release", "--no-add-target", "--pre-stop"],
    ),
    ("serve", &["[PATH]", "--listen", "--admin", "--json", "--watch", "--pre-stop"]),
    ("ps", &["--admin", "--json"]),
    ("apply", &["--dry-run", "--again", "--admin", "--json"]),
    (
        "swap",
        &[
            "<HANDLER>",
            "<FILE.wasm>",
            "--fresh",
            "--again",
            "--as-other-kind",
            "--cause",
            "--admin",
            "--json",
        ],
    ),
    ("rollback", &["<HANDLER>", "--to", "--fresh", "--admin", "--json"]),
    ("confirm", &["<HANDLER>", "--admin", "--json"]),
    ("history", &["<HANDLER>", "--admin", "--json"]),
    ("build", &["[PATH]", "--release", "--json", "--no-add-target"]),
    ("cache", &["--json", "stat", "ls", "verify", "prune"]),
    ("completions", &["<SHELL>"]),
];

fn help(arguments: &[&str]) -> String {
    let ended = run(&mut wrt(arguments));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    ended.stdout
}

/// The words of `text` that begin with `--` or `-`, up to the first character of another kind.
fn flags(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
    text.split(move |c| !is_part(c)).filter(|word| {
        word.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c != '-'))
    })
}

#[test]
fn every_command_and_flag_of_the_interface_is_in_the_help() {
    let overview = help(&["--help"]);
    for (command, parts) in COMMANDS {
        assert!(overview.contains(&format!("\n  {command} ")), "no `{command}` in {overview}");
        let page = help(&[command, "--help"]);
        for part in parts {
            assert!(page.contains(part), "no `{part}` in {page}");
        }
    }
}

#[test]
fn help_has_no_flag_that_the_interface_lacks() {
    for (command, parts) in COMMANDS {
        let page = help(&[command, "--help"]);
        for line in page.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
            let unknown: Vec<_> =
                flags(line).filter(|flag| *flag != "--help" && !parts.contains(flag)).collect();
            assert!(unknown.is_empty(), "`{command}` has {unknown:?}");
        }
    }
}

#[test]
fn every_wrt_command_line_of_the_readme_is_accepted_by_the_help() {
    let readme = fs::read_to_string(guests::workspace_root().join("README.md")).unwrap();
    let starts = ["wrt ", "cargo run -- "];
    let is_command = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut n_checked = 0;
    // Every second piece between back-ticks is code, whether a span or a block.
    let code = readme.split('`').skip(1).step_by(2).flat_map(str::lines);
    for piece in code.map(|line| line.trim().trim_start_matches("$ ")) {
        let Some(line) = starts.iter().find_map(|start| piece.strip_prefix(start)) else {
            continue;
        };
        let line = line.split(" #").next().unwrap_or(line);
        let Some(command) = line.split_whitespace().next().filter(is_command) else { continue };
        let page = COMMANDS.iter().find(|(name, _)| *name == command);
        let Some((_, parts)) = page else { panic!("the README has `{piece}`") };
        for flag in flags(line) {
            assert!(parts.contains(&flag), "the README has `{piece}`");
        }
        n_checked += 1;
    }
    assert!(n_checked > 0, "the README shows no command of `wrt`");
}

#[test]
fn completions_are_a_script_with_every_command() {
    let script = help(&["completions", "bash"]);
    for (command, _) in COMMANDS {
        assert!(script.contains(&format!("wrt__{command}")) || script.contains(command));
    }
    let shell = std::process::Command::new("bash").args(["-n", "-c", &script]).status();
    assert!(shell.is_ok_and(|status| status.success()), "`bash` does not accept the script");
}
