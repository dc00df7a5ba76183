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
//! 5. State is left behind only where that was asked for, in `wrt dev`, by a version that failed its
//!    trial, or by one that cannot hand it over.

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
    /// What happens when the candidate cannot read the state.
    pub(crate) mismatch: Mismatch,
    /// Which way the swap goes.
    pub(crate) way: Way,
    /// Whether earlier states of the handler are kept.
    pub(crate) has_earlier: bool,
}

/// What happens to a candidate that does not fit what serves: it cannot read the state, or takes
/// calls of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// The candidate is refused, unless the request allows it.
    Refuse,
    /// The candidate comes in, with an earlier state or from nothing, and that is told.
    Reset,
}

/// Which way a swap goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// To a component that is new, or that runs again after a restart.
    Forward,
    /// Back to an earlier version, because somebody asks. State is not lost by that.
    Back,
    /// Back to an earlier version, because the active one failed its trial. Nothing but the earlier
    /// version stops that, since the active one fails its calls.
    TakenBack,
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
    /// Put the latest earlier state that the candidate can read into it.
    RestoreEarlier,
    /// Start the candidate's one instance from nothing.
    Start,
    /// Ask the candidate whether it is well.
    Probe,
    /// Make the candidate the active generation; held callers go to it.
    Publish(StateOutcome),
    /// Give the active generation, whose instance is gone, another instance: with the latest earlier
    /// state that it can read, or from nothing.
    Resume,
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
    /// Of [`Step::Hold`]: it is done, and the state was gone before. Of [`Step::Save`]: it failed, and
    /// took the active generation's state with it.
    Lost,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Protocol {
    terms: Terms,
    /// The step that is being done.
    step: Step,
    is_held: bool,
    /// Whether the active generation has no instance, because its `save` ended that.
    is_gone: bool,
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
            is_gone: false,
            state: StateOutcome::None,
            #[cfg(test)]
            bug: None,
        }
    }

    /// The first step.
    pub(crate) fn begin(&mut self) -> Step {
        let Terms { old, new, is_fresh, has_earlier, .. } = self.terms;
        let has_state = old == Some(Keeps::State) && !is_fresh;
        let step = match new {
            _ if !has_state && (new != Keeps::State || is_fresh || !has_earlier) => {
                self.start_anew()
            }
            // The active one keeps no state, as one before it did.
            _ if !has_state => Step::RestoreEarlier,
            Keeps::State => Step::Hold,
            _ if self.refuses_loss() => Step::RefuseStateless,
            // For a later version that keeps state again.
            _ => Step::Hold,
        };
        self.go(step)
    }

    /// The step after the last one, of which this became.
    pub(crate) fn next(&mut self, found: Found) -> Step {
        let Terms { new, mismatch, way, has_earlier, .. } = self.terms;
        let is_forward = way == Way::Forward;
        self.is_gone |= (self.step, found) == (Step::Save, Found::Lost);
        let step = match (self.step, found) {
            // What a bad generation began anew, it has from nobody.
            (Step::Hold, Found::Lost) if way == Way::TakenBack && has_earlier => {
                Step::RestoreEarlier
            }
            (Step::Hold, Found::Done | Found::Lost) => Step::Save,
            (Step::Save, Found::Done) if new == Keeps::State => Step::Restore,
            (Step::Hold | Step::Save, _) if new != Keeps::State => self.start_anew(),
            // A call that takes long costs no state.
            (Step::Hold, _) if way != Way::TakenBack => self.refuse(),
            (Step::Save, Found::Lost) => self.without_state_of_now(),
            (Step::Hold | Step::Save, _) if !is_forward => self.without_state_of_now(),
            (Step::Restore, Found::Done) => self.carry(StateOutcome::Carried),
            (Step::Restore, Found::Migrated) => self.carry(StateOutcome::Migrated),
            (Step::Restore, Found::Incompatible) if mismatch == Mismatch::Reset => {
                self.without_state_of_now()
            }
            (Step::Restore, _) if !is_forward => self.without_state_of_now(),
            (Step::RestoreEarlier, Found::Done | Found::Migrated) => {
                self.carry(StateOutcome::Reverted)
            }
            (Step::RestoreEarlier, _) => self.lose(),
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
            Step::Resume => self.is_gone = false,
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

    /// Whether a candidate that would begin without the state is refused for that.
    fn refuses_loss(&self) -> bool {
        match self.terms.way {
            Way::Forward => self.terms.mismatch == Mismatch::Refuse,
            Way::Back => true,
            Way::TakenBack => false,
        }
    }

    /// The candidate does not get the state that should have been carried.
    fn without_state_of_now(&mut self) -> Step {
        let is_refused = self.terms.way == Way::Forward && self.refuses_loss();
        match self.terms.has_earlier {
            true if !is_refused => Step::RestoreEarlier,
            _ => self.lose(),
        }
    }

    /// The candidate would begin from nothing.
    fn lose(&mut self) -> Step {
        let had_state = self.terms.old == Some(Keeps::State);
        if had_state && self.refuses_loss() { self.refuse() } else { self.start_anew() }
    }

    fn refuse(&self) -> Step {
        if self.is_gone {
            Step::Resume
        } else if self.is_held {
            Step::Release
        } else {
            Step::Refused
        }
    }
}

#[cfg(test)]
mod tests;
