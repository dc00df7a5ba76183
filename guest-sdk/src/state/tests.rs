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
        count: Option<u64>,
        #[serde(default)]
        names: Vec<u8>,
    }
    check_incompatible::<Other>(
        &Shop::default(),
        "the state would lose parts: `count:u64` has become `count?:u64`, `names[]:string` has \
         become `names[]:u8`, `last?.at:u64` is gone; keep them, or name a migration with \
         `#[state(version = 2, migrate = …)]`",
    );
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
