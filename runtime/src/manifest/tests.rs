//! Whole manifests and projects: what is read, and each complaint with its place and its hint.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{ConfigValue, InstanceMode, Route};
use crate::error::Hint as _;

fn env(name: &str) -> Option<String> {
    match name {
        "GREETING" => Some("hi".to_owned()),
        "TOKEN" => Some("hunter2".to_owned()),
        "SHORT" => Some("5s".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Manifest, Vec<Problem>> {
    let read_file = |path: &Path| match path.to_str() {
        Some("/project/secret.txt") => Ok("from a file\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    Manifest::parse(
        text,
        &Surroundings { root: Path::new("/project"), env: &env, read_file: &read_file },
    )
}

/// Each problem as `line:column: message (hint)`.
fn problems(text: &str) -> Vec<String> {
    let show = |problem: &Problem| match &problem.hint {
        Some(hint) => format!("{problem} ({hint})"),
        None => problem.to_string(),
    };
    parse(text).map_or_else(|problems| problems.iter().map(show).collect(), |_| Vec::new())
}

const FULL: &str = r#"
[host]
listen = "127.0.0.1:3000"
busy_poll = "1ms"
expose_generation = true
wasi03 = false
max_outgoing = 7
guest_memory = "8GiB"

[cache]
memory = "256MiB"

[handler.orders]
source = { command = "make", output = "out.wasm", watch = ["src"] }
route = "/orders"
types = ["order.*"]
instances = "pooled"

[handler.hello]
source    = "plugins/hello"
route     = "/hello/*"
instances = "fresh"
timeout   = "${SHORT}"
memory    = "32MiB"
concurrency = 7
queue = 0
queue_timeout = "500ms"
drain     = "2m"
hand_over = "1s"
max_state = "1MiB"
probe     = "/healthz"
probation = "30s"
max_failures = 5

[handler.hello.config]
greeting = "${GREETING} $${you}"
token = { env = "TOKEN" }
key = { file = "secret.txt" }

[handler.hello.allow]
http = ["https://api.example.com"]
"#;

#[test]
fn full_manifest_is_read_in_the_order_of_the_file() {
    let manifest = parse(FULL).unwrap();
    assert_eq!(manifest.host.listen.unwrap().as_str(), "127.0.0.1:3000");
    assert_eq!(manifest.host.busy_poll.unwrap().as_millis(), 1);
    assert_eq!((manifest.host.expose_generation, manifest.host.wasi03), (Some(true), Some(false)));
    let HostSection { max_outgoing, guest_memory, .. } = manifest.host;
    assert_eq!((max_outgoing, guest_memory), (Some(7), Some(8 << 30)));
    assert_eq!(manifest.cache.memory, Some(256 << 20));

    let [orders, hello] = manifest.handlers.as_slice() else { panic!("expected two handlers") };
    assert_eq!(orders.config.name.as_str(), "orders");
    assert!(
        orders.config.binding.accepts_type("order.created")
            && !orders.config.binding.accepts_type("x")
    );
    assert_eq!(orders.config.settings.instances, InstanceMode::pooled());
    assert_eq!(
        orders.source,
        HandlerSource::Command {
            command: "make".to_owned(),
            output: PathBuf::from("/project/out.wasm"),
            watch: vec![PathBuf::from("/project/src")],
        }
    );

    let config = &hello.config;
    assert_eq!(hello.source, HandlerSource::Path(PathBuf::from("/project/plugins/hello")));
    assert_eq!(config.binding.route, Some(Route::parse("/hello/*").unwrap()));
    assert_eq!(config.settings.timeout, Duration::from_secs(5));
    assert_eq!(config.settings.memory, 32 << 20);
    assert_eq!((config.policy.concurrency, config.policy.queue), (7, 0));
    assert_eq!(config.policy.queue_timeout, Duration::from_millis(500));
    assert_eq!(config.policy.drain, Duration::from_secs(120));
    assert_eq!(
        (config.policy.hand_over, config.settings.max_state),
        (Duration::from_secs(1), 1 << 20)
    );
    assert_eq!(config.settings.probe.as_deref(), Some("/healthz"));
    assert_eq!((config.policy.probation, config.policy.max_failures), (Duration::from_secs(30), 5));
    assert_eq!(config.settings.config["greeting"], ConfigValue::plain("hi ${you}"));
    assert_eq!(config.settings.config["token"], ConfigValue::secret("hunter2"));
    assert_eq!(config.settings.config["key"], ConfigValue::secret("from a file"));
    assert_eq!(config.settings.allow.http[0].to_string(), "https://api.example.com");
}

#[test]
fn absent_keys_leave_the_defaults() {
    let manifest = parse("[handler.a]\nsource = \"a.wasm\"").unwrap();
    let name = HandlerName::new("a").unwrap();
    assert_eq!(manifest.handlers[0].config, HandlerConfig::new(name));
    assert_eq!((manifest.host, manifest.cache), Default::default());
}

#[test]
fn each_complaint_has_its_place_and_says_what_to_do() {
    let check = |lines: &str, expect: &str| {
        let text = format!("[handler.a]\nsource = \"a\"\n{lines}");
        assert_eq!(problems(&text), [expect], "{text}");
    };
    check(
        "tiemout = \"1s\"",
        "3:1: unknown key `tiemout` in handler `a` (did you mean `timeout`?)",
    );
    check(
        "[host]\ncolour = 1",
        "4:1: unknown key `colour` in `[host]` (the known keys are `listen`, \
         `busy_poll`, `expose_generation`, `wasi03`, `max_outgoing`, `guest_memory`, \
         `compile_timeout`, `compile_memory`, `state_dir`, `pre_stop`)",
    );
    check(
        "[host]\nbusy_poll = '2s'",
        "4:13: `busy_poll` of `[host]`: expected `busy_poll` of at most 1s, found 2s",
    );
    check("[hots]", "3:2: unknown key `hots` in the manifest (did you mean `host`?)");
    check(
        "allow = { htpp = [] }",
        "3:11: unknown key `htpp` in `allow` of handler `a` (did you mean `http`?)",
    );
    check(
        "timeout = \"30 parsecs\"",
        "3:11: `timeout` of handler `a`: expected a duration such as `30s`, `500ms` or `2m`, \
         found `30 parsecs`",
    );
    check(
        "timeout = 30",
        "3:11: `timeout` of handler `a`: expected a duration such as `30s`, `500ms` or `2m`, \
         found `30`",
    );
    check(
        "timeout = \"0s\"",
        "3:11: `timeout` of handler `a`: expected `timeout` to be longer than zero",
    );
    check(
        "memory = \"64MB\"",
        "3:10: `memory` of handler `a`: expected a size such as `64MiB`, `512KiB` or `2GiB`, \
         found `64MB`",
    );
    check(
        "memory = \"1KiB\"",
        "3:10: `memory` of handler `a`: expected `memory` between 64KiB and 4GiB, found 1024 bytes",
    );
    check(
        "concurrency = 0",
        "3:15: `concurrency` of handler `a`: expected a whole number between 1 and 1000000, \
         found `0`",
    );
    check(
        "concurrency = -1",
        "3:15: `concurrency` of handler `a`: expected a whole number between 1 and 1000000, \
         found `-1`",
    );
    // Beyond what a semaphore counts to.
    check(
        "concurrency = 2305843009213693952",
        "3:15: `concurrency` of handler `a`: expected a whole number between 1 and 1000000, \
         found `2305843009213693952`",
    );
    check(
        "[host]\nmax_outgoing = 9223372036854775807",
        "4:16: `max_outgoing` of `[host]`: expected a whole number between 1 and 1000000, found \
         `9223372036854775807`",
    );
    check(
        "[host]\nguest_memory = '1B'",
        "4:16: `guest_memory` of `[host]`: expected `guest_memory` of 64KiB or more, found 1 bytes",
    );
    check(
        "concurrency = \"9\"",
        "3:15: `concurrency` of handler `a`: expected a whole number, found a string",
    );
    check(
        "route = \"hello\"",
        "3:9: `route` of handler `a`: expected a route such as `/orders`, `/hello/*` or `/`, \
         found `hello`: it has to start with `/`",
    );
    check(
        "types = [\"ok\", \"a*\"]",
        "3:16: `types` of handler `a`: expected an event type such as `order.created`, \
         `order.*` or `*`, found `a*`",
    );
    check(
        "types = \"a\"",
        "3:9: `types` of handler `a`: expected an array of strings, found a string",
    );
    check(
        "allow = { http = [\"https://a.org/x\"] }",
        "3:19: `http` of `allow` of handler `a`: expected an origin such as \
         `https://api.example.com`, found `https://a.org/x`: a path or query is not part of an \
         origin",
    );
    check(
        "max_state = \"1GiB\"",
        "3:13: `max_state` of handler `a`: expected `max_state` of at most 30MiB, found 1073741824 \
         bytes",
    );
    check(
        "probe = \"healthz\"",
        "3:9: `probe` of handler `a`: expected `probe` to be a path such as `/healthz`, found \
         `healthz`",
    );
    check(
        "instances = \"warm\"",
        "3:13: `instances` of handler `a`: expected `fresh`, `pooled` or \
         `singleton`, found `warm`",
    );
    check(
        "config = { n = 1 }",
        "3:16: `n` of `config` of handler `a`: expected a string or a secret, found an integer",
    );
    check(
        "config = { n = \"${NOPE}\" }",
        "3:16: `n` of `config` of handler `a`: environment variable `NOPE` is not set (set it \
         before the start, or write `$${` for the characters `${` themselves)",
    );
    check(
        "config = { n = { env = \"NOPE\" } }",
        "3:16: `n` of `config` of handler `a`: environment variable `NOPE` is not set (set it \
         before the start)",
    );
    check(
        "config = { n = { file = \"nope\" } }",
        "3:16: `n` of `config` of handler `a`: failed to read `/project/nope`: entity not found \
         (the path starts at the manifest's directory)",
    );
    check(
        "config = { n = { env = \"TOKEN\", file = \"x\" } }",
        "3:16: `n` of `config` of handler `a`: expected one of `env` and `file` (a secret is \
         `{ env = \"NAME\" }` or `{ file = \"path\" }`)",
    );
    check(
        "[host]\nlisten = \"localhost\"",
        "4:10: `listen` of `[host]`: expected an address such as `127.0.0.1:3000` or `:0`, found \
         `localhost`",
    );
    check(
        "[host]\nwasi03 = \"yes\"",
        "4:10: `wasi03` of `[host]`: expected `true` or `false`, found a string",
    );
    check(
        "[handler.\"a b\"]\nsource = \"x\"",
        "3:10: expected a handler name of 1 to 64 letters, digits, `-` or `_`, starting with a \
         letter or digit, found `a b`",
    );
    check(
        "[handler.b]",
        "3:10: handler `b` has no `source` (add `source = \"DIR\"` with a cargo package, or the \
         path of a `.wasm` file)",
    );
    check(
        "[handler.b]\nsource = { command = \"make\" }",
        "4:10: `source` of handler `b` has no `output` (the whole is `{ command = \"make\", \
         output = \"out.wasm\" }`)",
    );
    check(
        "[handler.b]\nsource = \"\"",
        "4:10: `source` of handler `b`: expected a path, found an empty string",
    );
}

#[test]
fn what_a_later_version_brings_is_refused_by_name() {
    let check = |lines: &str, expect: &str| {
        let found = problems(&format!("[handler.a]\nsource = \"a\"\n{lines}"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expect), "{found:?}");
    };
    check("[host]\nadmin = \"127.0.0.1:3001\"", "`admin` in `[host]` is not available");
    check("[host.tls]\ncert = \"c.pem\"", "`tls` in `[host]` is not available in this version");
}

#[test]
fn two_handlers_on_one_route_are_both_named_at_the_second() {
    let text = r#"
[handler.zebra]
source = "z"
route = "/"
[handler.ant]
source = "a"
route = "/*"
"#;
    assert_eq!(
        problems(text),
        ["7:1: handlers `zebra` and `ant` have the same route `/*` (give `ant` a route of its \
          own, such as `/ant/*`)"]
    );
}

#[test]
fn two_commands_with_one_output_are_both_named_at_the_second() {
    let manifest = |command: &str| {
        format!(
            "[handler.a]\nroute = '/a'\nsource = {{ command = 'make a', output = 'out.wasm' }}\n\
             [handler.b]\nroute = '/b'\nsource = {{ command = '{command}', output = './out.wasm' }}\n"
        )
    };
    let found = problems(&manifest("make b"));
    assert_eq!(found.len(), 1, "{found:?}");
    for part in ["6:1: handlers `a` and `b` write the same `output`", "such as `b.wasm`"] {
        assert!(found[0].contains(part), "{part}: {found:?}");
    }
    // One command makes one component for both.
    assert_eq!(problems(&manifest("make a")), [""; 0]);
}

#[test]
fn manifest_without_handlers_is_refused() {
    let hint = "(add a section such as `[handler.hello]` with `source = \"plugins/hello\"`)";
    assert_eq!(problems(""), [format!("1:1: the manifest names no handler {hint}")]);
    assert_eq!(problems("[handler]"), [format!("1:1: the manifest names no handler {hint}")]);
}

#[test]
fn every_problem_is_reported_in_the_order_of_the_text() {
    let text = "[handler.b]\nroute = 'x'\ntimout = '1s'\n[host]\nlisten = '?'\n[handler.a]\n";
    let places: Vec<_> =
        problems(text).iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["1:10", "2:9", "3:1", "5:10", "6:10"]);
}

#[test]
fn broken_syntax_is_reported_with_its_place() {
    let found = problems("[handler.a]\nsource = \"a\nroute = \"/\"\n");
    assert!(found[0].starts_with("2:"), "{found:?}");
    assert!(found[0].contains("not valid TOML"), "{found:?}");
    let twice = problems("[handler.a]\nsource = \"a\"\nsource = \"b\"\n");
    assert!(twice[0].starts_with("3:1: not valid TOML: duplicate key"), "{twice:?}");
}

#[test]
fn column_counts_characters() {
    let found = problems("[handler.a]\nsource = \"a\"\nconfig = { \"ä\" = 1 }\n");
    assert!(found[0].starts_with("3:18:"), "{found:?}");
}

#[test]
fn secret_never_appears_in_what_is_shown() {
    let shown = format!("{:?}", parse(FULL).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains("from a file"), "{shown}");
}

#[test]
fn quantity_needs_a_unit_and_may_not_overflow() {
    assert_eq!(parse_duration("90 s"), Ok(Duration::from_secs(90)));
    assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
    for bad in
        ["", "s", "-1s", "1.5s", "1S", "1 s ", "99999999999999999999s", "18446744073709551615h"]
    {
        assert!(parse_duration(bad).is_err(), "`{bad}` should be refused");
    }
    assert_eq!(parse_size("1B"), Ok(1));
    assert_eq!(parse_size("2 GiB"), Ok(2 << 30));
    for bad in ["", "64", "64MB", "64mib", "1.5GiB", "18446744073709551615KiB"] {
        assert!(parse_size(bad).is_err(), "`{bad}` should be refused");
    }
}

proptest! {
    #[test]
    fn any_text_is_a_manifest_or_problems(text in "\\PC{0,80}") {
        prop_assert!(parse(&text).map_or_else(|problems| !problems.is_empty(), |_| true));
    }

    #[test]
    fn damaged_manifest_is_still_read_or_refused(
        at in 0..FULL.len(), length in 0..40usize, insert in "[\\[\\]{}=\"'$\\n.a0-]{0,6}",
    ) {
        // The text is ASCII, so every offset is a boundary.
        let end = (at + length).min(FULL.len());
        let text = format!("{}{insert}{}", &FULL[..at], &FULL[end..]);
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.is_empty());
            let lines = text.split('\n').count();
            prop_assert!(problems.iter().all(|problem| problem.position.line <= lines));
            prop_assert!(problems.iter().all(|problem| !problem.message.contains("hunter2")));
        }
    }
}

#[test]
fn project_opens_each_form_of_path() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    fs::create_dir_all(root.join("package")).unwrap();
    fs::create_dir_all(root.join("both")).unwrap();
    fs::write(root.join("package/Cargo.toml"), "[package]\nname = \"my-page\"").unwrap();
    fs::write(root.join("both/Cargo.toml"), "[package]\nname = \"ignored\"").unwrap();
    fs::write(root.join("both/wrt.toml"), "[handler.a]\nsource = \"sub\"").unwrap();
    fs::write(root.join("page.wasm"), "").unwrap();

    let open = |path: &str| Project::open(&root.join(path), &env).unwrap();
    let check = |path: &str, name: &str, route: Option<Route>, source: &str| {
        let project = open(path);
        let [handler] = project.manifest.handlers.as_slice() else { panic!("expected one") };
        assert_eq!(handler.config.name.as_str(), name);
        assert_eq!(handler.config.binding.route, route);
        assert_eq!(handler.source, HandlerSource::Path(root.join(source)));
    };
    check("package", "my-page", Some(Route::everything()), "package");
    check("page.wasm", "page", Some(Route::everything()), "page.wasm");
    check("both", "a", None, "both/sub");
    check("both/wrt.toml", "a", None, "both/sub");
    assert_eq!(open("both").manifest_path, Some(root.join("both/wrt.toml")));
    assert_eq!(open("package").root, root.join("package"));
    assert_eq!(open("page.wasm").root, root);
}

