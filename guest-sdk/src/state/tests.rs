//! Schemas of types, and which of them can follow which.

use super::*;
use crate::testing::FakeHost;
use crate::{State, state};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

#[derive(Debug, PartialEq, Default, Serialize, Deserialize, State)]
struct Shop {
    count: u64,
    names: Vec<String>,
    last: Option<Visit>,
}

#[derive(Debug, PartialEq, Default, Serialize, Deserialize, State)]
struct Visit {
    at: u64,
}

#[track_caller]
fn restore<New: State>(old: &impl State) -> Result<(New, Restored), RestoreError> {
    let host = FakeHost::new();
    host.restore(&host.save(old))
}

#[track_caller]
fn check_incompatible<New: State + fmt::Debug>(old: &impl State, expected: &str) {
    match restore::<New>(old) {
        Err(RestoreError::Incompatible(text)) => assert_eq!(text, expected),
        other => panic!("expected `{expected}`, found {other:?}"),
    }
}

#[test]
fn schema_names_each_leaf() {
    #[derive(Serialize, Deserialize, State)]
    #[serde(rename_all = "camelCase")]
    struct Many {
        by_name: BTreeMap<String, Visit>,
        by_number: HashMap<u32, bool>,
        tags: BTreeSet<char>,
        #[serde(rename = "grid")]
        _grid: [[f32; 3]; 12],
        pair: (i8, Box<str>),
        how_long: Option<Vec<Duration>>,
        kind: Kind,
        part: Part<Unit>,
        #[serde(skip)]
        #[allow(dead_code, reason = "to be left out")]
        cache: Option<std::rc::Rc<u8>>,
        #[state(opaque = "tree 1")]
        tree: serde_json::Value,
    }
    #[derive(Serialize, Deserialize, State)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Open,
        Paid { at: u64 },
        Sent(String),
        Back(u8, u8),
    }
    #[derive(Serialize, Deserialize, State)]
    struct Part<T>(T);
    #[derive(Serialize, Deserialize, State)]
    struct Unit;

    assert_eq!(Shop::SCHEMA, "count:u64;names[]:string;last?.at:u64");
    assert_eq!(
        Many::SCHEMA,
        "byName{string}.at:u64;byNumber{u32}:bool;tags{}:char;grid[12][3]:f32;\
         pair.0:i8;pair.1:string;howLong?[]:duration;\
         kind|open:unit;kind|paid.at:u64;kind|sent:string;kind|back.0:u8;kind|back.1:u8;\
         part:unit;tree:opaque tree 1"
    );
    assert_eq!(Kind::SCHEMA, "|open:unit;|paid.at:u64;|sent:string;|back.0:u8;|back.1:u8");
}

#[test]
fn section_is_json_of_version_and_schema() {
    const LEN: usize = text::section_len(20, Shop::SCHEMA);
    const SECTION: [u8; LEN] = text::section(20, Shop::SCHEMA);
    let section: serde_json::Value = serde_json::from_slice(&SECTION).unwrap();
    assert_eq!(section, serde_json::json!({ "version": 20, "schema": Shop::SCHEMA }));
}

#[test]
fn same_shape_is_carried_whatever_its_name() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    struct Store {
        names: Vec<Box<str>>,
        last: Option<Call>,
        count: u64,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    struct Call {
        at: u64,
    }
    let old = Shop { count: 7, names: vec!["a".into()], last: Some(Visit { at: 3 }) };
    let new = Store { count: 7, names: vec!["a".into()], last: Some(Call { at: 3 }) };
    assert_eq!(restore::<Store>(&old).unwrap(), (new, Restored::Carried));
    assert_eq!(restore::<Shop>(&Shop::default()).unwrap().0, Shop::default());
}

