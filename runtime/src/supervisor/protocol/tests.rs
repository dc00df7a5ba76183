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
            for way in [Way::Forward, Way::Back, Way::TakenBack] {
                for bits in 0..8_u8 {
                    let mismatch = if bits & 2 != 0 { Mismatch::Reset } else { Mismatch::Refuse };
                    let (is_fresh, has_earlier) = (bits & 1 != 0, bits & 4 != 0);
                    all.push(Terms { old, new, is_fresh, mismatch, way, has_earlier });
                }
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
        Step::Publish(_) | Step::Release | Step::Resume => &[Found::Done],
        Step::Hold => &[Found::Done, Found::Lost, Found::Failed],
        Step::Start | Step::Probe => &[Found::Done, Found::Failed],
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
    let begun = [Step::Start, Step::Restore, Step::RestoreEarlier].map(done);
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
    let may_lose = terms.is_fresh
        || match terms.way {
            Way::Forward => terms.mismatch == Mismatch::Reset,
            Way::Back => false,
            Way::TakenBack => true,
        }
        || terms.old == Some(Keeps::Memory);
    if lost && !may_lose {
        return Some("state is not lost without being asked");
    }
    let was_ended = path.contains(&(Step::Save, Some(Found::Lost)));
    let resumes = count(|it| *it == Step::Resume);
    if resumes != usize::from(was_ended && publish.is_none()) {
        return Some("an instance that its save ended is resumed when it goes on");
    }
    let reverted = publish.is_some_and(|at| path[at].0 == Step::Publish(StateOutcome::Reverted));
    if reverted != (publish.is_some() && done(Step::RestoreEarlier).is_some()) {
        return Some("an earlier state is told as such");
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
    way: Way::Forward,
    has_earlier: false,
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
fn a_save_that_ends_its_instance_refuses_the_candidate_and_the_old_one_is_resumed() {
    let found = [Found::Done, Found::Lost, Found::Done, Found::Done];
    for has_earlier in [false, true] {
        let path = steps(Terms { has_earlier, ..STATEFUL }, &found);
        assert_eq!(path[2..], [Step::Resume, Step::Release, Step::Refused]);
    }
    // A developer gets the new code.
    let path = steps(Terms { mismatch: Mismatch::Reset, ..STATEFUL }, &found);
    assert_eq!(path[2..], [Step::Start, Step::Probe, Step::Publish(StateOutcome::Reset)]);
}

#[test]
fn going_back_prefers_the_state_of_now_then_an_earlier_one_and_is_refused_without() {
    let terms = Terms { way: Way::Back, has_earlier: true, ..STATEFUL };
    let path =
        steps(terms, &[Found::Done, Found::Done, Found::Incompatible, Found::Done, Found::Done]);
    let reverted = Step::Publish(StateOutcome::Reverted);
    assert_eq!(path[3..], [Step::RestoreEarlier, Step::Probe, reverted]);
    let found = [Found::Done, Found::Done, Found::Incompatible, Found::Failed, Found::Done];
    assert_eq!(steps(terms, &found)[3..], [Step::RestoreEarlier, Step::Release, Step::Refused]);
    let path = steps(Terms { has_earlier: false, ..terms }, &found[..4]);
    assert_eq!(path[3..], [Step::Release, Step::Refused]);
    // A call that takes long is no reason to go back to an earlier state.
    assert_eq!(steps(terms, &[Found::Failed, Found::Done])[1..], [Step::Release, Step::Refused]);
}

#[test]
fn a_bad_version_is_taken_back_whatever_becomes_of_its_state() {
    let terms = Terms { way: Way::TakenBack, has_earlier: true, ..STATEFUL };
    let path = steps(terms, &[Found::Failed, Found::Failed, Found::Done]);
    assert_eq!(path[1..], [Step::RestoreEarlier, Step::Start, Step::Probe]);
    // What it began anew after a trap is worth less than what the version before had.
    let path = steps(terms, &[Found::Lost, Found::Done, Found::Done]);
    let reverted = Step::Publish(StateOutcome::Reverted);
    assert_eq!(path[1..], [Step::RestoreEarlier, Step::Probe, reverted]);
}

#[test]
fn a_developer_gets_an_earlier_state_back_when_the_code_can_read_it_again() {
    let dev = Terms { mismatch: Mismatch::Reset, has_earlier: true, ..STATEFUL };
    let reverted = Step::Publish(StateOutcome::Reverted);
    let path =
        steps(dev, &[Found::Done, Found::Done, Found::Incompatible, Found::Done, Found::Done]);
    assert_eq!(path[3..], [Step::RestoreEarlier, Step::Probe, reverted]);
    // Code without state in between: what it replaces is saved for later.
    let path = steps(Terms { new: Keeps::Memory, ..dev }, &[Found::Done; 4]);
    let reset = Step::Publish(StateOutcome::Reset);
    assert_eq!(path, [Step::Hold, Step::Save, Step::Start, Step::Probe, reset]);
    let path = steps(Terms { old: Some(Keeps::Memory), ..dev }, &[Found::Done; 2]);
    assert_eq!(path, [Step::RestoreEarlier, Step::Probe, reverted]);
}
