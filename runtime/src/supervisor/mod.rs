//! Supervisors: one task for each handler, the only one that publishes its generations.
//!
//! The core is generic over [`Guest`], so that tests run it on fakes.

mod aside;
pub(crate) mod book;
mod bring;
mod ending;
mod evidence;
mod hand_over;
mod lazy;
mod mailbox;
mod past;
mod protocol;
mod request;
mod states;
mod task;
#[cfg(test)]
mod tests;
mod trial;
mod waits;
mod wanted;
mod way_back;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

pub(crate) use crate::artifact::Staged;
use crate::artifact::{Candidate, Goal, Release, Source};
use crate::config::Settings;
use crate::error::{HandOverError, Rejected, StageError};
use crate::events::{EventBus, Serving};
use crate::generation::Retirement;
use crate::handler::Handler;
use crate::history::{HandlerHistory, NotKept, Usage};
use crate::id::{GenerationNumber, HandlerName};
use crate::snapshot::{Keeps, Restored, Snapshot};
use book::Book;
pub(crate) use ending::Stop;
use ending::{End, Ending};
use lazy::Lazy;
use mailbox::{Mailbox, Put};
pub(crate) use protocol::Mismatch;
#[cfg(test)]
use protocol::Step;
pub use request::{RollbackRequest, Swap, SwapRequest};

/// What the swap core needs to know about guests: how a candidate becomes ready to take calls.
pub(crate) trait Guest: Send + Sync + 'static {
    /// A candidate that is linked, checked, and able to take calls.
    type Ready: Send + Sync + 'static;

    /// Finds out what `source` holds.
    fn open(&self, source: Source) -> impl Future<Output = Result<Candidate, StageError>> + Send {
        Candidate::read(source)
    }

    /// Compiles, checks and tries out `release`. Nothing that it does is visible to calls.
    fn stage(
        &self,
        release: &Release,
        number: GenerationNumber,
        retirement: Retirement,
    ) -> impl Future<Output = Result<Staged<Self::Ready>, StageError>> + Send;

    /// Makes the ready form of what was staged before, once more, with the code that `goal` wants.
    fn restage(
        &self,
        release: &Release,
        number: GenerationNumber,
        retirement: Retirement,
        goal: Goal,
    ) -> impl Future<Output = Result<Staged<Self::Ready>, StageError>> + Send;

    /// What `ready` keeps from call to call.
    fn keeps(&self, ready: &Self::Ready) -> Keeps {
        let _ = ready;
        Keeps::Nothing
    }

    /// What calls of `ready` bring, in words; `None` where the embedder's own code makes the calls.
    fn kind(&self, ready: &Self::Ready) -> Option<&'static str> {
        let _ = ready;
        None
    }

    /// Whether the one instance of `ready` that kept something is gone, and a later instance began
    /// without what it kept. To be asked while no call is inside.
    fn has_lost(&self, ready: &Self::Ready) -> bool {
        let _ = ready;
        false
    }

    /// Makes `n` instances at least ready for their first calls.
    fn warm(
        &self,
        ready: &Self::Ready,
        n: usize,
    ) -> impl Future<Output = Result<(), StageError>> + Send {
        let _ = (ready, n);
        async { Ok(()) }
    }

    /// Starts the one instance of a `ready` that keeps something, which takes no state over.
    fn start(&self, ready: &Self::Ready) -> impl Future<Output = Result<(), StageError>> + Send {
        let _ = ready;
        async { Ok(()) }
    }

    /// The state of the one instance of `ready`, while nobody calls it. Only
    /// [`HandOverError::Lost`] ends that instance.
    fn save(
        &self,
        ready: &Self::Ready,
    ) -> impl Future<Output = Result<Snapshot, HandOverError>> + Send;

    /// Starts the one instance of `ready` with the state of another, without effects outside.
    fn restore(
        &self,
        ready: &Self::Ready,
        snapshot: &Snapshot,
    ) -> impl Future<Output = Result<Restored, HandOverError>> + Send;

    /// Asks a `ready` with `settings`, which takes no calls yet, whether it is well.
    fn probe(
        &self,
        ready: &Self::Ready,
        settings: &Settings,
    ) -> impl Future<Output = Result<(), StageError>> + Send {
        let _ = (ready, settings);
        async { Ok(()) }
    }

    /// Ends the idle instances of a `ready` in whose place others or other code take the calls from
    /// now on; calls inside go on.
    fn retire(&self, ready: &Self::Ready) {
        let _ = ready;
    }

    /// Ends the instances of a `ready` that takes no calls any more.
    fn close(&self, ready: &Self::Ready) -> impl Future<Output = ()> + Send {
        let _ = ready;
        async {}
    }

    /// Pause between two calls of [`Guest::tidy`] on a generation with `settings`, if it wants any.
    fn tidy_every(&self, settings: &Settings) -> Option<Duration> {
        let _ = settings;
        None
    }

    /// Gives back what has been idle for too long.
    fn tidy(&self, ready: &Self::Ready) {
        let _ = ready;
    }
}

