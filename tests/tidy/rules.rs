//! The rules: each takes one file and returns its violations in words.

use super::source::{Source, code_of, is_word};

/// Lines of a file without its tests. Most have a quarter of it; beyond, a file has two jobs.
const MAX_LINES: usize = 600;

/// The first line is a sentence about the file.
pub(crate) fn first_line(file: &Source) -> Vec<String> {
    let first = file.text.lines().next().unwrap_or_default();
    let is_sentence = first.strip_prefix("//! ").is_some_and(|it| it.len() > 10);
    report(!is_sentence, file, "the first line does not say its job in a `//!` comment")
}

/// The file is not longer than [`MAX_LINES`].
pub(crate) fn length(file: &Source) -> Vec<String> {
    let lines = file.without_tests().lines().count();
    let is_long = lines > MAX_LINES && !file.is_generated();
    report(is_long, file, &format!("has {lines} lines, more than {MAX_LINES}"))
}

/// Something that only some rooms may contain.
struct Border {
    /// Searched in code, at the beginning of a word.
    needle: &'static str,
    /// Where the border holds.
    within: &'static str,
    /// Files and folders inside of it that may.
    rooms: &'static [&'static str],
}

const BORDERS: &[Border] = &[
    Border {
        needle: "wasmtime",
        within: "runtime/src/",
        rooms: &[
            "artifact/",
            "contract/",
            "engine/",
            "host/",
            "instance/",
            // Linkers are made by the facade and handed to the stages.
            "runtime.rs",
            "stage/",
            // Typed calls lend a store to the embedder's closure, whose bindings are wasmtime's.
            "runtime/plugin.rs",
            "lib.rs",
            // As the source of an error.
            "error.rs",
            "error/call.rs",
            // The body type of a guest's response.
            "ingress/body.rs",
        ],
    },
    Border { needle: "hyper::", within: "runtime/src/", rooms: &["ingress/accept"] },
    Border { needle: "hyper_util::", within: "runtime/src/", rooms: &["ingress/accept"] },
    Border { needle: "notify::", within: "runtime/src/", rooms: &["dev/hub.rs"] },
    Border { needle: "clap", within: "runtime/src/", rooms: &[] },
    Border { needle: "anyhow", within: "runtime/src/", rooms: &[] },
    // The library does not print, exit, or read the environment.
    Border { needle: "println!", within: "runtime/src/", rooms: &[] },
    Border { needle: "print!", within: "runtime/src/", rooms: &[] },
    Border { needle: "eprintln!", within: "runtime/src/", rooms: &[] },
    Border { needle: "eprint!", within: "runtime/src/", rooms: &[] },
    Border { needle: "process::exit", within: "runtime/src/", rooms: &[] },
    Border { needle: "env::var", within: "runtime/src/", rooms: &[] },
    Border { needle: "set_global_default", within: "runtime/src/", rooms: &[] },
    Border { needle: "println!", within: "runtime/cli/src/", rooms: &["output.rs"] },
    Border { needle: "eprintln!", within: "runtime/cli/src/", rooms: &["output.rs"] },
    Border {
        needle: "stdout()",
        within: "runtime/cli/src/",
        rooms: &["output.rs", "output/stream.rs", "main.rs"],
    },
    Border {
        needle: "stderr()",
        within: "runtime/cli/src/",
        // Whether it is a terminal tells a signal for the end from one for a reload.
        rooms: &["output.rs", "output/stream.rs", "main.rs", "command/signals.rs"],
    },
    // One place each: the limits, the compiler's settings, the publication.
    Border { needle: "Store::new(", within: "runtime/src/", rooms: &["instance/mod.rs"] },
    Border { needle: "Config::new(", within: "runtime/src/", rooms: &["engine/mod.rs"] },
    Border {
        needle: "publish(",
        within: "runtime/src/",
        rooms: &["supervisor/", "handler/active.rs"],
    },
    // Who has the key decides what code may be loaded, and who has the token what is swapped in.
    Border {
        needle: "ring::",
        within: "runtime/src/",
        rooms: &["artifact/disk/key.rs", "admin/token.rs"],
    },
    Border { needle: "axum", within: "runtime/src/", rooms: &["admin/"] },
    // Loading compiled code is the one thing that could run bytes nobody verified.
    Border {
        needle: "Component::deserialize",
        within: "runtime/src/",
        rooms: &["artifact/load.rs"],
    },
    Border {
        needle: "unsafe",
        within: "",
        rooms: &[
            "runtime/src/artifact/load.rs",
            // Names what the allocator looks for.
            "runtime/cli/src/allocator.rs",
            // Quotes a handler that the attribute has to refuse.
            "guest-sdk/macros/src/expand/tests.rs",
            // Writes the attribute that puts a schema into a section of the component.
            "guest-sdk/macros/src/export.rs",
            // What wrt is measured beside: attributes of the peer's, and what a peer's host offers.
            "tests/bench/peers/",
        ],
    },
];

