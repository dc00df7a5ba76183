//! The place of a handler's state in its instance.

use crate::Result;
use std::cell::Cell;

/// Holds one state, which each call takes out and puts back.
///
/// Not a `RefCell`, because a reference into a thread-local cannot be held while a call waits.
pub struct Slot<S>(Cell<Held<S>>);

enum Held<S> {
    /// Neither begun nor restored.
    Nothing,
    Here(S),
    /// A call has it.
    Taken,
}

impl<S> Slot<S> {
    /// A place without a state.
    pub const fn new() -> Self {
        Self(Cell::new(Held::Nothing))
    }

    /// Takes the state for a call; `begin` makes it if the host did not ask for one before.
    ///
    /// # Errors
    ///
    /// Another call has it, or there is none and no way to begin one.
    pub fn take(&self, begin: Option<fn() -> S>) -> Result<S> {
        match (self.0.replace(Held::Taken), begin) {
            (Held::Here(state), _) => Ok(state),
            (Held::Nothing, Some(begin)) => Ok(begin()),
            (Held::Nothing, None) => {
                self.0.set(Held::Nothing);
                Err("the instance has no state: the host has not called `init`".into())
            }
            (Held::Taken, _) => Err("the state is in use by another call of this instance; \
                                     calls of a handler with state go one at a time"
                .into()),
        }
    }

    /// Puts the state in, in place of what there was.
    pub fn put(&self, state: S) {
        self.0.set(Held::Here(state));
    }
}

impl<S> Default for Slot<S> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_begun_once_and_kept() {
        let slot = Slot::new();
        let state = slot.take(Some(|| 7)).unwrap();
        slot.put(state + 1);
        assert_eq!(slot.take(Some(|| 7)).unwrap(), 8);
    }

    #[test]
    fn state_without_a_beginning_is_an_error_each_time() {
        let slot = Slot::<u32>::new();
        for _ in 0..2 {
            let error = slot.take(None).unwrap_err();
            assert!(error.to_string().contains("has not called `init`"), "{error}");
        }
    }

    #[test]
    fn second_call_is_told_and_the_first_keeps_its_state() {
        let slot = Slot::new();
        slot.put(1);
        let first = slot.take(None).unwrap();
        let error = slot.take(Some(|| 7)).unwrap_err();
        assert!(error.to_string().contains("in use by another call"), "{error}");
        slot.put(first);
        assert_eq!(slot.take(None).unwrap(), 1);
    }
}
