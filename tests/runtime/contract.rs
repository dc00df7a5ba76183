//! What is not a fitting component is refused with the reason, and what served before serves on.

use std::time::Duration;

use wrt::events::Stage;
use wrt::{EventKind, HandlerHandle, Hint as _, Rejected, chain};

use crate::fixture::{Fixture, bytes, config, guest, next_event, swapped};

/// A handler with one good generation, which has to survive everything that is offered.
struct Refuser {
    fixture: Fixture,
    handler: HandlerHandle,
    events: wrt::EventReceiver,
}

/// How a candidate was refused.
struct Refusal {
    stage: Stage,
    error: String,
    hints: String,
}

impl Refuser {
    async fn start() -> Self {
        // Soon over for a candidate that never starts, ample for the calls.
        let config = config().with_timeout(Duration::from_secs(2));
        let (fixture, handler) = Fixture::serving_as(config, &guest("trap")).await;
        let events = fixture.runtime.events();
        Self { fixture, handler, events }
    }

    async fn refuse(&mut self, candidate: &[u8]) -> Refusal {
        let serving = self.handler.serving();
        let rejected: Rejected =
            self.handler.swap(bytes(candidate), "a bad one").await.expect_err("it was accepted");
        assert_eq!(rejected.serving, serving);
        assert_eq!(self.handler.serving(), serving);
        assert_eq!(self.fixture.get("/").await.text(), "ok");
        let refusal = Refusal {
            stage: rejected.source.stage(),
            error: chain(&rejected.source),
            hints: rejected.source.hints().join("\n"),
        };
        let told = next_event(&mut self.events, "the rejection", |event| match event {
            EventKind::Rejected { stage, error, serving, .. } => Some((stage, error, serving)),
            _ => None,
        });
        assert_eq!(told.await, (refusal.stage, refusal.error.clone(), serving));
        refusal
    }

    async fn refuse_text(&mut self, text: &str) -> Refusal {
        self.refuse(&wat::parse_str(text).unwrap()).await
    }
}

impl Refusal {
    #[track_caller]
    fn says(&self, stage: Stage, parts: &[&str]) -> &Self {
        assert_eq!(self.stage, stage, "{}", self.error);
        for part in parts {
            assert!(self.error.contains(part), "`{part}` is not in `{}`", self.error);
        }
        self
    }
}

/// A component that exports `handle` without parameters and result as part of `interface`, and
/// imports `imports`.
fn exporting(interface: &str, imports: &str) -> String {
    format!(
        r#"(component {imports}
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "handle")))
            (instance $e (export "handle" (func $f)))
            (export "{interface}" (instance $e)))"#
    )
}

#[tokio::test]
async fn core_module_is_refused_with_the_way_to_a_component() {
    let mut refuser = Refuser::start().await;
    let refusal = refuser.refuse_text("(module)").await;
    refusal.says(Stage::Compile, &["expected a WebAssembly component", "core WebAssembly module"]);
    assert!(refusal.hints.contains("wasm32-wasip2"), "{}", refusal.hints);
    let preview_1 = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)))"#;
    let refusal = refuser.refuse_text(preview_1).await;
    refusal.says(Stage::Compile, &["a core WebAssembly module for WASI preview 1"]);
    assert!(refusal.hints.contains("wasi_snapshot_preview1.reactor.wasm"), "{}", refusal.hints);
}

#[tokio::test]
async fn other_files_are_refused_by_what_they_are() {
    let mut refuser = Refuser::start().await;
    for (candidate, found) in [
        ("<!doctype html><title>404 Not Found</title>", "an HTML page"),
        ("(component)", "WebAssembly text"),
        ("not found\n", "text"),
    ] {
        refuser.refuse(candidate.as_bytes()).await.says(Stage::Compile, &[found]);
    }
}

#[tokio::test]
async fn truncated_component_is_refused_wherever_it_ends() {
    let mut refuser = Refuser::start().await;
    let whole = guest("counter");
    for (length, stage, part) in [
        (0, Stage::Compile, "an empty file"),
        (4, Stage::Compile, "ends within its first 8 bytes"),
        // The preamble alone is a component, of nothing.
        (8, Stage::Check, "it exports nothing"),
        (whole.len() / 2, Stage::Compile, "failed to compile the component"),
        (whole.len() - 1, Stage::Compile, "failed to compile the component"),
    ] {
        refuser.refuse(&whole[..length]).await.says(stage, &[part]);
    }
}

