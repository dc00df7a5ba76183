//! Rebuilds one handler whenever the content of its inputs changes.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::build::{Job, Workshop};
use super::depinfo;
use super::git::{self, GitState};
use super::hints::{Hints, Inbox};
use super::hub::Hub;
use super::inputs::Inputs;
use super::package::{self, Package};
use super::process::Rest;
use super::session::{Gone, POLL_INTERVAL, Post, lock, with};
use super::settle::{Settle, Step};
use super::snapshot::{Contents, changed, describe};
use super::view::{Look, View};
use super::{BuildFailure, Built, NoticeKind, Source};

/// A file written this shortly after a build began may have the same time as the build, because
/// kernels stamp files in steps of 4 to 10 ms; tools that compare times may then not notice it.
const STAMP_STEP: Duration = Duration::from_millis(20);

/// What the loop of [`Rebuild`] waits for.
enum Event {
    /// The watcher saw something.
    Hinted(Hints),
    /// The burst of events may be over.
    Due,
    /// The running build ended.
    Ended(Outcome),
    /// The running build has something to tell people.
    Told(String),
    /// It is time to look, where no events come.
    LookAround,
}

type Outcome = Result<(Built, Option<Box<Rest>>), BuildFailure>;

/// A build that was started and whose outcome is not reported yet.
struct Running {
    inputs: Contents,
    since: Instant,
    cause: String,
    /// Dropping it ends the build.
    build: Pin<Box<dyn Future<Output = Outcome> + Send>>,
    /// Set when it ended while changes were unexamined.
    outcome: Option<Outcome>,
}

/// The task that builds one handler.
pub(super) struct Rebuild {
    source: Source,
    workshop: Workshop,
    post: Post,
    view: Arc<Mutex<View>>,
    inbox: Arc<Inbox>,
    package: Option<Package>,
    /// Whether `package` is to be asked for before the next build.
    is_package_stale: bool,
    /// Files beyond the rules that the compiler said it read.
    extra: Vec<PathBuf>,
    pending: Hints,
    due: Option<Instant>,
    running: Option<Running>,
    /// Inputs of the last build that began, and when that was.
    started: Option<(Contents, SystemTime)>,
    /// Inputs of the last outcome that was reported.
    reported: Option<Contents>,
    is_missing: bool,
    notes: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

impl Rebuild {
    pub(super) fn new(source: Source, hub: Arc<Hub>, workshop: Workshop, post: Post) -> Self {
        let view = View::new(hub, Inputs::of(&source, None));
        let inbox = view.subscription.inbox.clone();
        Self {
            is_package_stale: matches!(source, Source::Cargo { .. }),
            source,
            workshop,
            post,
            view: Arc::new(Mutex::new(view)),
            inbox,
            package: None,
            extra: Vec::new(),
            pending: Hints::default(),
            due: None,
            running: None,
            started: None,
            reported: None,
            is_missing: false,
            notes: mpsc::unbounded_channel(),
        }
    }

    /// Runs until nobody receives notices any more, or without watching until the first outcome.
    pub(super) async fn run(mut self) -> Result<(), Gone> {
        self.pending = Hints::everywhere();
        self.settled().await?;
        loop {
            let is_idle = self.running.is_none() && self.due.is_none();
            if is_idle && !self.workshop.options.watch {
                return Ok(());
            }
            match self.next().await {
                Event::Hinted(hints) => {
                    let relevant = lock(&self.view).relevant(hints);
                    self.hear(relevant);
                }
                Event::Due => self.settle().await?,
                // A change that was heard of comes first: it may make this outcome an old one.
                Event::Ended(outcome) => match &mut self.running {
                    Some(running) if self.due.is_some() => running.outcome = Some(outcome),
                    _ => self.report(outcome).await?,
                },
                Event::Told(note) => self.post.info("building", note).await?,
                Event::LookAround => self.hear(Hints::everywhere()),
            }
        }
    }

    /// Waits for the next event. Cancel-safe: every branch is.
    async fn next(&mut self) -> Event {
        let due = self.due;
        let is_polling = lock(&self.view).subscription.is_polling;
        let looks_around = is_polling && due.is_none() && self.workshop.options.watch;
        let build = self.running.as_mut().filter(|running| running.outcome.is_none());
        tokio::select! {
            // Hints first, so that no outcome overtakes a change that was heard of.
            biased;
            hints = self.inbox.next() => Event::Hinted(hints),
            () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => Event::Due,
            // The channel cannot close, because its sender is ours.
            Some(note) = self.notes.1.recv() => Event::Told(note),
            outcome = ended(build) => Event::Ended(outcome),
            () = tokio::time::sleep(POLL_INTERVAL), if looks_around => Event::LookAround,
        }
    }

