//! Calls that compute for long go on aside, on threads of their own that give way to all others.
//!
//! A guest that computes yields at each tick of the engine's clock, but until then its thread does
//! nothing else: a few such calls would take all the threads that answer. So a call that was still
//! computing at its [second tick](TICKS) goes on aside. Calls that are shorter do from their next
//! stretch on when those of their generation together would hold others up for as long ([`cost`]).
//! [`threads`] are those that run them.

mod cost;
mod threads;

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use cost::Begun;
pub(crate) use cost::Computing;
use threads::Task;

/// Ticks of the engine's clock that a call may compute over before it goes on aside. At the first
/// one it may have computed for a moment only, as the clock is everybody's; at the second it was at
/// least one tick.
const TICKS: u32 = 2;

thread_local! {
    /// Whether a guest was still computing when the clock ticked, since somebody looked.
    static TICKED: Cell<bool> = const { Cell::new(false) };
}

/// To be called when the clock ticks while a guest computes on this thread.
pub(super) fn ticked() {
    TICKED.set(true);
}

/// A guest's work, which counts among those of its generation until it is gone.
struct Work<T> {
    // First, so that it is gone when it counts no more.
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    begun: Begun,
}

impl<T> Work<T> {
    /// What making the instance and giving its memory back cost is part of it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let future = self.future.as_mut();
        self.begun.measured(|| future.poll(cx))
    }
}

/// A guest's work that goes on aside when it computes for long. Dropping it drops the work, at the
/// next tick at the latest.
pub(crate) struct Movable<T: Send + 'static> {
    place: Place<T>,
    /// Ticks over which it has computed, up to [`TICKS`].
    ticks: u32,
    /// Whether it has let others go first.
    has_yielded: bool,
}

/// Where the work is.
enum Place<T> {
    Here(Work<T>),
    Aside(Moved<T>),
    Done,
}

/// Work that goes on aside.
struct Moved<T> {
    task: Arc<Task>,
    done: oneshot::Receiver<Result<T, Box<dyn Any + Send>>>,
}

impl<T> Drop for Moved<T> {
    fn drop(&mut self) {
        self.task.cancel();
    }
}

impl<T: Send + 'static> Movable<T> {
    /// `work` of a generation whose calls `computing` counts.
    pub(crate) fn new(work: Pin<Box<dyn Future<Output = T> + Send>>, computing: Computing) -> Self {
        let work = Work { future: work, begun: computing.begin() };
        Self { place: Place::Here(work), ticks: 0, has_yielded: false }
    }

    /// Polls the work where it is, unless it has to go on aside.
    fn poll_here(&mut self, cx: &mut Context<'_>) -> Option<Poll<T>> {
        let Place::Here(work) = &mut self.place else { return None };
        if work.begun.may_hold_others_up() {
            if work.begun.hold_others_up() {
                return None;
            }
            // Calls that wait for a thread have not begun. They do, and others go first, when this one
            // goes to the end of the queue once.
            if !self.has_yielded {
                self.has_yielded = true;
                cx.waker().wake_by_ref();
                return Some(Poll::Pending);
            }
        }
        TICKED.set(false);
        match work.poll(cx) {
            Poll::Ready(done) => {
                self.place = Place::Done;
                Some(Poll::Ready(done))
            }
            Poll::Pending => {
                self.ticks += u32::from(TICKED.take());
                (self.ticks < TICKS).then_some(Poll::Pending)
            }
        }
    }

    /// Lets the work go on aside. Without an async runtime it stays, as it could not wait there.
    fn go_aside(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        match std::mem::replace(&mut self.place, Place::Done) {
            Place::Here(work) => {
                let (tell, done) = oneshot::channel();
                let owner = work.begun.owner();
                let work = Box::pin(async move {
                    let result = Caught(work).await;
                    // Nobody may be left to hear of it.
                    let _ = tell.send(result);
                });
                let task = threads::start(work, owner, runtime);
                self.place = Place::Aside(Moved { task, done });
            }
            other => self.place = other,
        }
    }
}