#[test]
fn new_fields_need_a_default() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    struct WithDefault {
        at: u64,
        note: Option<String>,
        #[serde(default)]
        by: String,
    }
    #[derive(Debug, Serialize, Deserialize, State)]
    struct Without {
        at: u64,
        by: String,
    }
    let (new, restored) = restore::<WithDefault>(&Visit { at: 3 }).unwrap();
    assert_eq!(new, WithDefault { at: 3, note: None, by: String::new() });
    assert_eq!(restored, Restored::Carried);
    check_incompatible::<Without>(
        &Visit { at: 3 },
        "the state lacks what is new: missing field `by` at line 1 column 8; new are `by:string`; \
         give new fields `#[serde(default)]`, or name a migration with \
         `#[state(version = 2, migrate = …)]`",
    );
}

#[test]
fn lost_and_retyped_fields_are_named() {
    #[derive(Debug, Serialize, Deserialize, State)]
    struct Other {
        count: u32,
        #[serde(default)]
        names: Vec<u8>,
    }
    check_incompatible::<Other>(
        &Shop::default(),
        "the state would lose parts: `count:u64` has become `count:u32`, `names[]:string` has \
         become `names[]:u8`, `last?.at:u64` is gone; keep them, or name a migration with \
         `#[state(version = 2, migrate = …)]`",
    );
}