    /// Adds hints to the burst, and puts off the look at it.
    fn hear(&mut self, hints: Hints) {
        self.pending.merge(hints);
        self.due = self.burst().map(|burst| burst.due());
    }

    fn burst(&self) -> Option<Settle> {
        let (first, last) = self.pending.span?;
        let many = self.pending.rescan || self.pending.paths.len() > 1;
        Some(Settle { first, last, touch: self.pending.least_complete(), many })
    }

    /// Looks if the burst is over, or else waits on.
    async fn settle(&mut self) -> Result<(), Gone> {
        let git_dir = lock(&self.view).git_dir.clone();
        // Three calls for metadata, cheaper than a change of threads.
        let git = git_dir.map_or(GitState::Idle, |dir| git::state(&dir, SystemTime::now()));
        match self.burst().map(|burst| burst.step(Instant::now(), git)) {
            Some(Step::Wait(until)) => {
                self.due = Some(until);
                Ok(())
            }
            Some(Step::Go) => self.settled().await,
            None => {
                self.due = None;
                Ok(())
            }
        }
    }

    /// Looks at what the burst points at, and decides by content what it takes.
    async fn settled(&mut self) -> Result<(), Gone> {
        self.due = None;
        let hints = std::mem::take(&mut self.pending);
        let since = hints.span.map_or_else(Instant::now, |(first, _)| first);
        let look = self.look(hints).await?;
        if !look.is_available {
            return self.report_missing(since).await;
        }
        let was_missing = std::mem::take(&mut self.is_missing);
        if self.running.as_ref().is_some_and(|running| running.inputs == look.contents) {
            return match self.running.as_mut().and_then(|running| running.outcome.take()) {
                Some(outcome) => self.report(outcome).await,
                None => Ok(()),
            };
        }
        let cancelled = self.running.take();
        if self.reported.as_ref() == Some(&look.contents) {
            if let Some(running) = cancelled {
                self.post.send(since, &running.cause, NoticeKind::Unchanged).await?;
            } else if was_missing {
                self.post.send(since, "the source is back", NoticeKind::Unchanged).await?;
            }
            return Ok(());
        }
        // A cancelled build's change is still part of this one's.
        let since = cancelled.as_ref().map_or(since, |running| running.since.min(since));
        let before = self.reported.clone().or(cancelled.map(|running| running.inputs));
        self.start(since, before, look.contents).await
    }

    async fn look(&mut self, hints: Hints) -> Result<Look, Gone> {
        let mut look = with(&self.view, move |view| view.look(&hints)).await;
        if let Some(limit) = look.limit.take() {
            self.post.info("watching", limit).await?;
        }
        Ok(look)
    }

    /// Starts a build of `now`; `before` is what the change is told against.
    async fn start(
        &mut self,
        since: Instant,
        before: Option<Contents>,
        mut now: Contents,
    ) -> Result<(), Gone> {
        let mut cause = "first build".to_owned();
        if let Some(before) = before {
            let paths = changed(&before, &now);
            let is_manifest = |path: &PathBuf| path.file_name() == Some("Cargo.toml".as_ref());
            self.is_package_stale |= self.package.is_some() && paths.iter().any(is_manifest);
            let inputs = lock(&self.view).inputs.clone();
            cause = describe(&inputs, &before, &now);
            let paths = paths.iter().map(|path| inputs.shown(path)).collect();
            self.post.send(since, &cause, NoticeKind::Changed { paths }).await?;
        }
        self.post.send(since, &cause, NoticeKind::Building).await?;
        if self.is_package_stale
            && let Source::Cargo { dir } = &self.source
        {
            match package::load(dir, &self.workshop.tools).await {
                Ok(package) => {
                    self.package = Some(package);
                    self.is_package_stale = false;
                    now = self.look_at_new_inputs().await?.contents;
                }
                Err(failure) => {
                    self.reported = Some(now);
                    return self.post.send(since, &cause, NoticeKind::BuildFailed(failure)).await;
                }
            }
        }
        let job = Job {
            source: self.source.clone(),
            package: self.package.clone(),
            unnoticeable: self.unnoticeable(&now),
        };
        self.started = Some((now.clone(), SystemTime::now()));
        let notes = self.notes.0.clone();
        let build = Box::pin(self.workshop.clone().build(job, move |note| {
            // The receiver is ours, so it is there for as long as this build.
            let _ = notes.send(note);
        }));
        self.running = Some(Running { inputs: now, since, cause, build, outcome: None });
        Ok(())
    }

