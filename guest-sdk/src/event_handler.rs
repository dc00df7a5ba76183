//! Every function that can answer events, seen as one kind of thing.

use crate::http_handler::shape;
use crate::{Error, Event, Json, Result};
use serde::de::DeserializeOwned;
use std::future::Future;

/// Makes one argument of an event handler from the event.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be made from an event",
    label = "expected something that implements `FromEvent`",
    note = "take `Event`, or `Json<T>` with a `T` that implements `Deserialize`"
)]
pub trait FromEvent: Sized {
    /// The argument.
    ///
    /// # Errors
    ///
    /// The event does not fit, which is best said with [`Error::rejected`].
    fn from_event(event: &Event) -> Result<Self>;

    /// The same for the last argument, which may keep the event.
    ///
    /// # Errors
    ///
    /// As [`from_event`](Self::from_event).
    fn from_owned_event(event: Event) -> Result<Self> {
        Self::from_event(&event)
    }
}

impl FromEvent for Event {
    fn from_event(event: &Event) -> Result<Self> {
        Ok(event.clone())
    }

    fn from_owned_event(event: Event) -> Result<Self> {
        Ok(event)
    }
}

impl<T: DeserializeOwned> FromEvent for Json<T> {
    fn from_event(event: &Event) -> Result<Self> {
        event.json().map(Self)
    }
}

/// Turns what an event handler returns into the answer to the event, if there is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an answer to an event",
    label = "expected something that implements `IntoAnswer`",
    note = "return `Event`, `Option<Event>`, `()`, or a `Result` of one"
)]
pub trait IntoAnswer {
    /// The answer.
    ///
    /// # Errors
    ///
    /// The handler's own error.
    fn into_answer(self) -> Result<Option<Event>>;
}

impl IntoAnswer for Event {
    fn into_answer(self) -> Result<Option<Event>> {
        Ok(Some(self))
    }
}

impl IntoAnswer for Option<Event> {
    fn into_answer(self) -> Result<Option<Event>> {
        Ok(self)
    }
}

impl IntoAnswer for () {
    fn into_answer(self) -> Result<Option<Event>> {
        Ok(None)
    }
}

impl<T: IntoAnswer, E: Into<Error>> IntoAnswer for Result<T, E> {
    fn into_answer(self) -> Result<Option<Event>> {
        self.map_err(Into::into)?.into_answer()
    }
}

/// A function, `async` or not, from up to two [`FromEvent`] arguments to an [`IntoAnswer`].
///
/// `Shape` is never named: it only tells the functions apart that this is implemented for.
#[diagnostic::on_unimplemented(
    message = "this function cannot be an event handler",
    note = "its arguments must implement `FromEvent` and its return type `IntoAnswer`"
)]
pub trait EventHandler<Shape> {
    /// Calls the function with arguments made from `event`.
    fn call(self, event: Event) -> impl Future<Output = Result<Option<Event>>>;
}

macro_rules! implement_for {
    ($($argument:ident)* $(; $last:ident)?) => {
        impl<F, R, $($argument,)* $($last)?> EventHandler<shape::Plain<($($argument,)* $($last,)?)>>
            for F
        where
            F: FnOnce($($argument,)* $($last)?) -> R,
            R: IntoAnswer,
            $($argument: FromEvent,)*
            $($last: FromEvent,)?
        {
            #[allow(unused_variables, reason = "a function may take no arguments")]
            async fn call(self, event: Event) -> Result<Option<Event>> {
                self($($argument::from_event(&event)?,)* $($last::from_owned_event(event)?)?)
                    .into_answer()
            }
        }

        impl<F, R, $($argument,)* $($last)?> EventHandler<shape::Async<($($argument,)* $($last,)?)>>
            for F
        where
            F: FnOnce($($argument,)* $($last)?) -> R,
            R: Future<Output: IntoAnswer>,
            $($argument: FromEvent,)*
            $($last: FromEvent,)?
        {
            #[allow(unused_variables, reason = "a function may take no arguments")]
            async fn call(self, event: Event) -> Result<Option<Event>> {
                self($($argument::from_event(&event)?,)* $($last::from_owned_event(event)?)?)
                    .await
                    .into_answer()
            }
        }
    };
}

implement_for!();
implement_for!(; A);
implement_for!(A; B);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;

    #[test]
    fn the_last_argument_keeps_the_event_and_others_see_it_too() {
        let event = || Event::new("1", "/test", "test").with_data("application/json", "7");
        let (sent, number) = (event(), event().json::<u32>().unwrap());
        let at = sent.data.as_deref().unwrap().as_ptr();
        let handler = |first: Event, Json(seven): Json<u32>| {
            assert_eq!((first, seven), (event(), number));
        };
        assert_eq!(block_on(handler.call(sent.clone())).unwrap(), None);
        let handler = |Json(seven): Json<u32>, last: Event| {
            assert_eq!(seven, number);
            last
        };
        let answer = block_on(handler.call(sent)).unwrap().unwrap();
        assert_eq!(answer.data.as_deref().unwrap().as_ptr(), at, "no copy of its data was made");
    }
}