#[test]
fn fields_that_go_by_another_name_are_found() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    struct Store {
        #[serde(alias = "number", alias = "count")]
        visits: u128,
        names: Vec<String>,
        #[serde(alias = "last")]
        latest: Option<Call>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    struct Call {
        #[serde(rename = "when", alias = "at")]
        time: f64,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    struct Times {
        at: u32,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    struct OldStore {
        count: u64,
        names: Vec<String>,
        last: Option<Times>,
    }
    let old = OldStore { count: u64::MAX, names: vec![], last: Some(Times { at: 3 }) };
    let (new, restored) = restore::<Store>(&old).unwrap();
    assert_eq!((new.visits, restored), (u128::from(u64::MAX), Restored::Carried));
    assert_eq!(new.latest, Some(Call { time: 3.0 }));
    // The alias is what is read, not what is written: an older component does not know the new name.
    assert_eq!(Store::SCHEMA, "visits:u128;names[]:string;latest?.when:f64");
    let Err(RestoreError::Incompatible(text)) = restore::<OldStore>(&new) else { panic!() };
    assert!(text.contains("`visits:u128` is gone"), "{text}");
}

#[test]
fn two_fields_do_not_become_one() {
    #[derive(Debug, Serialize, Deserialize, State)]
    struct Two {
        a: u8,
        b: u8,
    }
    #[derive(Debug, Serialize, Deserialize, State)]
    struct One {
        #[serde(alias = "b")]
        a: u8,
    }
    let Err(RestoreError::Incompatible(text)) = restore::<One>(&Two { a: 1, b: 2 }) else {
        panic!()
    };
    assert!(text.contains("`b:u8` is gone"), "{text}");
}

#[test]
fn value_decides_where_something_is_no_longer_optional() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    struct Maybe {
        at: Option<u64>,
    }
    assert_eq!(restore::<Visit>(&Maybe { at: Some(3) }).unwrap().0, Visit { at: 3 });
    assert_eq!(restore::<Maybe>(&Visit { at: 3 }).unwrap().0, Maybe { at: Some(3) });
    check_incompatible::<Visit>(
        &Maybe { at: None },
        "the state lacks what is new: invalid type: null, expected u64 at line 1 column 10; no \
         longer optional are `at?:u64`; give new fields `#[serde(default)]`, or name a migration \
         with `#[state(version = 2, migrate = …)]`",
    );
}

#[test]
fn enums_may_get_variants_and_lose_none() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    enum Kind {
        Open,
        Paid { at: u32 },
        Sent(u8, u8),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    enum More {
        Back,
        #[serde(alias = "Open")]
        New,
        Paid {
            at: Option<u64>,
            #[serde(default)]
            by: String,
        },
        Sent(u16, f32),
    }
    assert_eq!(restore::<More>(&Kind::Open).unwrap().0, More::New);
    let paid = More::Paid { at: Some(7), by: String::new() };
    assert_eq!(restore::<More>(&Kind::Paid { at: 7 }).unwrap().0, paid);
    assert_eq!(restore::<More>(&Kind::Sent(1, 2)).unwrap().0, More::Sent(1, 2.0));
    #[derive(Debug, Serialize, Deserialize, State)]
    enum Other {
        Open(Option<u8>),
        Paid { at: u32 },
    }
    check_incompatible::<Other>(
        &Kind::Paid { at: 7 },
        "the state would lose parts: `|Open:unit` has become `|Open?:u8`, `|Sent.0:u8` is gone, \
         `|Sent.1:u8` is gone; keep them, or name a migration with `#[state(version = 2, migrate = \
         …)]`",
    );
}

/// What a comparison says of `Old` and `New` holds for every value: what it carries is read and is the
/// same afterwards.
mod comparison {
    use super::super::compare::{Fit, compare};
    use super::super::text;
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    /// Tries `Old` as `New`; returns whether it is carried whatever its value.
    #[track_caller]
    fn check<Old, New>(values: impl Strategy<Value = Old>) -> bool
    where
        Old: Schema + Serialize + fmt::Debug,
        New: Schema + Serialize + DeserializeOwned,
    {
        let schema = text::of(Old::SHAPE);
        if compare(&schema, New::SHAPE) != Fit::default() {
            return false;
        }
        let names = (std::any::type_name::<Old>(), std::any::type_name::<New>());
        let mut runner = TestRunner::new(ProptestConfig::with_cases(64));
        let carried = runner.run(&values, |old| {
            let before = serde_json::to_vec(&old).unwrap();
            let new: New = match serde_json::from_slice(&before) {
                Ok(new) => new,
                Err(error) => return Err(TestCaseError::fail(format!("{names:?}: {error}"))),
            };
            let after = serde_json::to_vec(&new).unwrap();
            let [before, after] =
                [before, after].map(|json| serde_json::from_slice::<Value>(&json).unwrap());
            prop_assert!(is_same(&before, &after), "{names:?}: {before} became {after}");
            Ok(())
        });
        carried.unwrap();
        true
    }

    /// Whether two values are the same, numbers by their value.
    fn is_same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => {
                a == b || a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())
            }
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
            }
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
            }
            _ => a == b,
        }
    }

    /// Every leaf type as every other, by itself and within what may be around it. Returns the pairs
    /// that are carried.
    macro_rules! matrix {
        ($($old:ident: $values:expr),* $(,)?) => {{
            let mut carried = BTreeSet::new();
            $(matrix!(@row carried, $old, $values, u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize
                f32 f64 bool char String);)*
            carried
        }};
        (@row $carried:ident, $old:ident, $values:expr, $($new:ident)*) => {$(
            let is_carried = check::<$old, $new>($values);
            let values = || proptest::collection::vec($values, 0..4);
            let within = [
                check::<Option<$old>, Option<$new>>(proptest::option::of($values)),
                check::<$old, Option<$new>>($values),
                check::<Vec<$old>, Vec<$new>>(values()),
                check::<BTreeMap<String, $old>, BTreeMap<String, $new>>(
                    values().prop_map(|all| all.into_iter().map(|it| (format!("{it:?}"), it)).collect())
                ),
                check::<($old, bool), ($new, bool)>(($values, any::<bool>())),
            ];
            assert_eq!(within, [is_carried; 5], "{} {}", stringify!($old), stringify!($new));
            if is_carried && stringify!($old) != stringify!($new) {
                $carried.insert(concat!(stringify!($old), " ", stringify!($new)));
            }
        )*};
    }

    /// Floats with few digits: natively, serde_json reads others as their neighbours at times. In a
    /// component it does not.
    fn finite() -> impl Strategy<Value = f64> {
        any::<i32>().prop_map(|it| f64::from(it) / 1024.0)
    }

    fn finite32() -> impl Strategy<Value = f32> {
        any::<i16>().prop_map(|it| f32::from(it) / 128.0)
    }

    #[test]
    fn what_is_carried_is_read_whole() {
        let carried = matrix! {
            u8: any::<u8>(), u16: any::<u16>(), u32: any::<u32>(), u64: any::<u64>(),
            u128: any::<u128>(), usize: any::<usize>(), i8: any::<i8>(), i16: any::<i16>(),
            i32: any::<i32>(), i64: any::<i64>(), i128: any::<i128>(), isize: any::<isize>(),
            f32: finite32(), f64: finite(), bool: any::<bool>(), char: any::<char>(),
            String: any::<String>(),
        };
        for pair in [
            "u8 u16",
            "u16 u32",
            "u32 u64",
            "u32 usize",
            "u64 u128",
            "u8 i16",
            "u32 i64",
            "i8 i64",
            "i32 i128",
            "f32 f64",
            "u8 f32",
            "u32 f64",
            "i32 f64",
            "char String",
        ] {
            assert!(carried.contains(pair), "{pair} is not carried");
        }
        for pair in [
            "u16 u8",
            "u64 u32",
            "i8 u8",
            "i8 u64",
            "u64 i64",
            "u64 f64",
            "f64 f32",
            "f32 u32",
            "u8 String",
            "String char",
            "bool u8",
        ] {
            assert!(!carried.contains(pair), "{pair} is carried");
        }
    }

    #[test]
    fn keys_of_maps_are_read_whole() {
        /// Keys of the type `Old` as keys of the type `New`.
        #[track_caller]
        fn keys<Old, New>(values: impl Strategy<Value = Old>) -> bool
        where
            Old: Schema + Serialize + Ord + fmt::Debug,
            New: Schema + Serialize + DeserializeOwned + Ord,
        {
            let entries = proptest::collection::vec((values, any::<bool>()), 0..4);
            let maps = entries.prop_map(|all| all.into_iter().collect());
            check::<BTreeMap<Old, bool>, BTreeMap<New, bool>>(maps)
        }
        assert!(keys::<u8, u64>(any::<u8>()) && keys::<u32, i64>(any::<u32>()));
        assert!(keys::<u64, u128>(any::<u64>()) && keys::<i64, i128>(any::<i64>()));
        assert!(keys::<i8, String>(any::<i8>()) && keys::<char, String>(any::<char>()));
        assert!(keys::<bool, String>(any::<bool>()) && keys::<bool, bool>(any::<bool>()));
        assert!(!keys::<u64, u32>(any::<u64>()) && !keys::<String, u8>(any::<String>()));
    }

    #[test]
    fn collections_keep_what_is_in_them() {
        let sets = || proptest::collection::btree_set(any::<u8>(), 0..4);
        let lists = || proptest::collection::vec(any::<u8>(), 0..4);
        assert!(check::<BTreeSet<u8>, Vec<u64>>(sets()));
        assert!(check::<BTreeSet<u8>, BTreeSet<u16>>(sets()));
        assert!(!check::<Vec<u8>, BTreeSet<u8>>(lists()), "what is there twice would be lost");
        assert!(check::<[u8; 3], Vec<u8>>(any::<[u8; 3]>()));
        assert!(check::<[u8; 3], [u16; 3]>(any::<[u8; 3]>()));
        assert!(!check::<[u8; 3], [u8; 2]>(any::<[u8; 3]>()));
        assert!(!check::<Vec<u8>, [u8; 3]>(lists()));
        assert!(
            check::<Vec<u8>, Value>(lists()) && check::<Option<u8>, Value>(any::<Option<u8>>())
        );
        assert!(!check::<Vec<u128>, Value>(proptest::collection::vec(any::<u128>(), 0..4)));
        let nested = proptest::collection::vec(proptest::option::of(lists()), 0..4);
        assert!(check::<Vec<Option<Vec<u8>>>, Vec<Option<Vec<i32>>>>(nested));
        assert!(check::<(u8, (char, f32)), (u32, (String, f64))>((
            any::<u8>(),
            (any::<char>(), finite32())
        )));
        assert!(!check::<(u8, u8), (u8,)>(any::<(u8, u8)>()));
        assert!(!check::<(), Option<()>>(Just(())), "`null` would say that nothing is there");
        assert!(!check::<Option<u8>, u8>(any::<Option<u8>>()), "the value decides");
    }

    #[test]
    fn any_text_is_compared() {
        let leaf = "[a-c.|?:;\\[\\]{}0-9]{0,12}";
        proptest!(|(schema in proptest::collection::vec(leaf, 0..5))| {
            // It ends, and does not panic.
            let schema = schema.join(";");
            let _ = compare(&schema, Shop::SHAPE);
            let _ = compare(&schema, <Vec<Option<BTreeMap<u8, Shop>>>>::SHAPE);
        });
    }
}

