//! Each bound of the survey: what is just within it passes, and one more is refused.

use std::fmt::Write as _;

use super::*;

fn of(text: &str) -> Result<Option<Survey>, Exceeded> {
    survey(&wat::parse_str(text).expect("the text is WebAssembly"))
}

#[track_caller]
fn refused(text: &str, bound: &Bound) {
    let exceeded = of(text).expect_err("it was let through");
    assert_eq!((exceeded.what, exceeded.limit), (bound.what, bound.limit));
    assert!(exceeded.found > exceeded.limit, "{exceeded:?}");
}

#[track_caller]
fn passes(text: &str) {
    assert!(of(text).expect("within all bounds").is_some(), "it was not read");
}

fn module(content: &str) -> String {
    format!("(component (core module {content}))")
}

/// As many of `item` as the bound allows pass, and one more does not. `wrap` makes a component.
#[track_caller]
fn bounded(bound: &Bound, item: &str, wrap: impl Fn(&str) -> String) {
    let most = usize::try_from(bound.limit).unwrap();
    passes(&wrap(&item.repeat(most)));
    refused(&wrap(&item.repeat(most + 1)), bound);
}

#[test]
fn names_of_the_outermost_component_are_told() {
    let text = r#"(component
        (component $inner (import "x" (func)) (export "y" (func 0)))
        (import "wasi:http/types@0.3.0-rc-1" (instance $a))
        (import "wasi:cli/exit@0.3.0" (instance $b))
        (instance $i)
        (export "wasi:http/handler@0.3.0" (instance $i)))"#;
    let survey = of(text).unwrap().unwrap();
    assert_eq!(survey.imports, ["wasi:http/types@0.3.0-rc-1", "wasi:cli/exit@0.3.0"]);
    assert_eq!(survey.exports, ["wasi:http/handler@0.3.0"]);
    assert_eq!(survey.wasi03().as_deref(), Some("wasi:cli/exit@0.3.0"));
}

#[test]
fn what_a_module_has_is_bounded_by_count() {
    bounded(&FUNCTIONS, "(func)", module);
    bounded(&CORE_TYPES, "(type (func))", module);
    bounded(&GLOBALS, "(global i32 (i32.const 0))", module);
    bounded(&SEGMENTS, r#"(data "")"#, module);
    bounded(&ELEMENTS, " 0", |items| module(&format!("(func) (elem func {items})")));
    bounded(&CORE_IMPORTS, r#"(import "" "" (func))"#, module);
    let exports = |n: u64| {
        let each = (0..n).fold(String::new(), |mut all, n| {
            let _ = write!(all, r#"(export "{n}" (func 0))"#);
            all
        });
        module(&format!("(func) {each}"))
    };
    passes(&exports(CORE_EXPORTS.limit));
    refused(&exports(CORE_EXPORTS.limit + 1), &CORE_EXPORTS);
}

#[test]
fn counts_go_over_all_modules() {
    let half = "(func)".repeat(usize::try_from(FUNCTIONS.limit / 2 + 1).unwrap());
    passes(&module(&half));
    refused(
        &format!("(component (core module {half}) (component (core module {half})))"),
        &FUNCTIONS,
    );
    let memories = format!("(core module {})", "(memory 0)".repeat(100));
    passes(&format!("(component {})", memories.repeat(10)));
    refused(&format!("(component {})", memories.repeat(11)), &MEMORIES);
    let tables = format!("(core module {})", "(table 0 funcref)".repeat(100));
    refused(&format!("(component {})", tables.repeat(11)), &TABLES);
    let sub = format!("(rec {})", "(type (func))".repeat(1000));
    refused(&module(&sub.repeat(51)), &CORE_TYPES);
}

#[test]
fn large_tables_are_bounded_over_all_of_them() {
    passes(&module(&"(table 100000 funcref)".repeat(20)));
    refused(&module(&"(table 100000 funcref)".repeat(21)), &TABLE_PLACES);
    // One that is not written down counts as the largest that is.
    passes(&module("(table 4000000000 funcref)"));
}

#[test]
fn images_with_gaps_are_bounded_and_dense_ones_are_not() {
    let sparse = r#"(core module (memory 256)
        (data (i32.const 0) "a") (data (i32.const 16000000) "b"))"#;
    passes(&format!("(component {})", sparse.repeat(8)));
    refused(&format!("(component {})", sparse.repeat(9)), &GAPS);
    // Two 64-bit memories in one module count both.
    let two = r#"(core module (memory 256) (memory i64 256)
        (data (memory 0) (i32.const 9) "a") (data (memory 0) (i32.const 16000000) "b")
        (data (memory 1) (i64.const 9) "a") (data (memory 1) (i64.const 16000000) "b"))"#;
    refused(&format!("(component {})", two.repeat(5)), &GAPS);
    let data = "d".repeat(100_000);
    let dense = format!(
        r#"(core module (memory 256) (data (i32.const 0) "{data}") (data (i32.const 150000) "{data}"))"#
    );
    passes(&format!("(component {})", dense.repeat(100)));
    // Too large to be made, into a memory that is another's, or in a place that is not known.
    for module in [
        r#"(core module (memory 1000) (data (i32.const 0) "a") (data (i32.const 60000000) "b"))"#,
        r#"(core module (import "" "" (memory 256)) (data (i32.const 0) "a")
            (data (i32.const 16000000) "b"))"#,
        r#"(core module (import "" "" (global $g i32)) (memory 256) (data (global.get $g) "a")
            (data (i32.const 16000000) "b"))"#,
    ] {
        passes(&format!("(component {})", module.repeat(20)));
    }
}

