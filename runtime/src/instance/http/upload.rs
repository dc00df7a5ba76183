//! The body of a request on its way to the guest: it knows when the guest waits for the client, and
//! what the client did wrong.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use wasmtime_wasi_http::{Error, WasiBody};

use super::Call;

/// See the [module](self).
struct Upload {
    inner: UnsyncBoxBody<Bytes, Broken>,
    call: Call,
    /// Whether an error was handed on; nothing comes after it.
    is_over: bool,
}

/// What ended a body before its end.
struct Broken {
    /// In the words of its maker.
    error: String,
    /// Whether the client was too slow with it.
    is_late: bool,
}

/// `body` of the request that `call` answers. One that is empty needs no watching. `is_late` says whether
/// an error means that the client was too slow.
pub(crate) fn upload<B>(body: B, call: &Call, is_late: fn(&B::Error) -> bool) -> WasiBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    if body.is_end_stream() {
        let told = |error: B::Error| Error::InternalError(Some(error.to_string()));
        return body.map_err(told).boxed_unsync();
    }
    let broken =
        move |error: B::Error| Broken { error: error.to_string(), is_late: is_late(&error) };
    let inner = body.map_err(broken).boxed_unsync();
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
        let error = match Pin::new(&mut self.inner).poll_frame(cx).map(Option::transpose) {
            Poll::Ready(Err(Broken { error, is_late })) => {
                self.call.upload_broke(error.clone(), is_late);
                error
            }
            Poll::Ready(Ok(frame)) => {
                self.call.upload_came();
                return Poll::Ready(frame.map(Ok));
            }
            Poll::Pending => match self.call.awaits_upload(cx) {
                Ok(()) => return Poll::Pending,
                Err(late) => late.to_owned(),
            },
        };
        self.is_over = true;
        Poll::Ready(Some(Err(Error::InternalError(Some(error)))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
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

    /// A waker of somebody who waits.
    fn waker() -> Waker {
        struct Nothing;
        impl std::task::Wake for Nothing {
            fn wake(self: std::sync::Arc<Self>) {}
        }
        Waker::from(std::sync::Arc::new(Nothing))
    }

    fn poll(body: &mut WasiBody) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(body).poll_frame(&mut Context::from_waker(&waker()))
    }

    fn failed(body: &mut WasiBody) -> String {
        match poll(body) {
            Poll::Ready(Some(Err(Error::InternalError(Some(text))))) => text,
            other => panic!("expected an error, found {other:?}"),
        }
    }

    #[test]
    fn guest_that_waits_is_told_that_its_client_is_late_after_what_came_in_time() {
        let call = Call::default();
        let mut body =
            upload(open(vec![Ok(Frame::data(Bytes::from_static(b"a")))]), &call, |_| false);
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
        let mut body = upload(open(vec![]), &call, |_| false);
        let looked = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(looked.is_pending());
        assert!(!call.give_up_on_upload());
    }

    #[test]
    fn failure_after_a_broken_body_is_the_clients() {
        use crate::error::CallFailure;

        let guest = || CallFailure::Guest { reason: "it could not read".to_owned() };
        for was_late in [false, true] {
            let call = Call::default();
            let is_late = |error: &&str| *error == "it was slow";
            let error = if was_late { "it was slow" } else { "it broke off" };
            let mut body = upload(open(vec![Err(error)]), &call, is_late);
            assert_eq!(call.blamed(guest()).outcome(), "guest");
            assert_eq!(failed(&mut body), error);
            let blamed = call.blamed(guest());
            assert!(matches!(blamed, CallFailure::Client { late, .. } if late == was_late));
            let said = blamed.to_string();
            assert!(said.contains(error) && said.contains("it could not read"), "{said}");
            assert_eq!(call.blamed(CallFailure::Cut).outcome(), "cut");
        }
    }

    #[test]
    fn client_that_breaks_off_after_it_was_late_stays_late() {
        use crate::error::CallFailure;

        let call = Call::default();
        call.awaits_upload(&Context::from_waker(&waker())).unwrap();
        assert!(call.give_up_on_upload());
        let mut body = upload(open(vec![Err("it broke off")]), &call, |_| false);
        assert_eq!(failed(&mut body), "it broke off");
        let blamed = call.blamed(CallFailure::Guest { reason: "it could not read".to_owned() });
        assert!(matches!(blamed, CallFailure::Client { late: true, .. }));
    }
}
