//! The threads that run what computes for long: as many as processors, started when there is work.
//!
//! They are the process's, since the processors are. Work of different owners takes turns, so one
//! owner with a hundred calls does not delay another with one. Work that was cancelled is dropped before
//! anything else, since its place and its memory are wanted back. A thread without work for a while ends.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::engine::give_way;

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How many tasks may wait for their work to be dropped. They hold places of the engine's pool, which
/// has 256 more than calls may run at once.
const MAX_CANCELLED: usize = 128;

/// How many stretches of a call come one after the other, before the others of its owner. If all took
/// turns from the start, all would have their memory at once, and none would end in time. A hundred
/// calls that end soon do so in order; a call that does not takes turns after ten ticks.
const STRETCHES: u32 = 10;

/// Work without a result.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Processors of this machine.
pub(super) fn processors() -> usize {
    static PROCESSORS: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
    *PROCESSORS
}

/// What the threads share.
static SHARED: Shared = Shared { queue: Mutex::new(Queue::new()), added: Condvar::new() };

struct Shared {
    queue: Mutex<Queue>,
    added: Condvar,
}

/// Tasks that are to be polled, and the threads that do.
struct Queue {
    /// Tasks whose work is to be dropped. They may be among those of their owner, too.
    cancelled: VecDeque<Arc<Task>>,
    /// Owners by turns, each with its tasks in order.
    owners: VecDeque<(usize, VecDeque<Arc<Task>>)>,
    /// How many tasks all of these have together.
    len: usize,
    threads: usize,
    idle: usize,
}

impl Queue {
    const fn new() -> Self {
        Self { cancelled: VecDeque::new(), owners: VecDeque::new(), len: 0, threads: 0, idle: 0 }
    }

    fn push(&mut self, task: Arc<Task>) {
        self.len += 1;
        if task.is_cancelled() {
            return self.cancelled.push_back(task);
        }
        match self.owners.iter_mut().find(|(owner, _)| *owner == task.owner) {
            Some((_, tasks)) if task.goes_on() => tasks.push_front(task),
            Some((_, tasks)) => tasks.push_back(task),
            None => self.owners.push_back((task.owner, VecDeque::from([task]))),
        }
    }

    fn pop(&mut self) -> Option<Arc<Task>> {
        if let Some(task) = self.cancelled.pop_front() {
            self.len -= 1;
            return Some(task);
        }
        let (owner, mut tasks) = self.owners.pop_front()?;
        let task = tasks.pop_front();
        self.len -= 1;
        if !tasks.is_empty() {
            self.owners.push_back((owner, tasks));
        }
        task
    }
}

/// One piece of work, until it is done or cancelled.
pub(super) struct Task {
    /// Locked while it is polled; `None` when it is done.
    work: Mutex<Option<Work>>,
    state: AtomicU8,
    is_cancelled: AtomicBool,
    /// How often it was polled.
    n_polled: AtomicU32,
    owner: usize,
    /// Whose timers and sockets the work waits for.
    runtime: Handle,
}

// What a task's `state` may be.
/// Nobody has woken it.
const ASLEEP: u8 = 0;
/// It is in the queue.
const QUEUED: u8 = 1;
/// A thread polls it.
const POLLED: u8 = 2;
/// A thread polls it, and it was woken meanwhile.
const WOKEN: u8 = 3;

/// Runs `work` of `owner` to its end, in the context of `runtime`.
pub(super) fn start(work: Work, owner: usize, runtime: Handle) -> Arc<Task> {
    let task = Arc::new(Task {
        work: Mutex::new(Some(work)),
        state: AtomicU8::new(QUEUED),
        is_cancelled: AtomicBool::new(false),
        n_polled: AtomicU32::new(0),
        owner,
        runtime,
    });
    enqueue(Arc::clone(&task));
    task
}

impl Task {
    /// Drops the work, aside, as the memory of a guest takes time to give back; that which is being
    /// polled when it next waits or yields.
    pub(super) fn cancel(self: &Arc<Self>) {
        // Ordering: whoever polls it looks at this after it has given the lock back, or is woken.
        self.is_cancelled.store(true, Ordering::SeqCst);
        match self.work.try_lock() {
            Ok(work) if work.is_none() => {}
            Ok(work) if SHARED.lock().cancelled.len() < MAX_CANCELLED => {
                drop(work);
                enqueue(Arc::clone(self));
            }
            Ok(mut work) => {
                let work = work.take();
                // Not under the lock: it may take time, and wake others.
                drop(work);
            }
            Err(_) => Arc::clone(self).wake(),
        }
    }

