//! How a guest's work is bounded in time, and how it outlives a caller that leaves.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// `work` within `limit`; `None` when it takes longer.
///
/// Most work of guests is done before it waits for anything. A timer is only set when it does, so the
/// limit may come later by as much as a guest computes at a stretch: a tick of the engine's clock.
///
/// # Cancel safety
///
/// Dropping the future drops `work`.
pub(crate) async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    if let Some(done) = at_once(work.as_mut()).await {
        return Some(done);
    }
    tokio::time::timeout(limit, when_woken(work)).await.ok()
}

/// Polls `work` once; its result if it is ready at once.
pub(crate) async fn at_once<F: Future>(mut work: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The rest of `work`, which has just been polled [once](at_once) and was not ready: polls it again
/// only when it is woken. Work that has yielded would go on at once otherwise, before all that it
/// yielded to.
pub(crate) async fn when_woken<F: Future>(mut work: Pin<&mut F>) -> F::Output {
    let mut is_woken = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut is_woken, true) { work.as_mut().poll(cx) } else { Poll::Pending }
    })
    .await
}

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work that goes on in a task when its caller leaves.
pub(crate) struct Outlive<T, A = fn(T)>
where
    T: Send + 'static,
    A: FnOnce(T) + Send + 'static,
{
    /// The work and what follows it in a task. `None` when the work is done.
    rest: Option<(Work<T>, A)>,
}

impl<T: Send + 'static> Outlive<T> {
    /// `work`, whose result is nobody's when its caller has left.
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self::then(work, drop)
    }
}

impl<T, A> Outlive<T, A>
where
    T: Send + 'static,
    A: FnOnce(T) + Send + 'static,
{
    /// `work`, whose result `after` takes when its caller has left.
    pub(crate) fn then(work: impl Future<Output = T> + Send + 'static, after: A) -> Self {
        Self { rest: Some((Box::pin(work), after)) }
    }
}

// Nothing is pinned in place: the work is in a box.
impl<T, A> Unpin for Outlive<T, A>
where
    T: Send + 'static,
    A: FnOnce(T) + Send + 'static,
{
}

impl<T, A> Future for Outlive<T, A>
where
    T: Send + 'static,
    A: FnOnce(T) + Send + 'static,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // Without it the work is done, and nobody polls that again.
        let Some((work, _)) = &mut self.rest else { return Poll::Pending };
        let done = ready!(work.as_mut().poll(cx));
        self.rest = None;
        Poll::Ready(done)
    }
}

impl<T, A> Drop for Outlive<T, A>
where
    T: Send + 'static,
    A: FnOnce(T) + Send + 'static,
{
    fn drop(&mut self) {
        // A panic ends the work, which must not be polled again.
        if std::thread::panicking() {
            return;
        }
        // Without a runtime nothing can go on.
        if let (Some((work, after)), Ok(runtime)) =
            (self.rest.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { after(work.await) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_is_bounded_and_work_that_does_not_sets_no_timer() {
        assert_eq!(within(Duration::ZERO, async { 7 }).await, Some(7));
        let waits = tokio::time::sleep(Duration::from_secs(3));
        assert_eq!(within(Duration::from_secs(2), waits).await, None);
        let waits = tokio::time::sleep(Duration::from_secs(1));
        assert_eq!(within(Duration::from_secs(2), waits).await, Some(()));
    }

    #[tokio::test]
    async fn work_that_yields_goes_on_when_others_had_their_turn() {
        let order = Mutex::new(Vec::new());
        let yields = async {
            order.lock().unwrap().push("begins");
            tokio::task::yield_now().await;
            order.lock().unwrap().push("goes on");
        };
        let other = async { order.lock().unwrap().push("another") };
        tokio::join!(biased; within(Duration::from_secs(60), yields), other);
        assert_eq!(order.into_inner().unwrap(), ["begins", "another", "goes on"]);
    }

    #[tokio::test]
    async fn work_goes_on_without_its_caller() {
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let work = async {
            let _ = gone.await;
            7
        };
        let mut work = Outlive::then(work, |done| tell.send(done).unwrap());
        assert!(at_once(Pin::new(&mut work)).await.is_none());
        drop(work);
        go.send(()).unwrap();
        assert_eq!(told.await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_is_done_is_not_begun_again() {
        let mut work = Outlive::new(async { 7 });
        assert_eq!((&mut work).await, 7);
        drop(work);
    }
}