#[test]
fn another_version_needs_a_migration() {
    #[derive(Debug, Serialize, Deserialize, State)]
    #[state(version = 2)]
    struct Second {
        at: u64,
    }
    check_incompatible::<Second>(
        &Visit { at: 3 },
        "the state has version 1, older than version 2 of this component; name a migration with \
         `#[state(version = 2, migrate = …)]`",
    );
    check_incompatible::<Visit>(
        &Second { at: 3 },
        "the state has version 2, newer than version 1 of this component; name a migration with \
         `#[state(version = 1, migrate = …)]`",
    );
}

#[derive(Debug, PartialEq, Serialize, Deserialize, State)]
#[state(version = 2, migrate = visits)]
struct Visits {
    all: Vec<u64>,
}

fn visits(from_version: u32, payload: &[u8]) -> crate::Result<Visits> {
    match from_version {
        1 => Ok(Visits { all: vec![state::read::<Visit>(payload)?.at] }),
        other => Err(format!("version {other} is not known").into()),
    }
}

#[test]
fn migration_makes_the_state() {
    let migrated = restore::<Visits>(&Visit { at: 3 }).unwrap();
    assert_eq!(migrated, (Visits { all: vec![3] }, Restored::Migrated));
    let carried = restore::<Visits>(&Visits { all: vec![3] }).unwrap();
    assert_eq!(carried, (Visits { all: vec![3] }, Restored::Carried));
}

