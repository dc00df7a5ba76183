//! Handlers whose first argument is the state of their instance.

use crate::http_handler::shape;
use crate::{
    Event, FromEvent, FromRequest, IntoAnswer, IntoResponse, Needs, Request, Response, Result,
};
use std::future::Future;

/// As [`HttpHandler`](crate::HttpHandler), for functions that take `&mut S` in front of the rest.
///
/// `Shape` is never named: it only tells the functions apart that this is implemented for.
#[diagnostic::on_unimplemented(
    message = "this function cannot be an HTTP handler with a `{S}` as its state",
    note = "its first argument must be `&mut {S}`, the others must implement `FromRequest`, and \
            its return type `IntoResponse`"
)]
pub trait StatefulHttpHandler<S, Shape> {
    /// What its arguments look at in a request.
    const NEEDS: Needs;

    /// Calls the function with arguments made from `request`.
    fn call(self, state: &mut S, request: Request) -> impl Future<Output = Result<Response>>;
}

/// As [`EventHandler`](crate::EventHandler), for functions that take `&mut S` in front of the rest.
///
/// `Shape` is never named: it only tells the functions apart that this is implemented for.
#[diagnostic::on_unimplemented(
    message = "this function cannot be an event handler with a `{S}` as its state",
    note = "its first argument must be `&mut {S}`, the others must implement `FromEvent`, and its \
            return type `IntoAnswer`"
)]
pub trait StatefulEventHandler<S, Shape> {
    /// Calls the function with arguments made from `event`.
    fn call(self, state: &mut S, event: Event) -> impl Future<Output = Result<Option<Event>>>;
}

macro_rules! implement_http_for {
    ($($argument:ident)*) => {
        impl<F, S, R, $($argument),*> StatefulHttpHandler<S, shape::Plain<($($argument,)*)>> for F
        where
            F: FnOnce(&mut S, $($argument),*) -> R,
            R: IntoResponse,
            $($argument: FromRequest,)*
        {
            const NEEDS: Needs = Needs::NONE$(.and($argument::NEEDS))*;

            #[allow(unused_variables, unused_mut, reason = "the state may be the only argument")]
            async fn call(self, state: &mut S, request: Request) -> Result<Response> {
                let (head, mut body) = request.into_parts();
                self(state, $($argument::from_request(&head, &mut body).await?),*).into_response()
            }
        }

        impl<F, S, R, $($argument),*> StatefulHttpHandler<S, shape::Async<($($argument,)*)>> for F
        where
            // Not a `Future` as the return type, because this one borrows the state.
            F: AsyncFnOnce(&mut S, $($argument),*) -> R,
            R: IntoResponse,
            $($argument: FromRequest,)*
        {
            const NEEDS: Needs = Needs::NONE$(.and($argument::NEEDS))*;

            #[allow(unused_variables, unused_mut, reason = "the state may be the only argument")]
            async fn call(self, state: &mut S, request: Request) -> Result<Response> {
                let (head, mut body) = request.into_parts();
                self(state, $($argument::from_request(&head, &mut body).await?),*)
                    .await
                    .into_response()
            }
        }
    };
}

implement_http_for!();
implement_http_for!(A);
implement_http_for!(A B);
implement_http_for!(A B C);
implement_http_for!(A B C D);

macro_rules! implement_event_for {
    ($($argument:ident)* $(; $last:ident)?) => {
        impl<F, S, R, $($argument,)* $($last)?>
            StatefulEventHandler<S, shape::Plain<($($argument,)* $($last,)?)>> for F
        where
            F: FnOnce(&mut S, $($argument,)* $($last)?) -> R,
            R: IntoAnswer,
            $($argument: FromEvent,)*
            $($last: FromEvent,)?
        {
            #[allow(unused_variables, reason = "the state may be the only argument")]
            async fn call(self, state: &mut S, event: Event) -> Result<Option<Event>> {
                self(
                    state,
                    $($argument::from_event(&event)?,)*
                    $($last::from_owned_event(event)?)?
                )
                .into_answer()
            }
        }

        impl<F, S, R, $($argument,)* $($last)?>
            StatefulEventHandler<S, shape::Async<($($argument,)* $($last,)?)>> for F
        where
            F: AsyncFnOnce(&mut S, $($argument,)* $($last)?) -> R,
            R: IntoAnswer,
            $($argument: FromEvent,)*
            $($last: FromEvent,)?
        {
            #[allow(unused_variables, reason = "the state may be the only argument")]
            async fn call(self, state: &mut S, event: Event) -> Result<Option<Event>> {
                self(
                    state,
                    $($argument::from_event(&event)?,)*
                    $($last::from_owned_event(event)?)?
                )
                .await
                .into_answer()
            }
        }
    };
}

implement_event_for!();
implement_event_for!(; A);
implement_event_for!(A; B);
