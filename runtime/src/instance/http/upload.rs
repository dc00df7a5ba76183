//! The body of a request on its way to the guest: it knows when the guest waits for the client, and
//! what the client did wrong.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, WasiBody};

use super::Call;

/// See the [module](self).
struct Upload {
    inner: WasiBody,
    call: Call,
    /// Whether an error was handed on; nothing comes after it.
    is_over: bool,
}

/// `body` of the request that `call` answers. One that is empty needs no watching.
pub(crate) fn upload<B>(body: B, call: &Call) -> WasiBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    let is_empty = body.is_end_stream();
    let inner = body.map_err(|error| Error::InternalError(Some(error.to_string()))).boxed_unsync();
    if is_empty {
        return inner;
    }
    Upload { inner, call: call.clone(), is_over: false }.boxed_unsync()
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // What came in time is read, even after the client was given up.
        let error = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                self.call.upload_broke(text(&error));
                error
            }
            Poll::Ready(frame) => {
                self.call.upload_came();
                return Poll::Ready(frame);
            }
            Poll::Pending => match self.call.awaits_upload(cx) {
                Ok(()) => return Poll::Pending,
                Err(late) => Error::InternalError(Some(late.to_owned())),
            },
        };
        self.is_over = true;
        Poll::Ready(Some(Err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// `error` in the words of its maker.
fn text(error: &Error) -> String {
    match error {
        Error::InternalError(Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    type Frames = Vec<Result<Frame<Bytes>, &'static str>>;

    /// A body of `frames` that then stays open.
    fn open(frames: Frames) -> impl Body<Data = Bytes, Error = &'static str> + Send {
        let mut frames = frames.into_iter();
        let stream = futures::stream::poll_fn(move |_| match frames.next() {
            None => Poll::Pending,
            next => Poll::Ready(next),
        });
        http_body_util::StreamBody::new(stream)
    }

    fn poll(body: &mut WasiBody) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        struct Nothing;
        impl std::task::Wake for Nothing {
            fn wake(self: std::sync::Arc<Self>) {}
        }
        let waker = Waker::from(std::sync::Arc::new(Nothing));
        Pin::new(body).poll_frame(&mut Context::from_waker(&waker))
    }

    fn failed(body: &mut WasiBody) -> String {
        match poll(body) {
            Poll::Ready(Some(Err(error))) => text(&error),
            other => panic!("expected an error, found {other:?}"),
        }
    }

    #[test]
    fn guest_that_waits_is_told_that_its_client_is_late_after_what_came_in_time() {
        let call = Call::default();
        let mut body = upload(open(vec![Ok(Frame::data(Bytes::from_static(b"a")))]), &call);
        assert!(!call.give_up_on_upload(), "nobody waits for it yet");
        assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(_)))));
        assert!(!call.give_up_on_upload(), "the guest has got what there was");
        assert!(poll(&mut body).is_pending());
        call.guest_runs();
        assert!(!call.give_up_on_upload(), "the guest does something else");
        assert!(poll(&mut body).is_pending());
        assert!(call.give_up_on_upload());
        assert_eq!(failed(&mut body), "the client was too slow with the request's body");
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
    }

    #[test]
    fn look_without_a_waker_is_no_wait() {
        let call = Call::default();
        let mut body = upload(open(vec![]), &call);
        let looked = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(looked.is_pending());
        assert!(!call.give_up_on_upload());
    }

    #[test]
    fn failure_after_a_broken_body_is_the_clients() {
        use crate::error::CallFailure;

        let guest = || CallFailure::Guest { reason: "it could not read".to_owned() };
        let call = Call::default();
        let mut body = upload(open(vec![Err("it broke off")]), &call);
        assert_eq!(call.blamed(guest()).outcome(), "guest");
        assert_eq!(failed(&mut body), "it broke off");
        let blamed = call.blamed(guest());
        assert_eq!(blamed.outcome(), "client");
        let said = blamed.to_string();
        assert!(said.contains("it broke off") && said.contains("it could not read"), "{said}");
        assert_eq!(call.blamed(CallFailure::Cut).outcome(), "cut");
    }
}
