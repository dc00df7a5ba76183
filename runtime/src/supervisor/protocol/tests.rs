//! Every path of the protocol: its invariants, the paths that matter by name, and planted mistakes.

use super::*;
use crate::supervisor::Bug;

const KEEPS: [Option<Keeps>; 4] =
    [None, Some(Keeps::Nothing), Some(Keeps::Memory), Some(Keeps::State)];
const FOUND: [Found; 5] =
    [Found::Done, Found::Migrated, Found::Failed, Found::Incompatible, Found::Lost];

/// More steps than any path has.
const MAX_STEPS: usize = 10;

fn all_terms() -> Vec<Terms> {
    let mut all = Vec::new();
    for old in KEEPS {
        for new in [Keeps::Nothing, Keeps::Memory, Keeps::State] {
            for bits in 0..16_u8 {
                all.push(Terms {
                    old,
                    new,
                    is_fresh: bits & 1 != 0,
                    mismatch: if bits & 2 != 0 { Mismatch::Reset } else { Mismatch::Refuse },
                    is_rollback: bits & 4 != 0,
                    has_kept: bits & 8 != 0,
                });
            }
        }
    }
    all
}

fn is_end(step: Step) -> bool {
    matches!(step, Step::Published | Step::Refused | Step::RefuseStateless)
}

/// What can become of `step`.
fn possible(step: Step) -> &'static [Found] {
    match step {
        Step::Publish(_) | Step::Release => &[Found::Done],
        Step::Hold | Step::Start | Step::Probe => &[Found::Done, Found::Failed],
        Step::Save => &[Found::Done, Found::Failed, Found::Lost],
        _ => &FOUND[..4],
    }
}

/// A path: each step with what became of it.
type Path = Vec<(Step, Option<Found>)>;

/// Every path from `terms`, with `bug` planted.
fn paths(terms: Terms, bug: Option<Bug>) -> Vec<Path> {
    fn walk(terms: Terms, bug: Option<Bug>, found: &[Found], paths: &mut Vec<Path>) {
        let mut protocol = Protocol::new(terms);
        protocol.bug = bug;
        let mut path = vec![(protocol.begin(), None)];
        for became in found {
            path.last_mut().expect("it has a first step").1 = Some(*became);
            path.push((protocol.next(*became), None));
        }
        let (last, _) = path[path.len() - 1];
        if is_end(last) || path.len() > MAX_STEPS {
            paths.push(path);
            return;
        }
        for next in possible(last) {
            walk(terms, bug, &[found, &[*next]].concat(), paths);
        }
    }
    let mut paths = Vec::new();
    walk(terms, bug, &[], &mut paths);
    paths
}

/// The first invariant that `path` breaks.
fn violation(terms: Terms, path: &Path) -> Option<&'static str> {
    let position = |wanted: fn(&Step) -> bool| path.iter().position(|(step, _)| wanted(step));
    let count = |wanted: fn(&Step) -> bool| path.iter().filter(|(step, _)| wanted(step)).count();
    let publish = position(|it| matches!(it, Step::Publish(_)));
    let done = |step: Step| {
        path.iter()
            .position(|it| matches!(it, (s, Some(Found::Done | Found::Migrated)) if *s == step))
    };
    let begun = [Step::Start, Step::Restore, Step::RestoreKept].map(done);
    let before_publish = |it: Option<usize>| it.is_some() && it < publish;
    let (last, _) = path[path.len() - 1];
    if !is_end(last) {
        return Some("it comes to an end");
    }
    if count(|it| matches!(it, Step::Publish(_))) > 1 {
        return Some("it publishes once at most");
    }
    if publish.is_some_and(|at| !matches!(path[at + 1..], [(Step::Published, _)])) {
        return Some("nothing comes after the publication");
    }
    if publish.is_some() != (last == Step::Published) {
        return Some("who is told of a publication has one");
    }
    let n_begun = begun.iter().filter(|it| before_publish(**it)).count();
    if publish.is_some() && terms.new != Keeps::Nothing && n_begun != 1 {
        return Some("a kept instance begins in one way before it is published");
    }
    if publish.is_some() && !before_publish(done(Step::Probe)) {
        return Some("a candidate is asked before it is published");
    }
    if let Some(hold) = position(|it| *it == Step::Hold) {
        let ends = count(|it| matches!(it, Step::Release | Step::Publish(_)));
        if ends != 1 {
            return Some("held callers are released or get a successor");
        }
        if position(|it| *it == Step::Save).is_some_and(|save| save < hold) {
            return Some("callers are held before the state is saved");
        }
    }
    if count(|it| *it == Step::Restore) > 0 && done(Step::Save).is_none() {
        return Some("what is restored was saved");
    }
    let lost = matches!(publish, Some(at) if path[at].0 == Step::Publish(StateOutcome::Reset));
    let was_lost = path.iter().any(|it| it.1 == Some(Found::Lost));
    let may_lose = terms.is_fresh
        || terms.mismatch == Mismatch::Reset
        || terms.is_rollback
        || was_lost
        || terms.old == Some(Keeps::Memory);
    if lost && !may_lose {
        return Some("state that could be kept is not lost without being asked");
    }
    None
}

