//! Each rule finds the violation that it is there for, and lets its neighbours pass.

use std::collections::BTreeSet;

use super::source::{Source, code_of};
use super::{layers, rules};

/// `rule` objects to `bad` and not to `good`, both at `path`.
#[track_caller]
fn check(rule: impl Fn(&Source) -> Vec<String>, path: &str, bad: &str, good: &str) {
    assert_eq!(rule(&Source::new(path, good)), Vec::<String>::new(), "objects to {good:?}");
    assert!(!rule(&Source::new(path, bad)).is_empty(), "lets {bad:?} pass");
}

#[test]
fn code_is_told_from_comments_literals_and_tests() {
    let cases = [
        ("a // unsafe\nb", "a \nb"),
        ("a /* x /* y\n */ z */ b", "a \n b"),
        (r#"f("un\"safe", b)"#, r#"f("", b)"#),
        ("f(r#\"a\"b\n\"#, c)", "f(\"\"\n, c)"),
        ("r#type x", "r#type x"),
        ("f::<'a>('\"', '\\'', 'x', &'b c)", "f::<'a>(, , , &'b c)"),
    ];
    for (text, code) in cases {
        assert_eq!(code_of(text), code, "for {text:?}");
    }
    let file = Source::new("x.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
    assert_eq!(file.code(), "fn a() {}\n");
}

#[test]
fn a_file_without_a_job_is_found() {
    check(rules::first_line, "a.rs", "use std::io;\n", "//! Reads what is there.\n");
    check(rules::first_line, "a.rs", "//! x\n", "//! Reads what is there.\n");
}

#[test]
fn a_file_with_too_many_lines_is_found() {
    let tests = "#[cfg(test)]\nmod tests {\n";
    let good = "x\n".repeat(600) + tests + &"x\n".repeat(600);
    check(rules::length, "a.rs", &"x\n".repeat(601), &good);
}

#[test]
fn an_import_of_a_higher_layer_is_found() {
    let path = "runtime/src/handler/mod.rs";
    check(layers::imports, path, "use crate::supervisor::Swap;", "use crate::id::Digest;");
    let (bad, good) = ("fn f() { crate::runtime::x() }", "$crate::runtime::x(); // crate::dev::y");
    check(layers::imports, path, bad, good);
    check(layers::imports, path, "use crate::{id, dev};", "use crate::handler::table;");
    check(layers::imports, "runtime/src/novel.rs", "use crate::id::Digest;", "use std::io;");
}

#[test]
fn an_arrow_that_nothing_uses_is_found() {
    let all: BTreeSet<_> = layers::LAYERS
        .iter()
        .flat_map(|(from, to)| to.iter().map(|to| ((*from).to_owned(), (*to).to_owned())))
        .collect();
    assert_eq!(layers::unused(&all), Vec::<String>::new());
    let but_one = all.iter().skip(1).cloned().collect();
    assert_eq!(layers::unused(&but_one).len(), 1);
}

#[test]
fn a_table_with_an_upward_arrow_is_found() {
    assert_eq!(layers::upward(&[("a", &[]), ("b", &["a"])]), Vec::<String>::new());
    assert_eq!(layers::upward(&[("a", &["b"]), ("b", &[])]).len(), 1);
    assert_eq!(layers::upward(&[("a", &["a"])]).len(), 1);
    assert_eq!(layers::upward(&[("a", &["of nowhere"])]).len(), 1);
}

#[test]
fn what_leaves_its_room_is_found() {
    let handler = "runtime/src/handler/mod.rs";
    let cases = [
        (handler, "use wasmtime_wasi::WasiCtx;", "// wasmtime is elsewhere"),
        (handler, "use hyper::Request;", "let hyperbole = 1;"),
        (handler, "use notify::Watcher;", "use tokio::sync::Notify;"),
        (handler, "use anyhow::Result;", "let s = \"anyhow\";"),
        (handler, "println!(\"\")", "writeln!(out)"),
        (handler, "eprintln!(\"\")", "my_eprintln!(out)"),
        (handler, "std::process::exit(1)", "std::process::id()"),
        (handler, "std::env::var(\"X\")", "environment()"),
        (handler, "let s = Store::new(e, ());", "let s = DataStore::new(e);"),
        (handler, "let c = Config::new();", "let c = HandlerConfig::new(name);"),
        (handler, "cell.publish(next);", "#[cfg(test)]\nmod tests {\n    cell.publish(next);\n}"),
        (handler, "Component::deserialize_file(path)", "serde::Deserialize::deserialize(it)"),
        (handler, "use ring::hmac;", "std::string::String::new()"),
        (handler, "unsafe { f() }", "#![deny(unsafe_code)]"),
        ("plugins/hello/src/lib.rs", "unsafe { f() }", "fn f() {} // unsafe"),
        ("runtime/cli/src/main.rs", "println!(\"\")", "output.say(\"\")"),
        ("runtime/src/engine/epoch.rs", "let c = Config::new();", "wasmtime::Engine"),
        ("runtime/src/ingress/reply.rs", "use wasmtime::Store;", "use http::Response;"),
    ];
    for (path, bad, good) in cases {
        check(rules::borders, path, bad, good);
    }
    let rooms = [
        ("runtime/src/engine/mod.rs", "wasmtime::Config::new()"),
        ("runtime/src/instance/mod.rs", "wasmtime::Store::new(e, s)"),
        ("runtime/src/supervisor/task.rs", "cell.publish(next)"),
        ("runtime/cli/src/output.rs", "println!(\"\")"),
    ];
    for (path, code) in rooms {
        assert_eq!(rules::borders(&Source::new(path, code)), Vec::<String>::new());
    }
}

#[test]
fn a_guest_that_knows_the_runtime_is_found() {
    let rule = rules::guest_independence;
    let good = "use wrt_guest::Html; use bindings::exports::wrt::plugin;";
    check(rule, "plugins/a/src/lib.rs", "use wrt::Runtime;", good);
    let good = "wrt-guest = { path = \"../../guest-sdk\" }\nversion.workspace = true";
    check(rule, "plugins/a/Cargo.toml", "wrt = { path = \"../../runtime\" }", good);
    check(rule, "plugins/a/Cargo.toml", "wrt.workspace = true", good);
    check(rule, "plugins/a/Cargo.toml", "host = { package = \"wrt\", version = \"1\" }", good);
}

#[test]
fn what_is_left_undone_is_found() {
    let ignored = ["#[ig", "nore]"].concat();
    for bad in ["todo!()", "unimplemented!()", "dbg!(x)", ignored.as_str(), "#[should_panic]"] {
        check(rules::left_undone, "a.rs", bad, "// todo! is a macro\nlet s = \"todo!\";");
        let in_tests = format!("#[cfg(test)]\nmod tests {{\n    {bad}\n}}\n");
        check(rules::left_undone, "a.rs", &in_tests, "#[test]");
    }
}

#[test]
fn a_message_of_another_form_is_found() {
    let good = "#[error(\"failed to read `{path}`\")]";
    check(rules::error_messages, "a.rs", "#[error(\"Failed to read\")]", good);
    check(rules::error_messages, "a.rs", "#[error(\"failed to read.\")]", good);
}

#[test]
fn an_item_without_a_comment_is_found() {
    let good = "// File.\n\n/// One.\ninterface a {\n  use b.{c};\n  /// Two.\n  f: func();\n}\n";
    check(rules::wit_documents, "wit/a.wit", "interface a {\n}\n", good);
    check(rules::wit_documents, "wit/a.wit", &good.replace("  /// Two.\n", ""), good);
    check(rules::wit_documents, "wit/a.wit", "/// One.\n\nrecord a {\n}\n", good);
}

#[test]
fn a_path_of_one_machine_is_found() {
    let bad = ["see /ro", "ot/notes"].concat();
    check(rules::machine_paths, "README.md", &bad, "the root/ of it");
}

#[test]
fn a_command_or_flag_that_does_not_exist_is_found() {
    let args = Source::new(
        "args.rs",
        "enum Command {\n    /// Serve.\n    Dev(DevArgs),\n}\n\
         #[arg(long, value_name = \"A\")]\n    pub(crate) no_add_target: bool,\n",
    );
    assert_eq!(rules::commands(&args), ["dev"]);
    let rule = |document: &Source| rules::command_line(document, &args);
    let good = "Type `wrt dev . --no-add-target` or\n```sh\ncargo run -- dev x # --not me\n\
                cargo build --target y\n```\nthe `wrt` crate, `--cargo-flag`, `wrt NAME`";
    check(rule, "README.md", "`wrt devour`", good);
    check(rule, "README.md", "`wrt dev --release`", good);
    check(rule, "README.md", "```\ncargo run -- dev --listen :0\n```", good);
    check(rule, "README.md", "`wrt --fast`", good);
}

#[test]
fn rust_that_nothing_compiles_is_found() {
    let library = Source::new(
        "lib.rs",
        "/// ```no_run\n/// # hidden();\n/// a();\n///\n/// b();\n/// ```\n/// ```ignore\n/// c();\n/// ```\n",
    );
    let rule = |document: &Source| rules::uncompiled(document, std::slice::from_ref(&library));
    let good = "```rust\na();\n\nb();\n```\n";
    for bad in ["```rust\na();\nz();\n```\n", "```rust\nc();\n```\n", "```rust\nhidden();\n```\n"] {
        check(rule, "README.md", bad, good);
    }
}