impl<T: Send + 'static> Future for Movable<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(polled) = self.poll_here(cx) {
            return polled;
        }
        self.go_aside();
        match &mut self.place {
            Place::Aside(moved) => {
                let done = ready!(Pin::new(&mut moved.done).poll(cx));
                self.place = Place::Done;
                match done {
                    Ok(Ok(done)) => Poll::Ready(done),
                    Ok(Err(panic)) => resume_unwind(panic),
                    // Only dropping this ends the work before it is done.
                    Err(_) => Poll::Pending,
                }
            }
            Place::Here(work) => work.poll(cx),
            // It is done, and nobody polls that again.
            Place::Done => Poll::Pending,
        }
    }
}

/// Work whose panic is a result, for whoever waits for it elsewhere. The work is gone when it ends.
struct Caught<T>(Work<T>);

impl<T> Future for Caught<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let work = &mut self.0;
        // After a panic the work is dropped, and nobody sees what it left half done.
        match catch_unwind(AssertUnwindSafe(|| work.poll(cx))) {
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    /// Computes until `stop` holds; each poll is one tick. Tells the name of the last thread.
    async fn compute(stop: Arc<AtomicBool>) -> String {
        poll_fn(|cx| {
            if stop.load(Ordering::Relaxed) {
                return Poll::Ready(std::thread::current().name().unwrap_or_default().to_owned());
            }
            ticked();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }

    fn movable<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Movable<T> {
        Movable::new(Box::pin(work), Computing::default())
    }

    fn is_aside<T: Send + 'static>(movable: &Movable<T>) -> bool {
        matches!(movable.place, Place::Aside(_))
    }

    #[tokio::test]
    async fn work_that_computes_for_long_ends_aside_and_work_that_waits_stays() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut computes = movable(compute(Arc::clone(&stop)));
        while !is_aside(&computes) {
            assert!(futures::future::poll_immediate(&mut computes).await.is_none());
        }
        assert_eq!(computes.ticks, TICKS);
        stop.store(true, Ordering::Relaxed);
        assert_eq!((&mut computes).await, "wrt-aside");
        let mut waits = movable(async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            7
        });
        assert_eq!((&mut waits).await, 7);
        assert_eq!(waits.ticks, 0);
    }

    #[tokio::test]
    async fn work_aside_may_wait_and_is_woken() {
        let work = async {
            compute_ticks(TICKS).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            tokio::spawn(async { 7 }).await.unwrap()
        };
        assert_eq!(movable(work).await, 7);
    }

    async fn compute_ticks(mut n: u32) {
        poll_fn(|cx| {
            if n == 0 {
                return Poll::Ready(());
            }
            n -= 1;
            ticked();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn work_aside_that_nobody_waits_for_is_dropped() {
        struct Tell(Option<oneshot::Sender<()>>);
        impl Drop for Tell {
            fn drop(&mut self) {
                let _ = self.0.take().map(|tell| tell.send(()));
            }
        }
        // By turns: work that computes, and work that waits for ever.
        for computes in [true, false] {
            let (tell, told) = oneshot::channel();
            let tell = Tell(Some(tell));
            let mut work = movable(async move {
                let _tell = tell;
                compute_ticks(TICKS).await;
                if computes { compute(Arc::default()).await } else { std::future::pending().await }
            });
            while !is_aside(&work) {
                assert!(futures::future::poll_immediate(&mut work).await.is_none());
            }
            drop(work);
            assert_eq!(told.await, Ok(()));
        }
    }

    #[tokio::test]
    async fn panic_aside_reaches_the_caller() {
        let work = tokio::spawn(movable(async {
            compute_ticks(TICKS).await;
            panic!("of the host's own");
        }));
        let panic = work.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"of the host's own"));
    }

    #[tokio::test]
    async fn short_work_goes_aside_when_there_is_much_of_it() {
        /// A guest that does not yield, however long it takes.
        async fn short() -> String {
            let begun_at = std::time::Instant::now();
            while begun_at.elapsed() < Duration::from_millis(1) {}
            std::thread::current().name().unwrap_or_default().to_owned()
        }
        let computing = Computing::default();
        let one = || Movable::new(Box::pin(short()), computing.clone());
        let all = || futures::future::join_all((0..100).map(|_| one()));
        while !all().await.iter().any(|name| name == "wrt-aside") {}
        // Alone it holds nobody up.
        assert_ne!(one().await, "wrt-aside");
    }
}