fn violations(bug: Option<Bug>) -> Vec<(Terms, Path, &'static str)> {
    let all = all_terms()
        .into_iter()
        .flat_map(|terms| paths(terms, bug).into_iter().map(move |path| (terms, path)));
    all.filter_map(|(terms, path)| violation(terms, &path).map(|broken| (terms, path, broken)))
        .collect()
}

#[test]
fn every_path_keeps_the_invariants() {
    let violations = violations(None);
    assert!(violations.is_empty(), "{:#?}", violations.first());
    let n_paths: usize = all_terms().into_iter().map(|terms| paths(terms, None).len()).sum();
    assert!(n_paths > 500, "{n_paths} paths are not all");
}

#[test]
fn planted_mistakes_are_caught() {
    for bug in [Bug::PublishBeforeInit, Bug::RestoreAfterPublish, Bug::ForgetsRelease] {
        assert!(!violations(Some(bug)).is_empty(), "{bug:?} was not caught");
    }
}

fn steps(terms: Terms, found: &[Found]) -> Vec<Step> {
    let mut protocol = Protocol::new(terms);
    let mut steps = vec![protocol.begin()];
    steps.extend(found.iter().map(|found| protocol.next(*found)));
    steps
}

/// Two versions with state, where state that cannot be read is no reason to lose it.
const STATEFUL: Terms = Terms {
    old: Some(Keeps::State),
    new: Keeps::State,
    is_fresh: false,
    mismatch: Mismatch::Refuse,
    is_rollback: false,
    has_kept: false,
};

#[test]
fn stateless_candidates_hold_nobody() {
    let terms = Terms { old: Some(Keeps::Nothing), new: Keeps::Nothing, ..STATEFUL };
    let path = steps(terms, &[Found::Done, Found::Done]);
    assert_eq!(path, [Step::Probe, Step::Publish(StateOutcome::None), Step::Published]);
}

#[test]
fn state_is_carried_while_callers_are_held() {
    let path = steps(STATEFUL, &[Found::Done; 5]);
    let carried = Step::Publish(StateOutcome::Carried);
    assert_eq!(
        path,
        [Step::Hold, Step::Save, Step::Restore, Step::Probe, carried, Step::Published]
    );
}

#[test]
fn state_that_cannot_be_read_refuses_the_candidate_or_is_reset() {
    let found = [Found::Done, Found::Done, Found::Incompatible, Found::Done];
    let refused = steps(STATEFUL, &found);
    assert_eq!(refused[3..], [Step::Release, Step::Refused]);
    let reset = steps(Terms { mismatch: Mismatch::Reset, ..STATEFUL }, &found);
    assert_eq!(reset[3..], [Step::Start, Step::Probe]);
}

#[test]
fn a_save_that_ends_its_instance_does_not_stop_the_swap() {
    let path = steps(STATEFUL, &[Found::Done, Found::Lost, Found::Done, Found::Done]);
    assert_eq!(path[2..], [Step::Start, Step::Probe, Step::Publish(StateOutcome::Reset)]);
}

#[test]
fn going_back_prefers_the_state_of_now_and_falls_back_to_the_one_before() {
    let terms = Terms { is_rollback: true, has_kept: true, ..STATEFUL };
    let path =
        steps(terms, &[Found::Done, Found::Done, Found::Incompatible, Found::Done, Found::Done]);
    let reverted = Step::Publish(StateOutcome::Reverted);
    assert_eq!(path[3..], [Step::RestoreKept, Step::Probe, reverted]);
    let path = steps(terms, &[Found::Failed, Found::Failed, Found::Done]);
    assert_eq!(path[1..], [Step::RestoreKept, Step::Start, Step::Probe]);
}
