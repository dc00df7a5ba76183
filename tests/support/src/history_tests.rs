//! Plants a breach of every rule in a history and expects exactly that one to be found.

use std::time::Duration;

use super::*;

/// A history in milliseconds from one origin.
struct Script {
    origin: Instant,
    history: History,
}

impl Script {
    fn new() -> Self {
        let connections = vec![ConnectionLog::default(), ConnectionLog::default()];
        Self { origin: Instant::now(), history: History { connections, milestones: Vec::new() } }
    }

    fn at(&self, ms: u64) -> Instant {
        self.origin + Duration::from_millis(ms)
    }

    fn end(&self, ms: u64, by: &str) -> End {
        End {
            at: self.at(ms),
            outcome: Outcome::Answered(200),
            served_by: Some(by.parse().unwrap()),
            also_served_by: None,
        }
    }

    /// A call on `connection` from `start` to `end`, served by `by`.
    fn call(mut self, connection: usize, start: u64, end: u64, by: &str) -> Self {
        let (started_at, end) = (self.at(start), self.end(end, by));
        let log = &mut self.history.connections[connection];
        let id = log.begin("GET", started_at);
        log.end(id, end);
        self
    }

    fn published(mut self, at: u64, by: &str) -> Self {
        let (at, generation) = (self.at(at), by.parse().unwrap());
        self.history.milestones.push(Milestone::Published { at, generation });
        self
    }

    fn rolled_back(mut self, asked_at: u64, at: u64, by: &str) -> Self {
        let (asked_at, at) = (self.at(asked_at), self.at(at));
        let generation = by.parse().unwrap();
        self.history.milestones.push(Milestone::RolledBack { asked_at, at, generation });
        self
    }

    #[track_caller]
    fn expect_clean(self) {
        let report = self.history.check();
        assert!(report.is_clean(), "{report}");
    }

    #[track_caller]
    fn has_one_violation(self, words: &str) {
        let report = self.history.check();
        assert_eq!(report.n_violations, 1, "{report}");
        assert!(report.violations[0].contains(words), "{report}");
    }
}

#[test]
fn orderly_swap_is_clean() {
    Script::new()
        .published(0, "a/1;one")
        .call(0, 1, 5, "a/1;one")
        .published(10, "a/2;two")
        .call(0, 11, 12, "a/2;two")
        .expect_clean();
}

#[test]
fn long_call_may_end_on_its_own_generation_after_a_swap() {
    Script::new()
        .call(0, 1, 90, "a/1;one")
        .published(10, "a/2;two")
        .call(1, 11, 12, "a/2;two")
        .expect_clean();
}

#[test]
fn overlapping_calls_may_see_generations_in_any_order() {
    Script::new().call(0, 1, 10, "a/2;two").call(1, 5, 12, "a/1;one").expect_clean();
}

#[test]
fn handlers_do_not_order_each_other() {
    Script::new().call(0, 1, 2, "a/9;nine").call(1, 5, 6, "b/1;one").expect_clean();
}

#[test]
fn call_without_outcome_is_found() {
    let mut script = Script::new();
    let started_at = script.at(1);
    script.history.connections[0].begin("POST", started_at);
    script.has_one_violation("POST on connection 0 at 0.000000 s has no outcome");
}

#[test]
fn call_with_two_outcomes_is_found() {
    let mut script = Script::new().call(0, 1, 2, "a/1;one");
    let end = script.end(3, "a/1;one");
    script.history.connections[0].end(CallId(0), end);
    script.has_one_violation("has 2 outcomes");
}

#[test]
fn call_served_by_two_generations_is_found() {
    let mut script = Script::new().call(0, 1, 2, "a/1;one");
    let end = script.history.connections[0].calls[0].end.as_mut().unwrap();
    end.also_served_by = Some("a/2;two".parse().unwrap());
    script.has_one_violation("served by both `a/1;one` and `a/2;two`");
}

#[test]
fn generation_with_two_digests_is_found() {
    Script::new()
        .published(0, "a/1;one")
        .call(0, 1, 2, "a/1;other")
        .has_one_violation("generation 1 of `a` has digests `one`, `other`");
}

#[test]
fn generation_that_goes_back_is_found() {
    Script::new()
        .call(0, 1, 10, "a/2;two")
        .call(1, 11, 12, "a/1;one")
        .has_one_violation("generation 2 had already answered GET on connection 0");
}

#[test]
fn call_begun_after_publication_on_the_old_generation_is_found() {
    Script::new()
        .published(10, "a/2;two")
        .call(0, 11, 12, "a/1;one")
        .has_one_violation("but generation 2 had already been published");
}

#[test]
fn call_begun_before_publication_was_heard_is_not_blamed() {
    Script::new().published(10, "a/2;two").call(0, 9, 12, "a/1;one").expect_clean();
}

#[test]
fn rollback_lets_generations_go_back() {
    Script::new()
        .call(0, 1, 10, "a/2;two")
        .rolled_back(11, 15, "a/1;one")
        .call(0, 12, 13, "a/1;one")
        .call(0, 16, 17, "a/1;one")
        .expect_clean();
}

#[test]
fn call_under_way_during_a_rollback_proves_nothing_about_later_ones() {
    Script::new()
        .rolled_back(11, 15, "a/1;one")
        .call(0, 9, 20, "a/2;two")
        .call(1, 21, 22, "a/1;one")
        .expect_clean();
}

#[test]
fn rollback_excuses_nothing_after_it() {
    Script::new()
        .call(0, 1, 10, "a/2;two")
        .rolled_back(11, 15, "a/1;one")
        .call(0, 16, 17, "a/3;three")
        .call(0, 18, 19, "a/1;one")
        .has_one_violation("generation 3 had already answered");
}

#[test]
fn failures_and_unnamed_answers_are_counted_apart() {
    let mut script = Script::new();
    let (started_at, mut end) = (script.at(0), script.end(1, "a/1;one"));
    let log = &mut script.history.connections[0];
    let mut record = |end: &End| {
        let id = log.begin("GET", started_at);
        log.end(id, end.clone());
    };
    end.outcome = Outcome::Answered(503);
    record(&end);
    end.outcome = Outcome::Failed("connection reset".into());
    record(&end);
    (end.outcome, end.served_by) = (Outcome::Answered(200), None);
    record(&end);
    let report = script.history.check();
    assert_eq!((report.n_calls, report.n_failed, report.n_unnamed), (3, 2, 1), "{report}");
    assert_eq!(report.n_violations, 0, "{report}");
    assert!(report.failures[0].contains("status 503"), "{report}");
    assert!(report.failures[1].contains("connection reset"), "{report}");
}

#[test]
fn all_violations_are_counted_and_the_first_told() {
    let script = (0..50).fold(Script::new().published(0, "a/2;two"), |script, i| {
        script.call(0, 10 + i, 11 + i, "a/1;one")
    });
    let report = script.history.check();
    assert_eq!((report.n_violations, report.violations.len()), (50, N_TOLD));
}

#[test]
fn header_reads_back_as_it_is_written() {
    let served: ServedBy = "hello/12;3fa9c1d07b2e".parse().unwrap();
    assert_eq!((&*served.handler, served.generation), ("hello", 12));
    assert_eq!(served.to_string(), "hello/12;3fa9c1d07b2e");
    for wrong in ["", "hello", "hello/12", "hello/x;3f", "12;3f"] {
        let error = wrong.parse::<ServedBy>().unwrap_err().to_string();
        assert!(error.contains(&format!("found `{wrong}`")), "{error}");
    }
}