#[test]
fn readme_lists_every_key_and_no_other() {
    let readme = include_str!("../../../README.md");
    for (section, keys) in
        [("[handler.NAME]", handler::KEYS), ("[host]", HOST_KEYS), ("[cache]", CACHE_KEYS)]
    {
        let head = format!("| key of `{section}` | meaning |\n|---|---|\n");
        let (_, table) = readme.split_once(&head).expect("the README has a table of these keys");
        let rows = table.lines().take_while(|line| line.starts_with('|'));
        let cells = rows.filter_map(|row| row.split('|').nth(1));
        let mut listed: Vec<_> =
            cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let mut keys = keys.to_vec();
        listed.sort_unstable();
        keys.sort_unstable();
        assert_eq!(listed, keys, "{section}");
    }
}

#[test]
fn texts_without_an_end_are_not_read() {
    let temp = tempfile::tempdir().unwrap();
    let manifest = temp.path().join("wrt.toml");
    let why = || crate::error::chain(&Project::open(temp.path(), &env).unwrap_err());
    std::os::unix::fs::symlink("/dev/zero", &manifest).unwrap();
    assert!(why().ends_with("it is no regular file"), "{}", why());
    fs::remove_file(&manifest).unwrap();
    // Takes no room on the disk.
    fs::File::create(&manifest).unwrap().set_len(3 << 30).unwrap();
    assert!(why().ends_with("it has more than 16777216 bytes"), "{}", why());
    let secret = "[handler.a]\nsource = 'a.wasm'\nconfig = { n = { file = '/dev/zero' } }";
    fs::write(&manifest, secret).unwrap();
    assert!(why().ends_with("`/dev/zero`: it has more than 16777216 bytes"), "{}", why());
}

