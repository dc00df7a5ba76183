//! What must hold of a gate, whatever the order of events.

use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::gate::{After, Entry, Gate};
use crate::gates::{Door, HeldAside, HoldableDoor, TellsEveryCloser, TwoAtomics, Unordered};

/// A generation as the gate sees it: calls use its stores, and who finds it empty drops them.
struct Generation<D> {
    gate: D,
    /// Loom reports any use that is not ordered before the drop.
    stores: UnsafeCell<()>,
    /// How often somebody learnt that the closed gate is empty. Not loom's atomic: it is read only
    /// when all threads have ended, and must not order anything itself.
    told_empty: std::sync::atomic::AtomicUsize,
    /// Whether the next generation is published. Relaxed throughout: the gate has to order it.
    successor: AtomicUsize,
}

impl<D: Door> Generation<D> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: D::default(),
            stores: UnsafeCell::new(()),
            told_empty: Default::default(),
            successor: AtomicUsize::new(0),
        })
    }

    /// A whole call. One that is refused must find the successor.
    fn call(&self) {
        if self.gate.try_enter() {
            self.stores.with(|_| ());
            self.heed(self.gate.leave());
        } else {
            let successor = self.successor.load(Ordering::Relaxed);
            assert_eq!(successor, 1, "a refused call found no successor");
        }
    }

    /// Publish the successor, then close, as a swap does.
    fn replace(&self) {
        self.successor.store(1, Ordering::Relaxed);
        self.heed(self.gate.close());
    }

    fn heed(&self, after: After) {
        if after == After::Empty {
            self.stores.with_mut(|_| ());
            self.told_empty.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// To be asked when all threads have ended.
    fn assert_drained(&self) {
        assert_eq!(self.gate.inside(), 0);
        assert!(!self.gate.try_enter(), "a closed gate let a call in");
        let told = self.told_empty.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(told, 1, "exactly one party has to learn that the gate is empty");
    }
}

/// `callers` calls on threads of their own while `closers` parties close; one closer is this thread.
fn calls_against_closers<D: Door>(callers: usize, closers: usize) {
    loom::model(move || {
        let generation = Generation::<D>::new();
        let mut threads = Vec::new();
        for _ in 0..callers {
            let generation = Arc::clone(&generation);
            threads.push(thread::spawn(move || generation.call()));
        }
        for _ in 1..closers {
            let generation = Arc::clone(&generation);
            threads.push(thread::spawn(move || generation.replace()));
        }
        generation.replace();
        for thread in threads {
            thread.join().expect("the call does not panic");
        }
        generation.assert_drained();
    });
}

/// The call is inside before the closer starts, so the model is about leaving alone.
fn last_leave_against_close<D: Door>() {
    loom::model(|| {
        let generation = Generation::<D>::new();
        assert!(generation.gate.try_enter());
        let closer = thread::spawn({
            let generation = Arc::clone(&generation);
            move || generation.replace()
        });
        generation.stores.with(|_| ());
        generation.heed(generation.gate.leave());
        closer.join().expect("the closer does not panic");
        generation.assert_drained();
    });
}

/// A hand-over while a call tries to enter: whoever holds the gate and finds it empty has the state
/// for himself, and the call that comes after the release sees what was done with it.
fn call_against_hold<D: HoldableDoor>(replaces: bool) {
    loom::model(move || {
        let generation = Generation::<D>::new();
        let call = thread::spawn({
            let generation = Arc::clone(&generation);
            move || {
                let entered = generation.gate.try_enter();
                if entered {
                    generation.stores.with(|_| ());
                    generation.heed(generation.gate.leave());
                }
                entered
            }
        });
        generation.gate.hold();
        let is_at_rest = generation.gate.inside() == 0;
        if is_at_rest {
            generation.stores.with_mut(|_| ());
        }
        if replaces {
            generation.replace();
        }
        generation.gate.release();
        let entered = call.join().expect("the call does not panic");
        if !entered && !replaces {
            assert!(generation.gate.try_enter(), "a released gate refused a call");
            generation.stores.with(|_| ());
            generation.heed(generation.gate.leave());
        }
        if !replaces {
            generation.replace();
        }
        generation.assert_drained();
    });
}

/// The cell that says which generation is active, as the runtime's has it: a call loads it, and loads
/// it again when the gate does not let it in.
struct Cell {
    active: AtomicUsize,
    generations: [Arc<Generation<Gate>>; 2],
}

impl Cell {
    fn new() -> Arc<Self> {
        let generations = [Generation::new(), Generation::new()];
        Arc::new(Self { active: AtomicUsize::new(0), generations })
    }

    /// A call that comes in sooner or later, and uses the state of the generation it is in.
    fn call(&self) {
        loop {
            let generation = &self.generations[self.active.load(Ordering::Acquire)];
            if generation.gate.try_enter() == Entry::Inside {
                generation.stores.with(|_| ());
                let _ = generation.gate.leave();
                return;
            }
            thread::yield_now();
        }
    }

    /// Takes the state out of the first generation and publishes the second one with it. With
    /// `releases_early` the callers of the first are let in again before it is closed, which is wrong.
    fn hand_over(&self, releases_early: bool) {
        let [old, new] = &self.generations;
        old.gate.hold();
        while old.gate.inside() > 0 {
            thread::yield_now();
        }
        new.stores.with_mut(|_| ());
        self.active.store(1, Ordering::Release);
        if releases_early {
            old.gate.release();
            old.stores.with_mut(|_| ());
        }
        let _ = old.gate.close();
        // Whoever enters the old one from here on would work on a state that was given away.
        old.stores.with_mut(|_| ());
        old.gate.release();
    }
}

fn calls_against_hand_over(releases_early: bool) {
    let mut model = loom::model::Builder::new();
    // Every order with up to this many switches at places where nobody waits; all of them would take
    // hours, and each known mistake shows with two.
    model.preemption_bound = Some(3);
    model.check(move || {
        let cell = Cell::new();
        let call = thread::spawn({
            let cell = Arc::clone(&cell);
            move || cell.call()
        });
        cell.hand_over(releases_early);
        call.join().expect("the call does not panic");
    });
}

fn finds_a_fault(model: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(model)).is_err()
}

