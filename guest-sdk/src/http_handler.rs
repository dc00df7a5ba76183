//! Every function that can answer HTTP requests, seen as one kind of thing.

use crate::{Error, FromRequest, IntoResponse, Needs, Request, Response, Result};
use std::future::Future;

/// A function, `async` or not, from up to four [`FromRequest`] arguments to an [`IntoResponse`].
///
/// `Shape` is never named: it only tells the functions apart that this is implemented for.
#[diagnostic::on_unimplemented(
    message = "this function cannot be an HTTP handler",
    note = "its arguments must implement `FromRequest` and its return type `IntoResponse`"
)]
pub trait HttpHandler<Shape> {
    /// What its arguments look at in a request.
    const NEEDS: Needs;

    /// Calls the function with arguments made from `request`.
    fn call(self, request: Request) -> impl Future<Output = Result<Response>>;
}

/// The shapes that [`HttpHandler`] and [`EventHandler`](crate::EventHandler) tell apart.
pub(crate) mod shape {
    /// Answers at once.
    pub struct Plain<A>(std::marker::PhantomData<A>);
    /// Answers with a future.
    pub struct Async<A>(std::marker::PhantomData<A>);
}

macro_rules! implement_for {
    ($($argument:ident)*) => {
        impl<F, R, $($argument),*> HttpHandler<shape::Plain<($($argument,)*)>> for F
        where
            F: FnOnce($($argument),*) -> R,
            R: IntoResponse,
            $($argument: FromRequest,)*
        {
            const NEEDS: Needs = Needs::NONE$(.and($argument::NEEDS))*;

            #[allow(unused_variables, unused_mut, reason = "a function may take no arguments")]
            async fn call(self, request: Request) -> Result<Response> {
                let (head, mut body) = request.into_parts();
                self($($argument::from_request(&head, &mut body).await?),*).into_response()
            }
        }

        impl<F, R, $($argument),*> HttpHandler<shape::Async<($($argument,)*)>> for F
        where
            F: FnOnce($($argument),*) -> R,
            R: Future<Output: IntoResponse>,
            $($argument: FromRequest,)*
        {
            const NEEDS: Needs = Needs::NONE$(.and($argument::NEEDS))*;

            #[allow(unused_variables, unused_mut, reason = "a function may take no arguments")]
            async fn call(self, request: Request) -> Result<Response> {
                let (head, mut body) = request.into_parts();
                self($($argument::from_request(&head, &mut body).await?),*).await.into_response()
            }
        }
    };
}

implement_for!();
implement_for!(A);
implement_for!(A B);
implement_for!(A B C);
implement_for!(A B C D);

/// The response for an error that was made for the client, or the error back.
pub(crate) fn error_response(error: Error) -> Result<Response> {
    match error.status() {
        Some(status) => (status, format!("{error}\n")).into_response(),
        None => Err(error),
    }
}