#[test]
fn project_that_cannot_be_opened_says_why() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    for dir in ["empty", "workspace", "torn", "named", "bad"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("workspace/Cargo.toml"), "[workspace]").unwrap();
    fs::write(root.join("torn/Cargo.toml"), "[package").unwrap();
    fs::write(root.join("named/Cargo.toml"), "[package]\nname = \"_x\"").unwrap();
    fs::write(root.join("bad/wrt.toml"), "[handler.a]\nsorce = \"x\"").unwrap();
    fs::write(root.join("page.html"), "").unwrap();

    let check = |path: &str, expect: &str, hinted: bool| {
        let error = Project::open(&root.join(path), &env).unwrap_err();
        let shown = error.to_string().replace(root.to_str().unwrap(), "[TMP]");
        assert_eq!(shown, expect);
        assert_eq!(!error.hints().is_empty(), hinted, "{shown}");
    };
    check("nowhere", "failed to open `[TMP]/nowhere`", false);
    check("empty", "found neither `wrt.toml` nor `Cargo.toml` in `[TMP]/empty`", true);
    check("page.html", "expected a directory or a `.wasm` file, found `[TMP]/page.html`", true);
    check("workspace", "found no `package.name` in `[TMP]/workspace/Cargo.toml`", true);
    check("torn", "failed to parse `[TMP]/torn/Cargo.toml`", false);
    check("named", "failed to name a handler after `[TMP]/named/Cargo.toml`", true);
    check(
        "bad",
        "found 2 problems in manifest `[TMP]/bad/wrt.toml`\n\
         [TMP]/bad/wrt.toml:1:10: handler `a` has no `source`\n\
         [TMP]/bad/wrt.toml:2:1: unknown key `sorce` in handler `a`",
        true,
    );
}