/// What is to be done with a handler.
enum Request {
    Swap(SwapRequest),
    Rollback(RollbackRequest),
    /// Serve the version that was confirmed last before the start, if nothing is active.
    Boot,
}

type Answer = Result<Swap, Rejected>;

struct Operation {
    request: Request,
    answer: oneshot::Sender<Answer>,
}

impl Operation {
    /// What `self` leaves open, `older` may say, which waited in its place: a change of settings goes with
    /// the component that was to come, and a component with the settings that were to come.
    fn inherit(&mut self, older: &Self) {
        let (Request::Swap(own), Request::Swap(older)) = (&mut self.request, &older.request) else {
            return;
        };
        if own.source.is_none() && older.source.is_some() {
            let settings = own.settings.take();
            *own = SwapRequest { settings, ..older.clone() };
        } else if own.settings.is_none() && !own.is_standing {
            own.settings.clone_from(&older.settings);
        }
    }

    /// Whether this makes a request for `source` and `settings` pointless: it brings as much itself.
    fn supersedes(&self, has_source: bool, has_settings: bool) -> bool {
        match &self.request {
            Request::Swap(request) => {
                (request.source.is_some() || !has_source)
                    && (request.settings.is_some() || request.is_standing || !has_settings)
            }
            Request::Rollback(_) => true,
            // It has nothing to bring where something serves.
            Request::Boot => false,
        }
    }
}

/// Whom the confirmation of the active generation is told to: the generation, if there is one.
type Confirm = oneshot::Sender<Option<Serving>>;

/// Confirmations that may wait for the supervisor at once.
const MAX_CONFIRMS: usize = 16;

/// What a handler's supervisor is told when it starts.
pub(crate) struct Orders {
    pub(crate) bus: EventBus,
    /// Replaced generations that may drain at once; a further swap waits for one of them.
    pub(crate) max_draining: usize,
    /// What happens to a candidate that does not fit what serves.
    pub(crate) mismatch: Mismatch,
    /// What is written down about the handler.
    pub(crate) book: Book,
    /// Keeps other processes from the history for as long as the supervisor may write to it.
    pub(crate) usage: Option<Arc<Usage>>,
    /// Ends the task: the active generation is then drained, and no further one published.
    pub(crate) stop: Stop,
}

/// How things stand with a supervisor, as it told last.
#[derive(Debug, Default)]
struct Told {
    /// Replaced generations that drain.
    draining: AtomicUsize,
    /// The number of the generation on probation, or 0.
    on_trial: AtomicU64,
    /// What waits for a first call.
    lazy: Lazy,
}

/// Asks a handler's supervisor for swaps. Dropping it does not end the supervisor, which ends when it is
/// stopped.
pub(crate) struct SupervisorHandle {
    name: HandlerName,
    mailbox: Arc<Mailbox<Operation>>,
    confirms: mpsc::Sender<Confirm>,
    told: Arc<Told>,
    book: Book,
    end: End,
    /// What is answered when the supervisor is gone.
    serving: Box<dyn Fn() -> Option<Serving> + Send + Sync>,
}

impl SupervisorHandle {
    /// Starts the supervisor of `handler` as a task of `tasks`.
    pub(crate) fn start<G: Guest>(
        guest: G,
        handler: Arc<Handler<G::Ready>>,
        orders: Orders,
        tasks: &TaskTracker,
    ) -> Self {
        let (handle, ending, task) = Self::make(guest, handler, orders);
        tasks.spawn(ending.watch(task.run()));
        handle
    }