    /// Whether it has begun, and has not computed for long.
    fn goes_on(&self) -> bool {
        // Ordering: a figure that guards no other data.
        (1..STRETCHES).contains(&self.n_polled.load(Ordering::Relaxed))
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    fn poll(self: Arc<Self>) {
        // Ordering, here and below: what wakes the task happens before the poll that it causes.
        self.state.store(POLLED, Ordering::SeqCst);
        let runtime = self.runtime.clone();
        let _entered = runtime.enter();
        let mut work = self.lock();
        let Some(running) = work.as_mut().filter(|_| !self.is_cancelled()) else {
            let work = work.take();
            return drop(work);
        };
        self.n_polled.fetch_add(1, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self));
        let polled = running.as_mut().poll(&mut Context::from_waker(&waker));
        if polled.is_ready() || self.is_cancelled() {
            let done = work.take();
            return drop(done);
        }
        drop(work);
        let asleep =
            self.state.compare_exchange(POLLED, ASLEEP, Ordering::SeqCst, Ordering::SeqCst);
        if asleep.is_err() {
            self.state.store(QUEUED, Ordering::SeqCst);
            enqueue(self);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Work>> {
        // Work that panics catches that itself.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let woken =
            self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |state| match state {
                ASLEEP => Some(QUEUED),
                POLLED => Some(WOKEN),
                _ => None,
            });
        if woken == Ok(ASLEEP) {
            enqueue(self);
        }
    }
}

/// Puts `task` into the queue, and sees to a thread that takes it.
fn enqueue(task: Arc<Task>) {
    let mut queue = SHARED.lock();
    let runtime = task.runtime.clone();
    queue.push(task);
    // Those who were told of a task before and have not woken yet are idle still.
    if queue.idle >= queue.len {
        SHARED.added.notify_one();
        return;
    }
    if queue.threads >= processors() {
        return;
    }
    queue.threads += 1;
    let builder = std::thread::Builder::new().name("wrt-aside".to_owned());
    if let Err(error) = builder.spawn(run) {
        queue.threads -= 1;
        if queue.threads > 0 {
            return;
        }
        // A machine that has no thread to spare: the async runtime's have to do.
        tracing::debug!(%error, "no thread for calls that compute for long");
        let task = queue.pop();
        drop(queue);
        if let Some(task) = task {
            runtime.spawn(async move { task.poll() });
        }
    }
}

/// What each thread does.
fn run() {
    if let Err(error) = give_way() {
        tracing::debug!(%error, "calls that compute for long run at normal priority");
    }
    while let Some(task) = next() {
        task.poll();
    }
}

/// The next task, or nothing when there was none for a while and this thread ends.
fn next() -> Option<Arc<Task>> {
    let mut queue = SHARED.lock();
    loop {
        if let Some(task) = queue.pop() {
            return Some(task);
        }
        queue.idle += 1;
        let waited = SHARED.added.wait_timeout(queue, IDLE);
        let (found, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        queue = found;
        queue.idle -= 1;
        if timeout.timed_out() && queue.len == 0 {
            queue.threads -= 1;
            return None;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Tasks are pushed and popped whole, so a panic elsewhere leaves the queue sound.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(owner: usize) -> Arc<Task> {
        Arc::new(Task {
            work: Mutex::new(None),
            state: AtomicU8::new(QUEUED),
            is_cancelled: AtomicBool::new(false),
            n_polled: AtomicU32::new(0),
            owner,
            runtime: Handle::current(),
        })
    }

    #[tokio::test]
    async fn owners_take_turns_whatever_each_has_to_do() {
        let mut queue = Queue::new();
        for owner in [1, 1, 1, 1, 2, 3, 3] {
            queue.push(task(owner));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|task| task.owner).collect();
        assert_eq!(order, [1, 2, 3, 1, 3, 1, 1]);
    }

    #[tokio::test]
    async fn what_has_begun_goes_on_first_until_it_has_computed_for_long() {
        let mut queue = Queue::new();
        for n_polled in [0, 1, STRETCHES - 1, STRETCHES] {
            let task = task(1);
            task.n_polled.store(n_polled, Ordering::Relaxed);
            queue.push(task);
        }
        let n_polled = |task: Arc<Task>| task.n_polled.load(Ordering::Relaxed);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(n_polled).collect();
        assert_eq!(order, [STRETCHES - 1, 1, 0, STRETCHES]);
    }

    #[tokio::test]
    async fn what_is_cancelled_comes_first() {
        let mut queue = Queue::new();
        let [waits, cancelled] = [1, 2].map(task);
        queue.push(waits);
        queue.push(Arc::clone(&cancelled));
        cancelled.is_cancelled.store(true, Ordering::SeqCst);
        queue.push(cancelled);
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|task| task.owner).collect();
        // Once more in its turn, when nothing is left of its work.
        assert_eq!((order, queue.len), (vec![2, 1, 2], 0));
    }
}
