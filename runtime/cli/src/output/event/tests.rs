//! What people see of each event.

use std::collections::BTreeMap;
use std::time::SystemTime;

use wrt::events::{CompiledBy, StateOutcome, Tier};
use wrt::id::Digest;

use super::*;

fn name(name: &str) -> HandlerName {
    HandlerName::new(name).unwrap()
}

fn event(kind: EventKind) -> Event {
    let cause = Some("`src/lib.rs` changed".to_owned());
    Event { kind, time: SystemTime::UNIX_EPOCH, handler: Some(name("hello")), cause }
}

fn digest() -> Digest {
    Digest::of(b"component")
}

fn generation(number: u64) -> GenerationNumber {
    GenerationNumber::new(number)
}

fn serving() -> Option<Serving> {
    Some(Serving { generation: generation(4), digest: digest() })
}

fn staged(build_ms: Option<f64>) -> EventKind {
    EventKind::Staged {
        digest: digest(),
        bytes: 1,
        build_ms,
        compile_ms: 21.4,
        compiled_by: CompiledBy::Compiler,
        tier: Tier::Baseline,
    }
}

fn swapped(from: Option<u64>, to: u64, total_ms: f64) -> EventKind {
    EventKind::Swapped {
        generation: generation(to),
        from: from.map(generation),
        digest: digest(),
        release: digest(),
        settings_changed: Vec::new(),
        total_ms,
        pause_ms: 0.0,
        publish_ms: 0.0,
        state: StateOutcome::None,
    }
}