    /// [`SupervisorHandle::start`] with a planted mistake.
    #[cfg(test)]
    fn start_with<G: Guest>(
        bug: Option<Bug>,
        guest: G,
        handler: Arc<Handler<G::Ready>>,
        orders: Orders,
        tasks: &TaskTracker,
    ) -> Self {
        let (handle, ending, mut task) = Self::make(guest, handler, orders);
        task.bug = bug;
        tasks.spawn(ending.watch(task.run()));
        handle
    }

    fn make<G: Guest>(
        guest: G,
        handler: Arc<Handler<G::Ready>>,
        orders: Orders,
    ) -> (Self, Ending<G::Ready>, task::Task<G>) {
        let mailbox = Arc::new(Mailbox::new());
        let name = handler.name().clone();
        let (confirms, confirming) = mpsc::channel(MAX_CONFIRMS);
        let told = Arc::<Told>::default();
        let book = orders.book.clone();
        let (taken, tell) = (Arc::clone(&mailbox), Arc::clone(&told));
        let end = End::new(orders.stop.clone());
        let ending = Ending {
            end: end.clone(),
            mailbox: Arc::clone(&mailbox),
            handler: Arc::clone(&handler),
        };
        let same = Arc::clone(&handler);
        let serving = Box::new(move || same.serving());
        let task = task::Task::new(guest, handler, orders, taken, confirming, tell, end.clone());
        (Self { name, mailbox, confirms, told, book, end, serving }, ending, task)
    }

    /// Replaces what the handler runs, when the running operation is done; the latest request wins.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when a step of the stage failed; what was serving still is.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels nothing: the request stands, only its answer is not awaited.
    pub(crate) async fn swap(&self, request: SwapRequest) -> Answer {
        self.ask(Request::Swap(request)).await
    }

    /// [`swap`](Self::swap) for those who need not wait. The answer is dropped when the supervisor has
    /// ended.
    pub(crate) fn swap_aside(&self, request: SwapRequest) -> oneshot::Receiver<Answer> {
        self.put(Request::Swap(request))
    }

    /// Publishes an earlier version as a new generation. The bytes that served until then are refused
    /// until they change.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when there is no such generation any more, or it cannot be staged again.
    ///
    /// # Cancel safety
    ///
    /// As [`swap`](Self::swap).
    pub(crate) async fn rollback(&self, request: RollbackRequest) -> Answer {
        self.ask(Request::Rollback(request)).await
    }

    /// Publishes the version that was confirmed last before the start, unless something is active.
    ///
    /// # Errors
    ///
    /// [`Rejected`] when there is none, or it cannot be staged again.
    ///
    /// # Cancel safety
    ///
    /// As [`swap`](Self::swap).
    pub(crate) async fn boot(&self) -> Answer {
        self.ask(Request::Boot).await
    }

