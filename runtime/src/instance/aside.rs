//! Calls that compute for long go on aside, on threads of their own that give way to all others.
//!
//! A guest that computes yields at each tick of the engine's clock, but until then its thread does
//! nothing else: a few such calls would take all the threads that answer. So a call that was still
//! computing at its [second tick](TICKS) goes on aside, and so do new calls of a generation that has
//! many calls there. [`threads`] are those that run them.

mod threads;

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

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

/// A guest's work.
type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How many calls of one generation are computing aside. All clones are one count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Computing(Arc<AtomicUsize>);

impl Computing {
    /// Whether there are so many that a new call had better begin aside: more than processors, so
    /// that most of what this generation does is to compute.
    fn is_crowded(&self) -> bool {
        // Ordering, here and below: a figure that guards no other data.
        self.0.load(Ordering::Relaxed) > threads::processors()
    }

    fn enter(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// Tells one generation's work from another's, for fairness between them.
    fn owner(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// Counts a call as computing aside for as long as it exists.
struct Counted(Computing);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A guest's work that goes on aside when it computes for long. Dropping it drops the work, at the
/// next tick at the latest.
pub(crate) struct Movable<T: Send + 'static> {
    place: Place<T>,
    /// Ticks over which it has computed, up to [`TICKS`].
    ticks: u32,
    is_begun: bool,
    computing: Computing,
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
    pub(crate) fn new(work: Work<T>, computing: &Computing) -> Self {
        let computing = computing.clone();
        Self { place: Place::Here(work), ticks: 0, is_begun: false, computing }
    }

    /// Polls the work where it is, unless it has to go on aside.
    fn poll_here(&mut self, cx: &mut Context<'_>) -> Option<Poll<T>> {
        let Place::Here(work) = &mut self.place else { return None };
        if !self.is_begun {
            self.is_begun = true;
            if self.computing.is_crowded() {
                return None;
            }
        }
        TICKED.set(false);
        match work.as_mut().poll(cx) {
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
                let counted = self.computing.enter();
                let work = Box::pin(async move {
                    let result = Caught(work).await;
                    drop(counted);
                    // Nobody may be left to hear of it.
                    let _ = tell.send(result);
                });
                let task = threads::start(work, self.computing.owner(), runtime);
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
            Place::Here(work) => work.as_mut().poll(cx),
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
        let work = self.0.as_mut();
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
    use std::sync::atomic::AtomicBool;
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
        Movable::new(Box::pin(work), &Computing::default())
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
    async fn a_generation_with_many_calls_aside_begins_others_there() {
        let computing = Computing::default();
        let name = async { std::thread::current().name().unwrap_or_default().to_owned() };
        let crowd: Vec<_> = (0..=threads::processors()).map(|_| computing.enter()).collect();
        assert_eq!(Movable::new(Box::pin(name), &computing).await, "wrt-aside");
        drop(crowd);
        assert!(!computing.is_crowded());
    }
}