/// A core instance in `levels` components, each of which instantiates the one before it `times`.
fn laughs(levels: usize, times: usize) -> String {
    let mut text = "(component $c (core module $m) (core instance (instantiate $m)))".to_owned();
    for _ in 1..levels {
        let twice = "(instance (instantiate $c))".repeat(times);
        text = format!("(component $c {text} {twice})");
    }
    text
}

/// The same side by side, each knowing the one before it by an alias.
fn laughs_side_by_side(levels: usize, times: usize) -> String {
    let mut text = String::from("(component $0 (core module $m) (core instance (instantiate $m)))");
    for level in 1..levels {
        let twice = "(instance (instantiate $before))".repeat(times);
        let before = level - 1;
        let _ = write!(
            text,
            "(component ${level} (alias outer 1 ${before} (component $before)) {twice})"
        );
    }
    format!("(component {text} (instance (instantiate ${})))", levels - 1)
}

#[test]
fn instances_of_components_are_multiplied_through_nesting() {
    for laughs in [laughs, laughs_side_by_side] {
        passes(&laughs(10, 2));
        passes(&laughs(20, 1));
        refused(&laughs(30, 2), &CORE_INSTANCES);
        refused(&laughs(4, 15), &CORE_INSTANCES);
    }
    // Without anything in them but each other, in numbers that no counter holds.
    let mut text = "(component $c)".to_owned();
    for _ in 0..20 {
        text = format!("(component $c {text} {})", "(instance (instantiate $c))".repeat(900));
    }
    refused(&text, &ITEMS);
    // What is defined and never instantiated is no harm.
    passes(&format!("(component {} (component))", laughs(10, 2)));
}

#[test]
fn what_an_instance_adds_is_counted_with_all_that_it_defines() {
    let drops = "(core func (canon resource.drop $r))".repeat(1000);
    let instances = |n| {
        let instances = "(instance (instantiate $c))".repeat(n);
        format!("(component (component $c (type $r (resource (rep i32))) {drops}) {instances})")
    };
    passes(&instances(30));
    refused(&instances(31), &CANONICAL);
    let types = "(type u8)".repeat(10_000);
    let instances = |n| {
        let instances = "(instance (instantiate $c))".repeat(n);
        format!("(component (component $c {types}) {instances})")
    };
    passes(&instances(49));
    refused(&instances(50), &ITEMS);
}

#[test]
fn a_component_is_the_same_by_its_further_names() {
    let text = |times| {
        format!(
            r#"(component {} (export $e "e" (component $c))
                (component (alias outer 1 $e (component $d)) {}))"#,
            laughs(10, 2),
            "(instance (instantiate $d))".repeat(times)
        )
    };
    passes(&text(3));
    refused(&text(4), &CORE_INSTANCES);
}

#[test]
fn a_component_that_was_passed_on_is_not_instantiated() {
    let imported = r#"(component (component
        (import "c" (component $c)) (instance (instantiate $c))))"#;
    refused(imported, &PASSED);
    let exported = r#"(component
        (component $a (component $b) (export "b" (component $b)))
        (instance $i (instantiate $a)) (alias export $i "b" (component $b))
        (instance (instantiate $b)))"#;
    refused(exported, &PASSED);
}

#[test]
fn nesting_and_the_number_of_parts_are_bounded() {
    let nested = |levels: usize| format!("{}{}", "(component ".repeat(levels), ")".repeat(levels));
    passes(&nested(32));
    refused(&nested(33), &DEPTH);
    let hundred = format!("(component {})", "(core module)".repeat(100));
    passes(&format!("(component {})", hundred.repeat(20)));
    refused(&format!("(component {} (core module))", hundred.repeat(20)), &MODULES);
    let hundred = format!("(component {})", "(component)".repeat(99));
    passes(&format!("(component {})", hundred.repeat(20)));
    refused(&format!("(component {} (component))", hundred.repeat(20)), &COMPONENTS);
}

#[test]
fn types_are_bounded_by_their_bytes_before_they_are_read() {
    let long = format!(r#"(type (enum "{}"))"#, "a".repeat(90_000));
    passes(&format!("(component {})", long.repeat(90)));
    refused(&format!("(component {})", long.repeat(100)), &TYPE_BYTES);
}

#[test]
fn a_count_in_a_header_is_enough() {
    // A function section that says that it has 4,294,967,295 functions, and has none.
    let module = b"\0asm\x01\0\0\0\x03\x05\xff\xff\xff\xff\x0f";
    let mut component = b"\0asm\x0d\0\x01\0\x01".to_vec();
    component.push(u8::try_from(module.len()).unwrap());
    component.extend(module);
    let exceeded = survey(&component).unwrap_err();
    assert_eq!((exceeded.what, exceeded.found), ("functions", u64::from(u32::MAX)));
}

#[test]
fn what_cannot_be_parsed_is_left_to_the_compiler() {
    let whole = wat::parse_str(laughs(5, 2)).unwrap();
    let nothing = Survey::default();
    for length in 0..whole.len() {
        // What ends where a section does may pass for a component, of nothing.
        let found = survey(&whole[..length]).unwrap().unwrap_or_default();
        assert_eq!(found, nothing, "of {length} bytes");
    }
    assert_eq!(survey(&whole[..whole.len() - 1]), Ok(None));
    // An index of nothing.
    for text in [
        "(component (instance (instantiate 7)))",
        "(component (alias outer 0 7 (component)))",
        "(component (alias outer 7 0 (component)))",
        r#"(component (export "c" (component 7)))"#,
    ] {
        assert_eq!(of(text), Ok(None), "{text}");
    }
}
