//! Counts: GET shows the count, POST adds one. The count is kept in memory, and goes over swaps.

use serde::{Deserialize, Serialize};
use wrt_guest::{Error, Method, Result, State, StatusCode};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, State)]
pub(crate) struct Counter {
    pub(crate) count: u64,
}

#[wrt_guest::http(state = Counter)]
fn handle(counter: &mut Counter, method: Method) -> Result<String> {
    match method {
        Method::GET => {}
        Method::POST => counter.count += 1,
        _ => return Err(Error::with_status(StatusCode::METHOD_NOT_ALLOWED, "use GET or POST")),
    }
    Ok(counter.count.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrt_guest::testing::{Answer, FakeHost};
    use wrt_guest::{Body, Request};

    fn send(counter: &mut Counter, method: &str) -> Answer {
        let request = Request::builder().method(method).body(Body::empty()).unwrap();
        FakeHost::new().call_with(handle, counter, request)
    }

    #[test]
    fn posts_are_counted() {
        let mut counter = Counter::default();
        for (method, expected) in [("GET", "0"), ("POST", "1"), ("POST", "2"), ("GET", "2")] {
            assert_eq!(send(&mut counter, method).text(), expected);
        }
    }

    #[test]
    fn other_methods_are_refused() {
        let mut counter = Counter::default();
        assert_eq!(send(&mut counter, "DELETE").status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(counter, Counter::default());
    }
}
