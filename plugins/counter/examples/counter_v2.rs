//! The second version: GETs are counted too. The field is new and has a default, so the state of the
//! first version is carried.

use serde::{Deserialize, Serialize};
use wrt_guest::{Method, State};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, State)]
pub(crate) struct Counter {
    pub(crate) count: u64,
    #[serde(default)]
    pub(crate) shown: u64,
}

#[wrt_guest::http(state = Counter)]
fn handle(counter: &mut Counter, method: Method) -> String {
    match method {
        Method::POST => counter.count += 1,
        _ => counter.shown += 1,
    }
    format!("{}, shown {} times", counter.count, counter.shown)
}

#[cfg(test)]
#[path = "../src/lib.rs"]
pub(crate) mod v1;

#[cfg(test)]
mod tests {
    use super::*;
    use wrt_guest::state::Restored;
    use wrt_guest::testing::FakeHost;
    use wrt_guest::{Body, Request};

    #[test]
    fn first_version_is_carried() {
        let host = FakeHost::new();
        let snapshot = host.save(&v1::Counter { count: 7 });
        let (mut counter, how) = host.restore::<Counter>(&snapshot).unwrap();
        assert_eq!((&counter, how), (&Counter { count: 7, shown: 0 }, Restored::Carried));
        let answer = host.call_with(handle, &mut counter, Request::new(Body::empty()));
        assert_eq!(answer.text(), "7, shown 1 times");
    }

    #[test]
    fn there_is_no_way_back_without_a_loss() {
        let host = FakeHost::new();
        let snapshot = host.save(&Counter { count: 7, shown: 1 });
        let error = host.restore::<v1::Counter>(&snapshot).unwrap_err().to_string();
        assert!(error.contains("`shown:u64` is gone"), "{error}");
    }
}