#[test]
fn a_call_that_entered_before_the_close_is_waited_for() {
    calls_against_closers::<Gate>(1, 1);
}

#[test]
fn the_last_leave_and_the_close_agree_on_who_tells() {
    last_leave_against_close::<Gate>();
}

#[test]
fn two_closers_are_told_once_between_them() {
    calls_against_closers::<Gate>(0, 2);
    calls_against_closers::<Gate>(1, 2);
}

#[test]
fn two_calls_and_a_close_leave_the_gate_empty() {
    calls_against_closers::<Gate>(2, 1);
}

#[test]
fn nobody_is_inside_a_held_gate_that_was_found_empty() {
    call_against_hold::<Gate>(false);
    call_against_hold::<Gate>(true);
}

#[test]
fn a_call_uses_no_state_that_was_given_away() {
    calls_against_hand_over(false);
}

#[test]
fn a_hold_that_ends_before_the_close_is_caught() {
    assert!(finds_a_fault(|| calls_against_hand_over(true)));
}

#[test]
fn a_held_bit_outside_the_count_is_caught() {
    assert!(finds_a_fault(|| call_against_hold::<HeldAside>(false)));
}

#[test]
fn a_closed_bit_outside_the_count_is_caught() {
    assert!(finds_a_fault(|| calls_against_closers::<TwoAtomics>(1, 1)));
}

#[test]
fn missing_orderings_are_caught() {
    assert!(finds_a_fault(|| calls_against_closers::<Unordered>(1, 1)));
    assert!(finds_a_fault(last_leave_against_close::<Unordered>));
}

#[test]
fn telling_every_closer_is_caught() {
    assert!(finds_a_fault(|| calls_against_closers::<TellsEveryCloser>(0, 2)));
}
