//! Panics of code that runs inside of wrt, such as an embedder's host functions, as errors.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::{HandOverError, StageError};

/// Characters of a panic's message that are told. A host function may put a guest's text into its
/// panic, and an event should not carry a megabyte of it.
const MAX_MESSAGE: usize = 2000;

/// A caught panic, of which the message is known.
#[derive(Debug)]
pub(crate) struct Panic {
    pub(crate) message: String,
}

impl Panic {
    /// The panic with this payload, as `catch_unwind` and `JoinError::into_panic` return it.
    pub(crate) fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic without a message");
        let end = text.char_indices().nth(MAX_MESSAGE).map_or(text.len(), |(end, _)| end);
        Self { message: text[..end].to_owned() }
    }
}

impl From<Panic> for StageError {
    fn from(panic: Panic) -> Self {
        Self::Panicked { message: panic.message }
    }
}

impl From<Panic> for Arc<StageError> {
    fn from(panic: Panic) -> Self {
        Self::new(panic.into())
    }
}

impl From<Panic> for HandOverError {
    fn from(panic: Panic) -> Self {
        Self::Panicked { message: panic.message }
    }
}

/// Does `work`, and turns a panic of it into an error.
///
/// What a panic leaves of `work` is dropped. Whoever calls this answers for everything that `work`
/// borrows: it has to be sound at each step that may panic.
///
/// # Cancel safety
///
/// That of `work`.
pub(crate) async fn caught<T, E: From<Panic>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut work = pin!(work);
    let poll = poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(poll) => poll,
            // It is not polled again.
            Err(payload) => Poll::Ready(Err(Panic::of(&*payload).into())),
        }
    });
    poll.await
}

/// Does `work`, of which the result matters less than that its caller goes on. A panic is logged.
pub(crate) fn shielded(what: &str, work: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(work)) {
        let Panic { message } = Panic::of(&*payload);
        tracing::error!(message, "{what} panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_before_and_after_a_wait_is_an_error_with_its_message() {
        for waits in [false, true] {
            let work = async {
                if waits {
                    tokio::task::yield_now().await;
                }
                let number: Result<(), StageError> = match "7".parse::<u8>() {
                    Ok(number) => panic!("number {number}"),
                    Err(_) => Ok(()),
                };
                number
            };
            let error = caught(work).await.unwrap_err();
            let StageError::Panicked { message } = error else { panic!("{error}") };
            assert_eq!(message, "number 7");
        }
        assert_eq!(caught(async { Ok::<_, StageError>(1) }).await.unwrap(), 1);
    }

    #[test]
    fn messages_are_cut_at_a_character() {
        let long = "ä".repeat(2 * MAX_MESSAGE);
        assert_eq!(Panic::of(&long).message, "ä".repeat(MAX_MESSAGE));
        assert_eq!(Panic::of(&7_u8).message, "a panic without a message");
    }

    #[test]
    fn who_shields_goes_on() {
        shielded("a test", || panic!("boo"));
    }
}
