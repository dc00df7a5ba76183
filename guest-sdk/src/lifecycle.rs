//! What runs at the ends of an instance's life: the functions that `init` and `shutdown` name.

use crate::http_handler::shape;
use crate::{Error, Result};
use std::future::Future;

/// What an instance is told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Context {
    /// The stable name of the handler.
    pub handler: String,
    /// The number of the generation that this instance belongs to.
    pub generation: u64,
}

impl Context {
    /// The context that a host would give, for tests.
    pub fn new(handler: impl Into<String>, generation: u64) -> Self {
        Self { handler: handler.into(), generation }
    }
}

/// A `T`, or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a `{T}`",
    label = "expected `{T}` or `Result<{T}>`"
)]
pub trait Fallible<T> {
    /// The value.
    ///
    /// # Errors
    ///
    /// The function's own error.
    fn into_result(self) -> Result<T>;
}

impl<T> Fallible<T> for T {
    fn into_result(self) -> Result<T> {
        Ok(self)
    }
}

impl<T, E: Into<Error>> Fallible<T> for Result<T, E> {
    fn into_result(self) -> Result<T> {
        self.map_err(Into::into)
    }
}

/// A function, `async` or not, that begins an instance: from a [`Context`] or from nothing to the
/// state, or to `()` without one.
///
/// `Shape` is never named: it only tells the functions apart that this is implemented for.
#[diagnostic::on_unimplemented(
    message = "this function cannot be `init`",
    note = "it takes nothing or a `Context`, and returns `{S}` or `Result<{S}>`"
)]
pub trait Init<S, Shape> {
    /// Calls the function.
    fn call(self, context: Context) -> impl Future<Output = Result<S>>;
}

/// A function, `async` or not, that ends an instance; it may take the state.
///
/// `Shape` is never named: it only tells the functions apart that this is implemented for.
#[diagnostic::on_unimplemented(
    message = "this function cannot be `shutdown`",
    note = "it takes nothing or the state, and returns `()` or `Result<()>`"
)]
pub trait Shutdown<S, Shape> {
    /// Calls the function.
    fn call(self, state: S) -> impl Future<Output = Result<()>>;
}

macro_rules! implement_for {
    ($owner:ident $result:ty: $value:ident: $ty:ty, ($($argument:ident)?) ($($argument_ty:ty)?)) => {
        impl<F, R, S> $owner<S, shape::Plain<($($argument_ty,)?)>> for F
        where
            F: FnOnce($($argument_ty)?) -> R,
            R: Fallible<$result>,
        {
            #[allow(unused_variables, reason = "a function may take no arguments")]
            async fn call(self, $value: $ty) -> Result<$result> {
                self($($argument)?).into_result()
            }
        }

        impl<F, R, S> $owner<S, shape::Async<($($argument_ty,)?)>> for F
        where
            F: FnOnce($($argument_ty)?) -> R,
            R: Future<Output: Fallible<$result>>,
        {
            #[allow(unused_variables, reason = "a function may take no arguments")]
            async fn call(self, $value: $ty) -> Result<$result> {
                self($($argument)?).await.into_result()
            }
        }
    };
}

implement_for!(Init S: context: Context, () ());
implement_for!(Init S: context: Context, (context) (Context));
implement_for!(Shutdown (): state: S, () ());
implement_for!(Shutdown (): state: S, (state) (S));
