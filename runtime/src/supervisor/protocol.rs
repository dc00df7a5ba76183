//! The protocol from a staged candidate to its publication, as a pure machine.
//!
//! It says which step comes next, and is told what became of it. It knows no guest, no clock and no
//! task, so that tests can walk every path of it.
//!
//! # Invariants
//!
//! 1. A step that can fail never comes after [`Step::Publish`].
//! 2. [`Step::Save`] comes while callers are held, and [`Step::Restore`] while they still are.
//! 3. Callers that are held are released, or their successor is published; one of both, once.
//! 4. An instance is started or restored before its generation is published, never both.

use crate::events::StateOutcome;
use crate::snapshot::Keeps;

/// What is known when a candidate is staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What the active generation keeps; `None` without one.
    pub(crate) old: Option<Keeps>,
    /// What the candidate keeps.
    pub(crate) new: Keeps,
    /// Whether state is left behind on purpose.
    pub(crate) is_fresh: bool,
    /// What happens to state that the candidate cannot read.
    pub(crate) mismatch: Mismatch,
    /// Whether the swap takes a bad generation back: then nothing but the candidate stops it.
    pub(crate) is_rollback: bool,
    /// Whether there is a snapshot from before the generation that is taken back.
    pub(crate) has_kept: bool,
}

/// What happens to state that a candidate cannot read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The candidate is refused.
    Refuse,
    /// The candidate begins from nothing.
    Reset,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Hold the callers, and wait until nobody is inside.
    Hold,
    /// Take the state out of the active generation.
    Save,
    /// Put the state that was just saved into the candidate.
    Restore,
    /// Put the state from before the generation that is taken back into the candidate.
    RestoreKept,
    /// Start the candidate's one instance from nothing.
    Start,
    /// Ask the candidate whether it is well.
    Probe,
    /// Make the candidate the active generation; held callers go to it.
    Publish(StateOutcome),
    /// Let held callers go on with the active generation.
    Release,
    /// Nothing; the candidate is refused, since it keeps no state and the active one does.
    RefuseStateless,
    /// Nothing; the candidate is active.
    Published,
    /// Nothing; the candidate is refused for the first step that failed.
    Refused,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is done.
    Done,
    /// It is done, in another shape.
    Migrated,
    /// It failed.
    Failed,
    /// The state has a shape that the candidate does not know.
    Incompatible,
    /// It failed and took the active generation's state with it.
    Lost,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Protocol {
    terms: Terms,
    /// The step that is being done.
    step: Step,
    is_held: bool,
    /// What becomes of the state, as far as is known.
    state: StateOutcome,
    /// A mistake that the tests have to catch.
    #[cfg(test)]
    pub(crate) bug: Option<super::Bug>,
}

impl Protocol {
    /// The machine before its first step.
    pub(crate) fn new(terms: Terms) -> Self {
        Self {
            terms,
            step: Step::Refused,
            is_held: false,
            state: StateOutcome::None,
            #[cfg(test)]
            bug: None,
        }
    }

    /// The first step.
    pub(crate) fn begin(&mut self) -> Step {
        let Terms { old, new, is_fresh, mismatch, is_rollback, .. } = self.terms;
        let has_state = old == Some(Keeps::State) && !is_fresh;
        let step = match new {
            Keeps::State if has_state => Step::Hold,
            _ if has_state && mismatch == Mismatch::Refuse && !is_rollback => Step::RefuseStateless,
            _ => self.start_anew(),
        };
        self.go(step)
    }

    /// The step after the last one, of which this became.
    pub(crate) fn next(&mut self, found: Found) -> Step {
        let step = match (self.step, found) {
            (Step::Hold, Found::Done) => Step::Save,
            (Step::Save, Found::Done) => Step::Restore,
            // The state is gone whatever comes next: the candidate need not wait for better times.
            (Step::Save, Found::Lost) => self.fall_back(),
            (Step::Hold | Step::Save, _) => self.fall_back_or_refuse(),
            (Step::Restore, Found::Done) => self.carry(StateOutcome::Carried),
            (Step::Restore, Found::Migrated) => self.carry(StateOutcome::Migrated),
            (Step::Restore, Found::Incompatible) if self.terms.mismatch == Mismatch::Reset => {
                self.fall_back()
            }
            (Step::Restore, _) => self.fall_back_or_refuse(),
            (Step::RestoreKept, Found::Done | Found::Migrated) => {
                self.carry(StateOutcome::Reverted)
            }
            (Step::RestoreKept, _) => self.start_anew(),
            (Step::Start, Found::Done) => Step::Probe,
            (Step::Probe, Found::Done) => Step::Publish(self.state),
            (Step::Publish(_), _) => Step::Published,
            (Step::Release, _) => Step::Refused,
            _ => self.refuse(),
        };
        #[cfg(test)]
        let step = super::Bug::apply(self.bug, self.step, step);
        self.go(step)
    }

    fn go(&mut self, step: Step) -> Step {
        match step {
            Step::Hold => self.is_held = true,
            Step::Release | Step::Publish(_) => self.is_held = false,
            _ => {}
        }
        self.step = step;
        step
    }

    /// A snapshot was taken over.
    fn carry(&mut self, state: StateOutcome) -> Step {
        self.state = state;
        Step::Probe
    }

    /// The candidate's own beginning.
    fn start_anew(&mut self) -> Step {
        let had_state = matches!(self.terms.old, Some(Keeps::State | Keeps::Memory));
        self.state = if had_state { StateOutcome::Reset } else { StateOutcome::None };
        // An instance that nobody keeps was started when it was made.
        if self.terms.new == Keeps::Nothing { Step::Probe } else { Step::Start }
    }

    /// Without the state that should have been carried.
    fn fall_back(&mut self) -> Step {
        if self.terms.has_kept { Step::RestoreKept } else { self.start_anew() }
    }

    fn fall_back_or_refuse(&mut self) -> Step {
        if self.terms.is_rollback { self.fall_back() } else { self.refuse() }
    }

    fn refuse(&self) -> Step {
        if self.is_held { Step::Release } else { Step::Refused }
    }
}

#[cfg(test)]
mod tests;