    /// Changed files that are no newer than the last build.
    fn unnoticeable(&self, now: &Contents) -> Vec<PathBuf> {
        let Some((before, at)) = &self.started else { return Vec::new() };
        let view = lock(&self.view);
        let is_old = |path: &PathBuf| {
            view.snapshot.modified(path).is_some_and(|modified| modified <= *at + STAMP_STEP)
        };
        changed(before, now).into_iter().filter(is_old).collect()
    }

    async fn look_at_new_inputs(&mut self) -> Result<Look, Gone> {
        let mut inputs = Inputs::of(&self.source, self.package.as_ref());
        inputs.files.extend(self.extra.iter().cloned());
        inputs.outputs.extend(self.workshop.options.target_dir.clone());
        lock(&self.view).inputs = inputs;
        self.look(Hints::everywhere()).await
    }

    /// Reports how the running build ended.
    async fn report(&mut self, outcome: Outcome) -> Result<(), Gone> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let artifact = outcome.as_ref().ok().map(|(built, _)| built.path.clone());
        let (kind, rest) = match outcome {
            Ok((built, rest)) => (NoticeKind::Built(built), rest),
            Err(failure) => (NoticeKind::BuildFailed(failure), None),
        };
        self.reported = Some(running.inputs);
        self.post.send(running.since, &running.cause, kind).await?;
        if let Some(rest) = rest {
            // What the compiler read is written down by then.
            rest.end().await;
        }
        match artifact {
            Some(artifact) if self.package.is_some() => self.learn_inputs(artifact).await,
            _ => Ok(()),
        }
    }

    /// Watches from now on what else the compiler read.
    async fn learn_inputs(&mut self, artifact: PathBuf) -> Result<(), Gone> {
        let listed = with(&self.view, move |view| {
            let outputs = view.inputs.all_outputs();
            let is_output = |path: &Path| outputs.iter().any(|output| path.starts_with(output));
            let known = view.snapshot.contents();
            let listed = depinfo::inputs_of(&artifact).into_iter();
            let is_new = |path: &PathBuf| {
                let is_read = known.get(path).is_some_and(Option::is_some);
                path.is_absolute() && !is_output(path) && !is_read
            };
            listed.filter(is_new).collect::<Vec<_>>()
        })
        .await;
        let n_known = self.extra.len();
        self.extra.extend(listed.into_iter().filter(|path| path.is_file()));
        self.extra.sort();
        self.extra.dedup();
        if self.extra.len() == n_known || !self.workshop.options.watch {
            return Ok(());
        }
        let look = self.look_at_new_inputs().await?;
        let (Some(reported), Some((started, at))) = (&mut self.reported, &mut self.started) else {
            return Ok(());
        };
        let mut is_newer = false;
        for (path, digest) in look.contents {
            // What was there when the build began is what it read; what came later is a change.
            let modified = lock(&self.view).snapshot.modified(&path);
            let was_unread = reported.get(&path).is_none_or(Option::is_none);
            if was_unread && modified.is_some_and(|modified| modified < *at) {
                reported.insert(path.clone(), digest);
                started.insert(path, digest);
            } else {
                is_newer |= reported.get(&path) != Some(&digest);
            }
        }
        if is_newer {
            self.hear(Hints::everywhere());
        }
        Ok(())
    }

    async fn report_missing(&mut self, since: Instant) -> Result<(), Gone> {
        self.running = None;
        if std::mem::replace(&mut self.is_missing, true) {
            return Ok(());
        }
        let anchor = lock(&self.view).inputs.anchor.clone();
        let anchor = anchor.display();
        let kind = NoticeKind::Unavailable {
            message: format!("`{anchor}` does not exist"),
            hints: vec!["it is built as soon as it is there".to_owned()],
        };
        self.post.send(since, &format!("`{anchor}` is missing"), kind).await
    }
}

/// Waits for the end of a build, for ever without one.
async fn ended(running: Option<&mut Running>) -> Outcome {
    match running {
        Some(running) => running.build.as_mut().await,
        None => std::future::pending().await,
    }
}