#[test]
fn failed_migration_says_why() {
    let host = FakeHost::new();
    let mut snapshot = host.save(&Visit { at: 3 });
    snapshot.version = 9;
    assert_eq!(
        host.restore::<Visits>(&snapshot).unwrap_err(),
        RestoreError::Failed(
            "failed to migrate the state from version 9: version 9 is not known".into()
        )
    );
}

#[test]
fn migration_is_asked_where_a_new_field_has_no_default() {
    #[derive(Debug, PartialEq, Serialize, Deserialize, State)]
    #[state(migrate = fill)]
    struct Filled {
        at: u64,
        by: String,
    }
    fn fill(_: u32, payload: &[u8]) -> crate::Result<Filled> {
        Ok(Filled { at: state::read::<Visit>(payload)?.at, by: "nobody".into() })
    }
    let filled = restore::<Filled>(&Visit { at: 3 }).unwrap();
    assert_eq!(filled, (Filled { at: 3, by: "nobody".into() }, Restored::Migrated));
}

#[test]
fn garbage_fails() {
    let host = FakeHost::new();
    for payload in [&b""[..], b"{", b"[]", b"{\"at\":\"x\"}", b"\xff"] {
        let mut snapshot = host.save(&Visit { at: 3 });
        snapshot.payload = payload.into();
        let error = host.restore::<Visit>(&snapshot).unwrap_err();
        let RestoreError::Failed(text) = &error else { panic!("{payload:?}: {error:?}") };
        assert!(text.starts_with("failed to read the state of version 1: "), "{text}");
    }
    let mut snapshot = host.save(&Visit { at: 3 });
    snapshot.schema = "not a schema".into();
    assert_eq!(
        host.restore::<Visit>(&snapshot).unwrap_err(),
        RestoreError::Incompatible(
            "the state would lose parts: `not a schema` is gone; keep them, or name a migration \
             with `#[state(version = 2, migrate = …)]`"
                .into()
        )
    );
}