#[tokio::test]
async fn missing_export_is_named_beside_those_that_are_there() {
    let mut refuser = Refuser::start().await;
    let refusal = refuser.refuse(&guest("own_world")).await;
    let parts = ["wasi:http/incoming-handler@0.2.x", "wrt:plugin/handler@0.1.0", "`transform`"];
    refusal.says(Stage::Check, &parts);
    assert!(refusal.hints.contains("#[wrt_guest::http]"), "{}", refusal.hints);
}

#[tokio::test]
async fn what_can_be_told_by_names_is_told_before_it_is_compiled() {
    let mut refuser = Refuser::start().await;
    let compiled = |refuser: &Refuser| refuser.fixture.runtime.cache_report().counts;
    let before = compiled(&refuser);
    let refusal = refuser.refuse_text("(component (core module (func)))").await;
    refusal.says(Stage::Check, &["wasi:http/incoming-handler@0.2.x", "it exports nothing"]);
    refuser.refuse(&guest("own_world")).await.says(Stage::Check, &["`transform`"]);
    assert_eq!(compiled(&refuser), before);
}

#[tokio::test]
async fn export_of_another_version_is_refused_with_the_one_that_is_called() {
    let mut refuser = Refuser::start().await;
    for (found, called) in [
        ("wasi:http/incoming-handler@0.3.0-draft", "`wasi:http/incoming-handler@0.2.12`"),
        ("wasi:http/incoming-handler@0.2.0-rc-2023-12-05", "`wasi:http/incoming-handler@0.2.12`"),
        ("wasi:http/incoming-handler", "`wasi:http/incoming-handler@0.2.12`"),
        ("wrt:plugin/handler@0.2.0", "`wrt:plugin/handler@0.1.0`"),
        ("wasi:http/handler@0.3.0-rc-2026-01-06", "`wasi:http/handler@0.3.0`"),
    ] {
        let refusal = refuser.refuse_text(&exporting(found, "")).await;
        let built = format!("it was built for `{found}`, and this runtime calls {called}");
        refusal.says(Stage::Check, &["does not fit world", &built]);
        assert!(refusal.hints.contains("build it again"), "{}", refusal.hints);
    }
    // It is called under the name of any version that is compatible.
    let refusal = refuser.refuse_text(&exporting("wrt:plugin/handler@0.1.7", "")).await;
    refusal.says(Stage::Check, &["type mismatch with parameters"]);
}

#[tokio::test]
async fn component_that_is_its_own_multiple_is_refused_with_the_count_and_the_limit() {
    let mut refuser = Refuser::start().await;
    let mut laughs = "(core module $m (func)) (core instance (instantiate $m))".to_owned();
    for _ in 0..30 {
        laughs = format!(
            "(component $c {laughs}) (instance (instantiate $c)) (instance (instantiate $c))"
        );
    }
    let event = exporting("wrt:plugin/handler@0.1.0", &laughs);
    for text in [format!("(component {laughs})"), event] {
        let refusal = refuser.refuse_text(&text).await;
        refusal.says(
            Stage::Compile,
            &["has at least 2048 core instances", "more than the limit of 2000"],
        );
        assert!(refusal.hints.contains("split it into several handlers"), "{}", refusal.hints);
    }
    let functions = "(func)".repeat(600_000);
    let refusal = refuser.refuse_text(&format!("(component (core module {functions}))")).await;
    refusal.says(Stage::Compile, &["has at least 600000 functions, more than the limit of"]);
}

#[tokio::test]
async fn mistyped_export_is_refused_with_both_types() {
    let mut refuser = Refuser::start().await;
    for interface in ["wasi:http/incoming-handler@0.2.0", "wrt:plugin/handler@0.1.0"] {
        let refusal = refuser.refuse_text(&exporting(interface, "")).await;
        refusal.says(
            Stage::Check,
            &["does not fit world", interface, "type mismatch with parameters"],
        );
    }
}