    /// [`boot`](Self::boot) for those who need not wait, unless another request waits. The answer is dropped
    /// then, and when the supervisor has ended.
    #[cfg(feature = "dev")]
    pub(crate) fn boot_aside(&self) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        // A request that waits boots by itself, if nothing serves.
        drop(self.mailbox.put_if_empty(Operation { request: Request::Boot, answer }));
        answered
    }

    async fn ask(&self, request: Request) -> Answer {
        match self.put(request).await {
            Ok(answer) => answer,
            Err(_) => Err(self.ended().await),
        }
    }

    /// Ends the probation of the active generation, well. `None` when nothing is active.
    ///
    /// # Errors
    ///
    /// Why there is no supervisor to do so any more.
    ///
    /// # Cancel safety
    ///
    /// The confirmation may or may not happen.
    pub(crate) async fn confirm(&self) -> Result<Option<Serving>, StageError> {
        let (told, confirmed) = oneshot::channel();
        if self.confirms.send(told).await.is_err() {
            return Err(self.end.reason().await);
        }
        match confirmed.await {
            Ok(serving) => Ok(serving),
            Err(_) => Err(self.end.reason().await),
        }
    }

    /// Waits until the supervisor has ended and every generation of the handler is drained; returns
    /// how many calls were cut for that.
    ///
    /// # Cancel safety
    ///
    /// Nothing changes, dropped or not.
    pub(crate) async fn over(&self) -> usize {
        self.end.over().await
    }

    /// Whether a component is put off until a first call.
    pub(crate) fn is_lazy(&self) -> bool {
        self.told.lazy.source().is_some()
    }

    /// What waits for a first call, if anything does.
    pub(crate) fn waits_for_a_call(&self) -> Option<Source> {
        self.told.lazy.source()
    }

    /// What the file of what waits for a first call is now, for [`cannot_load`](Self::cannot_load).
    pub(crate) fn stamp(&self) -> Option<lazy::Stamp> {
        self.told.lazy.stamp()
    }

    /// What waits for a first call was tried, and refused by `error`, when its file was `then`. As long
    /// as the file is the same, the handler is not ready, unless the error is one that may pass.
    pub(crate) fn cannot_load(&self, error: &StageError, then: Option<lazy::Stamp>) {
        self.told.lazy.refused(error, then);
    }

    /// Why a first call would find nothing to run, as far as is known without loading anything. The
    /// version that was confirmed before this start does without the file.
    pub(crate) fn problem(&self) -> Option<String> {
        self.told.lazy.problem().filter(|_| !self.book.has_version_to_boot())
    }

    /// Replaced generations whose calls have not ended yet.
    pub(crate) fn draining(&self) -> usize {
        // Ordering: a figure for people.
        self.told.draining.load(Ordering::Relaxed)
    }

    /// The generation that is on probation.
    pub(crate) fn on_trial(&self) -> Option<GenerationNumber> {
        // Ordering: a figure for people. No generation has the number 0.
        let number = self.told.on_trial.load(Ordering::Relaxed);
        (number > 0).then(|| GenerationNumber::new(number))
    }

    /// Whether a version is kept that a start begins with.
    pub(crate) fn has_confirmed(&self) -> bool {
        self.book.has_version_to_boot()
    }

    /// Looks at what became of each version.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&HandlerHistory) -> T) -> T {
        self.book.look(look)
    }

    /// Waits until what became of each version is on the disk, or the disk has refused it, or does not
    /// answer; `None` when it is there, or nothing is to be kept.
    ///
    /// # Cancel safety
    ///
    /// Everything is written all the same.
    pub(crate) async fn flush(&self) -> Option<NotKept> {
        self.book.flush_in_time().await
    }

    /// Why what became of each version is not on the disk, as far as that was tried.
    pub(crate) fn not_kept(&self) -> Option<NotKept> {
        self.book.problem()
    }

    fn put(&self, request: Request) -> oneshot::Receiver<Answer> {
        if let Request::Swap(request) = &request
            && request.is_lazy
        {
            request.source.iter().for_each(|source| self.told.lazy.waits(source.clone()));
        }
        let (answer, answered) = oneshot::channel();
        match self.mailbox.put_over(Operation { request, answer }, Operation::inherit) {
            // Dropping a refused operation is its answer.
            Put::Accepted | Put::Refused(_) => {}
            // Its caller may be gone, which is fine.
            Put::Displaced(older) => drop(older.answer.send(Ok(Swap::Superseded))),
        }
        answered
    }

    /// The answer to a request that the supervisor did not come to.
    async fn ended(&self) -> Rejected {
        let (handler, source) = (self.name.clone(), self.end.reason().await);
        Rejected { handler, serving: (self.serving)(), source }
    }
}

/// Mistakes that the tests plant, to see that they are caught.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The candidate is published before it was started.
    PublishBeforeInit,
    /// The candidate is published before it took the state over.
    RestoreAfterPublish,
    /// A failed step leaves the callers held.
    ForgetsRelease,
    /// A drain waits for ever.
    DrainWithoutDeadline,
}

#[cfg(test)]
impl Bug {
    /// What the machine with this mistake does in place of `step`, after `before`.
    fn apply(bug: Option<Self>, before: Step, step: Step) -> Step {
        match (bug, step) {
            (Some(Self::PublishBeforeInit), Step::Start) => {
                Step::Publish(crate::events::StateOutcome::None)
            }
            (Some(Self::RestoreAfterPublish), Step::Restore) => {
                Step::Publish(crate::events::StateOutcome::Carried)
            }
            (Some(Self::RestoreAfterPublish), Step::Published) if before != Step::Restore => {
                Step::Restore
            }
            (Some(Self::ForgetsRelease), Step::Release) => Step::Refused,
            _ => step,
        }
    }
}