fn log(level: LogLevel, message: &str, field: (&'static str, &str)) -> EventKind {
    EventKind::Log {
        level,
        message: message.to_owned(),
        fields: BTreeMap::from([(field.0, field.1.to_owned())]),
        generation: generation(4),
    }
}

fn render(kinds: impl IntoIterator<Item = EventKind>) -> String {
    let mut renderer = EventRenderer::new(Style::PLAIN);
    kinds.into_iter().map(|kind| renderer.render(&event(kind))).collect()
}

#[test]
fn swap_is_two_lines_with_its_times() {
    let short = digest().short();
    assert_eq!(
        render([EventKind::Building, staged(Some(262.0)), swapped(Some(3), 4, 312.2)]),
        format!(
            "hello  building (`src/lib.rs` changed)\n\
             hello  generation 4 serves {short}, 312 ms after the save (build 262 ms, compile 21 \
             ms)\n"
        )
    );
}

#[test]
fn swap_of_a_component_has_no_build_time() {
    let short = digest().short();
    assert_eq!(
        render([staged(None), swapped(None, 1, 1312.2)]),
        format!("hello  generation 1 serves {short}, 1.31 s after the start (compile 21 ms)\n")
    );
}

#[test]
fn times_of_one_swap_are_not_told_of_the_next() {
    let short = digest().short();
    let shown = render([staged(None), swapped(None, 1, 5.0), swapped(Some(1), 2, 4.0)]);
    assert!(shown.ends_with(&format!("generation 2 serves {short}, in 4.0 ms\n")));
}

#[test]
fn unchanged_says_what_keeps_serving() {
    let short = digest().short();
    let unchanged = EventKind::Unchanged { digest: digest(), passed_over_for: None };
    let shown = render([swapped(None, 1, 5.0), unchanged.clone()]);
    assert!(
        shown.ends_with(&format!("hello  unchanged ({short}), generation 1 keeps serving\n")),
        "{shown}"
    );
    assert_eq!(render([unchanged]), format!("hello  unchanged ({short}), nothing to swap\n"));
    let passed_over_for = Some(Serving { generation: generation(1), digest: Digest::of(b"y") });
    let passed_over = EventKind::Unchanged { digest: digest(), passed_over_for };
    let serves = Digest::of(b"y").short();
    assert_eq!(
        render([swapped(None, 1, 5.0), passed_over]).split_once('\n').unwrap().1,
        format!(
            "hello  {short} is passed over: generation 1 ({serves}) was put in its place and keeps \
             serving\n\
             hello  hint: replace the file, or `wrt swap hello FILE.wasm`\n"
        )
    );
}

#[test]
fn what_a_restart_would_not_know_is_told_once() {
    let error = "what becomes of `hello` is not kept for the next start: no space".to_owned();
    let kind = EventKind::HistoryNotKept { error: error.clone(), hints: vec!["free space".into()] };
    assert_eq!(render([kind]), format!("hello  warning: {error}\nhello  hint: free space\n"));
}

#[test]
fn failed_build_shows_the_compiler_and_what_keeps_serving() {
    let diagnostic = Diagnostic {
        level: "error".to_owned(),
        file: Some("src/lib.rs".to_owned()),
        line: Some(5),
        column: Some(1),
        text: "error: expected one of `!` or `::`\n --> src/lib.rs:5:1\n  |\n5 | fnord\n"
            .to_owned(),
    };
    let failed = |serving| EventKind::BuildFailed {
        message: "`cargo build` ended with status 101".to_owned(),
        diagnostics: vec![diagnostic.clone()],
        hints: vec!["mend it".to_owned()],
        serving,
    };
    assert_eq!(
        render([failed(serving())]),
        "error: expected one of `!` or `::`\n --> src/lib.rs:5:1\n  |\n5 | fnord\n\n\
         error: failed to build `hello`\n  \
           caused by: `cargo build` ended with status 101\n\
         note: generation 4 keeps serving\nhint: mend it\n"
    );
    let first = render([failed(None)]);
    assert!(
        first.ends_with(
            "note: `hello` has no active generation yet; its requests are answered with status \
             503\nhint: mend it\n"
        ),
        "{first}"
    );
}

#[test]
fn warnings_of_a_build_that_succeeds_are_shown_and_counted() {
    let warning = |text: &str, level: &str| Diagnostic {
        level: level.to_owned(),
        file: None,
        line: None,
        column: None,
        text: text.to_owned(),
    };
    let built = |warnings| EventKind::Built { build_ms: 5.0, warnings };
    assert_eq!(render([built(vec![])]), "");
    let one = warning("warning: unused variable: `x`\n", "warning");
    assert_eq!(
        render([built(vec![one.clone()])]),
        "warning: unused variable: `x`\n\nhello  built with 1 warning\n"
    );
    let left_out = warning("… 7 more messages left out …", "note");
    let shown = render([built(vec![one.clone(), one, left_out])]);
    assert!(
        shown.ends_with("… 7 more messages left out …\n\nhello  built with 2 warnings\n"),
        "{shown}"
    );
    assert_eq!(render([built(vec![warning("said\n", "note")])]), "said\n\n");
}

#[test]
fn rejection_says_why_what_serves_and_what_to_do() {
    let rejected = EventKind::Rejected {
        stage: Stage::Check,
        error: "`hello` does not satisfy its world\nimport `a:b/c` is not offered".to_owned(),
        hints: vec!["rebuild it".to_owned()],
        serving: serving(),
    };
    assert_eq!(
        render([rejected]),
        "error: rejected a new generation of `hello` while checking what it imports and exports\n  \
           caused by: `hello` does not satisfy its world\n    \
             import `a:b/c` is not offered\n\
         note: generation 4 keeps serving\n\
         hint: rebuild it\n"
    );
}

#[test]
fn drain_is_told_only_when_it_cut_something() {
    let drained = |cut| EventKind::Drained { generation: generation(3), cut, waited_ms: 30_000.0 };
    assert_eq!(render([drained(0)]), "");
    assert_eq!(
        render([drained(2)]),
        "hello  warning: 2 calls were cut on generation 3, 30.0 s after it was replaced\n\
         hello  hint: raise `drain` of the handler if such calls should finish\n"
    );
    assert!(render([drained(1)]).contains("1 call was cut"));
}

#[test]
fn guest_output_stands_behind_the_handlers_name_and_steers_nothing() {
    assert_eq!(
        render([
            log(LogLevel::Info, "got \u{1b}[2J", ("stream", "stdout")),
            log(LogLevel::Warn, "slow\nvery", ("context", "db")),
        ]),
        "hello  | got \\u{1b}[2J\nhello  | warn: db: slow\nhello  | very\n"
    );
}

#[test]
fn lines_of_several_handlers_align() {
    let mut renderer = EventRenderer::new(Style::PLAIN);
    renderer.align_to(&name("a-long-name"));
    let shown = renderer.render(&event(EventKind::Building));
    assert_eq!(shown, "hello        building (`src/lib.rs` changed)\n");
}

#[test]
fn listening_is_the_whole_line() {
    let url = "http://127.0.0.1:3000".to_owned();
    let event = Event { handler: None, cause: None, ..event(EventKind::Listening { url }) };
    let shown = EventRenderer::new(Style::PLAIN).render(&event);
    assert_eq!(shown, "listening on http://127.0.0.1:3000\n");
}

#[test]
fn duration_keeps_about_three_digits() {
    let check = |ms, expect: &str| assert_eq!(milliseconds(ms), expect);
    check(0.04, "0.0 ms");
    check(9.94, "9.9 ms");
    check(9.96, "10 ms");
    check(999.4, "999 ms");
    check(999.6, "1.00 s");
    check(12_345.0, "12.3 s");
}

#[test]
fn state_and_its_loss_are_told_with_the_swap() {
    let short = digest().short();
    let carried = EventKind::Swapped {
        generation: generation(4),
        from: Some(generation(3)),
        digest: digest(),
        release: digest(),
        settings_changed: Vec::new(),
        total_ms: 12.0,
        pause_ms: 2.1,
        publish_ms: 0.0,
        state: StateOutcome::Carried,
    };
    let lost = EventKind::StateLost { generation: generation(4), reason: "no reader".to_owned() };
    assert_eq!(
        render([carried, lost]),
        format!(
            "hello  generation 4 serves {short}, in 12 ms; state carried, callers held 2.1 ms\n\
             hello  warning: generation 4 began without the state: no reader\n"
        )
    );
}

#[test]
fn earlier_state_is_told_once_and_not_as_a_loss() {
    let short = digest().short();
    let swapped = EventKind::Swapped {
        generation: generation(3),
        from: Some(generation(2)),
        digest: digest(),
        release: digest(),
        settings_changed: Vec::new(),
        total_ms: 12.0,
        pause_ms: 2.1,
        publish_ms: 0.0,
        state: StateOutcome::Reverted,
    };
    let (generation, of, reason) = (generation(3), generation(1), "no reader".to_owned());
    let reverted = EventKind::StateReverted { generation, of, reason };
    let kind = EventKind::KindChanged { generation, from: "HTTP requests", to: "events" };
    assert_eq!(
        render([swapped, reverted, kind]),
        format!(
            "hello  generation 3 serves {short}, in 12 ms; state as before an earlier swap, callers \
             held 2.1 ms\n\
             hello  warning: generation 3 goes on with the state that generation 1 had; what was \
             gathered since is left out: no reader\n\
             hello  warning: generation 3 takes events, and the one before took HTTP requests\n"
        )
    );
}

#[test]
fn verdicts_on_a_generation_are_told() {
    let why = "3 of 4 calls failed".to_owned();
    let back = EventKind::RolledBack { generation: generation(5), from: generation(4), why };
    assert_eq!(
        render([EventKind::Confirmed { generation: generation(4) }, back]),
        "hello  generation 4 is confirmed\n\
         hello  warning: generation 4 was rolled back, generation 5 runs what was there before \
         (3 of 4 calls failed)\n"
    );
}