#[tokio::test]
async fn mistyped_optional_export_is_refused_by_name() {
    let mut refuser = Refuser::start().await;
    let also = r#"(func $g (canon lift (core func $i "other")))
        (instance $o (export "handle" (func $g)))
        (export "wrt:plugin/http@0.1.0" (instance $o)))"#;
    let handler = starting_with(r#"(func (export "other"))"#);
    let handler = handler.trim_end().strip_suffix(')').unwrap();
    refuser.refuse_text(&format!("{handler} {also}")).await.says(
        Stage::Check,
        &[
            "export `handle` of `wrt:plugin/http@0.1.0` has another type",
            "type mismatch with parameters",
        ],
    );
}

#[tokio::test]
async fn each_import_that_is_not_offered_is_named_with_both_versions() {
    let mut refuser = Refuser::start().await;
    let imports = r#"
        (import "acme:db/rows@1.2.0" (instance (export "get" (func))))
        (import "wasi:logging/logging@9.0.0" (instance (export "log" (func))))
        (import "wasi:random/random@0.2.0" (instance
            (export "get-random-u64" (func (result u64)))))"#;
    let refusal = refuser.refuse_text(&exporting("wrt:plugin/handler@0.1.0", imports)).await;
    refusal.says(
        Stage::Check,
        &[
            "import `acme:db/rows@1.2.0` is not provided (this runtime provides nothing of that name)",
            "import `wasi:logging/logging@9.0.0` is not provided (this runtime provides 0.1.0-draft)",
        ],
    );
    assert!(!refusal.error.contains("import `wasi:random"), "{}", refusal.error);
}

#[tokio::test]
async fn interface_with_more_in_it_than_is_offered_is_named_with_both_versions() {
    let mut refuser = Refuser::start().await;
    let imports = r#"(import "wasi:random/random@0.2.99" (instance
        (export "get-random-u64" (func (result u64))) (export "get-random-u128" (func))))"#;
    let refusal = refuser.refuse_text(&exporting("wrt:plugin/handler@0.1.0", imports)).await;
    let named = "import `wasi:random/random@0.2.99` is not provided (this runtime provides 0.2.12, \
                 which differs)";
    refusal.says(Stage::Check, &[named, "`get-random-u128`"]);
    assert!(refusal.hints.contains("build against the offered version"), "{}", refusal.hints);
}

/// An HTTP handler whose core module begins with `start`.
fn starting_with(start: &str) -> String {
    format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            (core module $m {start} (func (export "handle") (param i32 i32)))
            (core instance $i (instantiate $m))
            (func $f (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $i "handle")))
            (instance $e (export "handle" (func $f)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $e)))"#
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn component_that_fails_at_its_start_is_refused_within_its_limits() {
    let mut refuser = Refuser::start().await;
    for (start, part) in [
        ("(func $f unreachable) (start $f)", "trapped"),
        ("(memory 4096)", "more than its limit"),
        ("(func $f (loop (br 0))) (start $f)", "did not answer within"),
    ] {
        let refusal = refuser.refuse_text(&starting_with(start)).await;
        refusal.says(Stage::Init, &["failed to start a first instance", part]);
        refuser.fixture.wait_for_stores(0).await;
    }
    // The same without a fault is accepted, so it was the start that was refused.
    let good = wat::parse_str(starting_with("")).unwrap();
    swapped(refuser.handler.swap(bytes(&good), "good").await);
}

#[tokio::test]
async fn component_of_more_parts_than_a_store_may_have_is_refused() {
    let mut refuser = Refuser::start().await;
    // Beside the instance of the handler's own module.
    let others =
        "(core module $empty) ".to_owned() + &"(core instance (instantiate $empty)) ".repeat(200);
    let text = starting_with("").replacen("(component", &format!("(component {others}"), 1);
    refuser.refuse_text(&text).await.says(Stage::Init, &["instance count too high at 201"]);
    refuser.fixture.wait_for_stores(0).await;
    let table = "(table 100001 funcref)";
    let refusal = refuser.refuse_text(&starting_with(table)).await;
    refusal.says(refusal.stage, &["100000"]);
}

#[tokio::test]
async fn first_component_that_is_refused_leaves_the_handler_waiting() {
    let fixture = Fixture::start().await;
    let handler = fixture.runtime.add_handler(config()).unwrap();
    let rejected = handler.load(bytes(b"nothing")).await.unwrap_err();
    assert_eq!((rejected.serving, handler.serving()), (None, None));
    swapped(handler.load(bytes(&guest("trap"))).await);
    assert_eq!(fixture.get("/").await.text(), "ok");
}
