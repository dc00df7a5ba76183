//! What a server of HTTP does with each kind of request, right and wrong: tables of raw bytes and frames.
//!
//! A row says what RFC 9110, 9112 or 9113 asks for, and by which section. Where hyper or h2 do something
//! else by themselves, a second table names the row, what happens, and why that may stay; a row there that
//! is no longer needed fails the test.

mod h1;
mod h2;
mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use wrt::{HandlerConfig, InstanceMode, Route};

use crate::fixture::{Fixture, guest, name};

/// A row where the server does otherwise, with what it does and the reason why that may stay.
type Exception = (&'static str, &'static str, &'static str);

/// What the rows of a table were found to be, held against what they are expected to be.
#[derive(Default)]
struct Verdicts {
    n_rows: usize,
    wrong: Vec<String>,
    excepted: BTreeMap<&'static str, bool>,
}

impl Verdicts {
    /// Judges one row: `expected` has alternatives, separated by ` | `.
    fn judge(
        &mut self,
        exceptions: &[Exception],
        (row, section, expected): (&'static str, &str, &str),
        found: &str,
    ) {
        self.n_rows += 1;
        let is_right = expected.split(" | ").any(|expected| matches(expected, found));
        let exception = exceptions.iter().find(|(name, ..)| *name == row);
        match exception {
            Some((_, excepted, _)) => {
                assert!(
                    self.excepted.insert(row, is_right).is_none(),
                    "two rows are named `{row}`"
                );
                if is_right {
                    self.wrong.push(format!("`{row}` needs no exception any more: `{found}`"));
                } else if *excepted != found {
                    self.wrong
                        .push(format!("`{row}`: the exception is `{excepted}`, not `{found}`"));
                }
            }
            None if is_right => {}
            None => self
                .wrong
                .push(format!("`{row}` ({section}): expected `{expected}`, found `{found}`")),
        }
    }

    /// Fails unless all `least` rows and more were as they should be.
    #[track_caller]
    fn check(self, exceptions: &[Exception], least: usize) {
        let unknown = exceptions.iter().filter(|(row, ..)| !self.excepted.contains_key(row));
        let unknown: Vec<_> = unknown.map(|(row, ..)| format!("`{row}` is no row")).collect();
        let wrong = [self.wrong, unknown].concat();
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), self.n_rows, wrong.join("\n"));
        assert!(self.n_rows >= least, "the table has {} rows only", self.n_rows);
    }
}

/// Whether `found` is what `expected` says: `*` at its end leaves open whether the connection stays.
fn matches(expected: &str, found: &str) -> bool {
    match expected.strip_suffix('*') {
        Some(answers) => found.trim_end_matches('!') == answers,
        None => expected == found,
    }
}

/// A server whose handler answers every path as it is asked to.
async fn server() -> Fixture {
    let fixture = Fixture::start().await;
    let config = HandlerConfig::new(name("h"))
        .with_route(Route::everything())
        .with_instances(InstanceMode::pooled());
    let handler = fixture.runtime.add_handler(config).unwrap();
    crate::fixture::swapped(handler.load(crate::fixture::bytes(&guest("asked"))).await);
    fixture
}

/// Expects an answer on a connection of its own: what came before did others no harm.
async fn expect_service(address: SocketAddr, row: &str) {
    let answer = crate::client::Client::connect(address).await.get("/after").await;
    assert_eq!((answer.status, answer.text()), (200, "GET /after 0"), "after `{row}`");
}
