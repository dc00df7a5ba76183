//! The third version: each path has its count. The shape is another, so there is a migration.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use wrt_guest::{Error, Method, Result, State, Uri, state};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, State)]
#[state(version = 2, migrate = migrate)]
struct Counter {
    counts: BTreeMap<String, u64>,
}

/// What the first and the second version of the component have in common.
#[derive(Deserialize)]
struct Old {
    count: u64,
}

fn migrate(from_version: u32, payload: &[u8]) -> Result<Counter> {
    match from_version {
        1 => {
            let old: Old = state::read(payload)?;
            Ok(Counter { counts: BTreeMap::from([("/".into(), old.count)]) })
        }
        other => Err(Error::from(format!("state of version {other} is not known"))),
    }
}

#[wrt_guest::http(state = Counter)]
fn handle(counter: &mut Counter, method: Method, uri: Uri) -> String {
    if method == Method::POST {
        *counter.counts.entry(uri.path().into()).or_default() += 1;
    }
    let all: u64 = counter.counts.values().sum();
    format!("{all} on {} paths", counter.counts.len())
}

#[cfg(test)]
#[path = "counter_v2.rs"]
mod v2;

#[cfg(test)]
mod tests {
    use super::v2::v1;
    use super::*;
    use wrt_guest::state::Restored;
    use wrt_guest::testing::FakeHost;
    use wrt_guest::{Body, Request};

    #[test]
    fn earlier_versions_are_migrated() {
        let host = FakeHost::new();
        let first = host.save(&v1::Counter { count: 7 });
        let second = host.save(&v2::Counter { count: 7, shown: 1 });
        for snapshot in [first, second] {
            let (mut counter, how) = host.restore::<Counter>(&snapshot).unwrap();
            assert_eq!(how, Restored::Migrated);
            let request = Request::post("/other").body(Body::empty()).unwrap();
            let answer = host.call_with(handle, &mut counter, request);
            assert_eq!(answer.text(), "8 on 2 paths");
        }
    }

    #[test]
    fn own_version_is_carried() {
        let host = FakeHost::new();
        let counter = Counter { counts: BTreeMap::from([("/a".into(), 7)]) };
        let restored = host.restore::<Counter>(&host.save(&counter)).unwrap();
        assert_eq!(restored, (counter, Restored::Carried));
    }
}