/// What [`BORDERS`] keeps in its rooms is nowhere else.
pub(crate) fn borders(file: &Source) -> Vec<String> {
    if file.is_generated() {
        return Vec::new();
    }
    let mut violations = Vec::new();
    let code = file.code();
    for border in BORDERS {
        let Some(inside) = file.path.strip_prefix(border.within) else { continue };
        let is_room = border.rooms.iter().any(|room| inside.starts_with(room));
        // Tests publish and print what they like; where code is unsafe, they are no exception.
        let is_exempt = file.is_test() && !border.within.is_empty();
        if !is_room && !is_exempt && has(&code, border.needle) {
            let (needle, rooms) = (border.needle, border.rooms.join("`, `"));
            violations.push(format!("{}: `{needle}` belongs in: `{rooms}`", file.path));
        }
    }
    violations
}

/// Whether `needle` begins a word somewhere in `code`, and ends one if it ends like a word.
fn has(code: &str, needle: &str) -> bool {
    code.match_indices(needle).any(|(start, _)| {
        let before = code[..start].chars().next_back().unwrap_or(' ');
        let after = code[start + needle.len()..].chars().next().unwrap_or(' ');
        // `wasmtime_wasi` counts as `wasmtime`; `unsafe_code` is the name of a lint.
        let is_longer_word = needle == "unsafe" && is_word(after);
        !is_word(before) && !is_longer_word
    })
}

/// Neither the SDK nor a plugin names the runtime's crate.
pub(crate) fn guest_independence(file: &Source) -> Vec<String> {
    let names_runtime = if file.path.ends_with(".toml") {
        file.text.lines().any(|line| {
            let name = line.split(['=', '.']).next().unwrap_or_default().trim();
            name == "wrt" || line.contains("\"wrt\"")
        })
    } else {
        // `bindings::exports::wrt::…` is the WIT package.
        let code = file.code();
        !file.is_generated()
            && code.match_indices("wrt::").any(|(start, _)| {
                let before = code[..start].chars().next_back().unwrap_or(' ');
                before != ':' && !is_word(before)
            })
    };
    report(names_runtime, file, "a guest knows the WIT packages only, not the crate `wrt`")
}

/// Work that was put off, or a test that does not run. Literals are looked at too, but not
/// comments' words: a test's name in a string is as good as its code.
pub(crate) fn left_undone(file: &Source) -> Vec<String> {
    let code = code_of(&file.text);
    let needles = ["todo!", "unimplemented!", "dbg!", "#[ignore", "#[should_panic"];
    let found = needles.iter().filter(|needle| code.contains(**needle));
    found.map(|needle| format!("{}: `{needle}` is left", file.path)).collect()
}

/// Messages begin with a small letter and have no period at the end.
pub(crate) fn error_messages(file: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    for (start, found) in file.text.match_indices("#[error(\"") {
        let rest = &file.text[start + found.len()..];
        let Some(message) = rest.split('"').next() else { continue };
        if message.starts_with(char::is_uppercase) || message.ends_with('.') {
            violations.push(format!("{}: message `{message}`", file.path));
        }
    }
    violations
}

/// Every item of a WIT file has a `///` comment above it.
pub(crate) fn wit_documents(file: &Source) -> Vec<String> {
    let mut violations = Vec::new();
    let mut before = "";
    for line in file.text.lines().map(str::trim) {
        let first = line.split([' ', ':', '(']).next().unwrap_or_default();
        // `use` and `include` bring in what is documented where it is defined.
        let is_item = !line.is_empty()
            && !line.starts_with("//")
            && !matches!(first, "}" | "use" | "include")
            && !line.starts_with('@');
        if is_item && !before.starts_with("///") {
            violations.push(format!("{}: `{line}` has no comment", file.path));
        }
        if !line.starts_with('@') {
            before = line;
        }
    }
    violations
}

/// No path of one person's machine.
pub(crate) fn machine_paths(file: &Source) -> Vec<String> {
    // Put together here, so that this file does not contain them.
    let needles = [["/ro", "ot/"], ["/wo", "rk/"], ["/ho", "me/"]].map(|parts| parts.concat());
    let found = needles.iter().filter(|needle| file.text.contains(needle.as_str()));
    found.map(|needle| format!("{}: names `{needle}`", file.path)).collect()
}

/// The commands that `args` defines, as they are typed.
pub(crate) fn commands(args: &Source) -> Vec<String> {
    let body = args.text.split_once("enum Command {").map_or("", |(_, rest)| rest);
    let body = body.split_once("\n}").map_or("", |(body, _)| body);
    let variants = body.lines().map(str::trim).filter_map(|line| line.split_once('('));
    variants
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(is_word) && name.starts_with(char::is_uppercase))
        .map(str::to_lowercase)
        .collect()
}

/// The flags that `args` defines, as they are typed; those of clap itself are added.
fn flags(args: &Source) -> Vec<String> {
    let mut flags = vec!["--help".to_owned(), "--version".to_owned()];
    for (start, _) in args.text.match_indices("#[arg(long") {
        let rest = &args.text[start..];
        let field = rest.split_once(")]\n").map_or("", |(_, field)| field.trim_start());
        let field = field.strip_prefix("pub(crate) ").unwrap_or(field);
        let name = field.split(':').next().unwrap_or_default();
        flags.push(format!("--{}", name.replace('_', "-")));
    }
    flags
}

/// `wrt COMMAND --flag` in a document names what `args` defines.
pub(crate) fn command_line(document: &Source, args: &Source) -> Vec<String> {
    let (commands, flags) = (commands(args), flags(args));
    let mut violations = Vec::new();
    for typed in typed(&document.text) {
        let mut words = typed.split_whitespace().map(|word| word.trim_matches(['[', ']']));
        let command = words.next().unwrap_or_default();
        let is_name = command.chars().all(char::is_lowercase) && !command.is_empty();
        if is_name && !commands.iter().any(|it| it == command) {
            violations.push(format!("{}: `wrt {command}` is no command", document.path));
        }
        for flag in std::iter::once(command).chain(words).filter(|it| it.starts_with("--")) {
            let flag = flag.split('=').next().unwrap_or(flag);
            if !flags.iter().any(|it| it == flag) {
                violations.push(format!("{}: `{flag}` is no flag of wrt", document.path));
            }
        }
    }
    violations
}

/// What a document tells to type after `wrt` or `cargo run --`, in blocks and between back-ticks.
fn typed(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
            continue;
        }
        let spans: Vec<&str> =
            if in_block { vec![line] } else { line.split('`').skip(1).step_by(2).collect() };
        for span in spans {
            let span = span.split(" #").next().unwrap_or(span).trim();
            let span = span.trim_start_matches("$ ");
            let after = span.strip_prefix("wrt ").or_else(|| span.strip_prefix("cargo run -- "));
            found.extend(after.map(str::to_owned));
        }
    }
    found
}

/// The contents of a document's blocks of Rust.
pub(crate) fn rust_blocks(text: &str) -> Vec<&str> {
    let blocks = text.split("```rust\n").skip(1);
    blocks.filter_map(|block| block.split("```").next()).map(str::trim).collect()
}

/// Blocks of Rust in `document` that stand in no documentation test of `compiled`.
pub(crate) fn uncompiled(document: &Source, compiled: &[Source]) -> Vec<String> {
    let examples: Vec<String> = compiled.iter().map(|file| examples_of(&file.text)).collect();
    let blocks = rust_blocks(&document.text).into_iter();
    let unknown = blocks.filter(|block| !examples.iter().any(|it| it.contains(block)));
    unknown.map(|block| format!("{}: is not compiled:\n{block}", document.path)).collect()
}

/// What the comments of `text` show of code: hidden lines and blocks that are ignored are left out.
fn examples_of(text: &str) -> String {
    let comments = text.lines().map(str::trim_start).filter_map(|line| {
        let line = line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))?;
        Some(line.strip_prefix(' ').unwrap_or(line))
    });
    let mut shown = String::new();
    let (mut in_block, mut is_compiled) = (false, false);
    for line in comments {
        if let Some(kind) = line.strip_prefix("```") {
            in_block = !in_block;
            is_compiled = in_block && matches!(kind, "" | "rust" | "no_run");
        } else if is_compiled && line != "#" && !line.starts_with("# ") {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    shown
}

fn report(is_violated: bool, file: &Source, what: &str) -> Vec<String> {
    if is_violated { vec![format!("{}: {what}", file.path)] } else { Vec::new() }
}
