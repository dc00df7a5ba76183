//! Rebuilds one handler whenever the content of its inputs changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::build::{Job, Workshop};
use super::depinfo;
use super::git::{self, GitState};
use super::hints::{Hints, Inbox, Touch};
use super::hub::Hub;
use super::inputs::Inputs;
use super::lineage::{Chain, Turn};
use super::notice::{NoticeKind, Post};
use super::own::{During, Ended, OwnWrites};
use super::package::{self, Package};
use super::process::Rest;
use super::session::{POLL_INTERVAL, blocking, lock, with};
use super::settle::{Settle, Step};
use super::snapshot::{Contents, changed, describe};
use super::view::{Look, View};
use super::{BuildFailure, Built, Source};

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
    /// What it began with.
    inputs: Contents,
    /// The inputs at the last look, where it was let run although they changed.
    seen: Contents,
    turn: Turn,
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
    /// Whether the task builds again at later changes, or ends after its first outcome.
    is_watching: bool,
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
    /// When the last build began.
    started: Option<SystemTime>,
    /// Inputs of the last outcome that was reported.
    reported: Option<Contents>,
    /// What the handler's builds themselves write.
    own: OwnWrites,
    /// The chain that the next build goes on with, where it does.
    depth: Option<u32>,
    /// What started the builds of that chain.
    chain: Chain,
    is_missing: bool,
    notes: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

impl Rebuild {
    /// A task for `source` in a session whose commands write the files `written`.
    pub(super) fn new(
        source: Source,
        written: &BTreeSet<PathBuf>,
        hub: Arc<Hub>,
        workshop: Workshop,
        is_watching: bool,
        post: Post,
    ) -> Self {
        let mut inputs = Inputs::of(&source, None);
        if let Source::Command { watch, .. } = &source
            && watch.is_empty()
        {
            // All of a directory stands for its sources; what is watched by name is meant.
            inputs.outputs.extend(written.iter().cloned());
        }
        let view = View::new(hub, inputs);
        let may_write = matches!(source, Source::Command { .. });
        let inbox = view.subscription.inbox.clone();
        Self {
            is_package_stale: matches!(source, Source::Cargo { .. }),
            source,
            is_watching,
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
            own: OwnWrites::new(may_write),
            depth: None,
            chain: Chain::default(),
            is_missing: false,
            notes: mpsc::unbounded_channel(),
        }
    }

    /// Runs for ever, or without watching until the first outcome.
    pub(super) async fn run(mut self) {
        self.pending = Hints::everywhere();
        self.settled().await;
        loop {
            let is_idle = self.running.is_none() && self.due.is_none();
            if is_idle && !self.is_watching {
                return;
            }
            match self.next().await {
                Event::Hinted(hints) => {
                    let relevant = lock(&self.view).relevant(hints);
                    self.hear(relevant);
                }
                Event::Due => self.settle().await,
                // A change that was heard of comes first: it may make this outcome an old one.
                Event::Ended(outcome) => match &mut self.running {
                    Some(running) if self.due.is_some() => running.outcome = Some(outcome),
                    _ => self.report(outcome).await,
                },
                Event::Told(note) => self.post.info("building", note),
                Event::LookAround => self.hear(Hints::everywhere()),
            }
        }
    }

    /// Waits for the next event. Cancel-safe: every branch is.
    async fn next(&mut self) -> Event {
        let due = self.due;
        let is_polling = lock(&self.view).subscription.is_polling;
        let looks_around = is_polling && due.is_none() && self.is_watching;
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
    async fn settle(&mut self) {
        let git_dir = lock(&self.view).git_dir.clone();
        // Three calls for metadata, cheaper than a change of threads.
        let git = git_dir.map_or(GitState::Idle, |dir| git::state(&dir, SystemTime::now()));
        match self.burst().map(|burst| burst.step(Instant::now(), git)) {
            Some(Step::Wait(until)) => self.due = Some(until),
            Some(Step::Go) => self.settled().await,
            None => self.due = None,
        }
    }

    /// Looks at what the burst points at, and decides by content what it takes.
    async fn settled(&mut self) {
        self.due = None;
        let hints = std::mem::take(&mut self.pending);
        let since = hints.span.map_or_else(Instant::now, |(first, _)| first);
        let is_open =
            |(path, touch): (&PathBuf, &Touch)| (*touch == Touch::Open).then(|| path.clone());
        let open = hints.paths.iter().filter_map(is_open).collect();
        let look = self.look(hints).await;
        if !look.is_available {
            return self.report_missing(since);
        }
        let was_missing = std::mem::take(&mut self.is_missing);
        let view = self.view.clone();
        let is_dir = |dir: &Path| lock(&view).snapshot.looks_in(dir);
        if let Some(running) = &mut self.running
            && self.own.during(&running.inputs, &look.contents, &open, is_dir) == During::Wait
        {
            running.seen = look.contents;
            if let Some(outcome) = running.outcome.take() {
                self.report(outcome).await;
            }
            return;
        }
        if self.running.is_none() && self.is_settled_already(&look.contents) {
            return;
        }
        let cancelled = self.running.take();
        if let Some(running) = &cancelled {
            self.depth = Some(running.turn.depth);
        }
        if self.reported.as_ref() == Some(&look.contents) {
            self.depth = None;
            if let Some(running) = cancelled {
                self.post.send(since, &running.cause, NoticeKind::Unchanged);
            } else if was_missing {
                self.post.send(since, "the source is back", NoticeKind::Unchanged);
            }
            return;
        }
        // A cancelled build's change is still part of this one's.
        let since = cancelled.as_ref().map_or(since, |running| running.since.min(since));
        let before = self.reported.clone().or(cancelled.map(|running| running.inputs));
        self.start(since, before, look.contents).await
    }

    /// Whether `now` differs from what was reported only by what builds of other handlers wrote that
    /// go on for ever.
    fn is_settled_already(&mut self, now: &Contents) -> bool {
        let Some(reported) = &self.reported else { return false };
        let changed = changed(reported, now);
        if changed.is_empty() || self.depth.is_some() {
            return false;
        }
        let by_others = self.by_others(reported, now);
        // What no other build can have written is a person's, and begins anew.
        let is_all = by_others.len() == changed.len();
        let depth = by_others.into_values().max().filter(|_| is_all).unwrap_or(0);
        if self.chain.is_endless(&changed, depth, self.workshop.max_depth) {
            self.reported = Some(now.clone());
            self.tell_endless(&changed, depth);
            return true;
        }
        self.depth = Some(depth);
        self.own.changed_by_others(&changed);
        false
    }

    /// Paths that differ between `old` and `new` and were written while builds of other handlers ran,
    /// with how many builds in a row led to each. Nobody can tell which of the builds wrote them, if
    /// one of this handler ran, too.
    fn by_others(&self, old: &Contents, new: &Contents) -> BTreeMap<PathBuf, u32> {
        let with_depth = |path: PathBuf| {
            let modified = lock(&self.view).snapshot.modified(&path);
            let depth = self.workshop.lineage.depth_of(&self.post.handler, [modified]);
            (depth > 0).then_some((path, depth))
        };
        changed(old, new).into_iter().filter_map(with_depth).collect()
    }

    /// Tells that no build follows the change of `paths`, because that would go on for ever.
    fn tell_endless(&self, paths: &[PathBuf], depth: u32) {
        let path = paths.first().map(|path| self.shown(path)).unwrap_or_default();
        let message = format!(
            "not built for the change of `{path}`: builds of handlers here write each other's inputs, \
             or their own while others build, and started each other {depth} times; it is built when \
             something else changes"
        );
        self.post.info("building", message);
    }

    /// Tells that builds write to `paths`, which they also read.
    fn tell_own(&self, paths: &[PathBuf]) {
        let Some(first) = paths.first() else { return };
        let more = match paths.len() - 1 {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let message = format!(
            "the build of `{}` changes its own inputs (`{}`{more}): what it writes itself starts no \
             further build; let git ignore such files, or leave them out of `watch`",
            self.post.handler,
            self.shown(first)
        );
        self.post.info("building", message);
    }

    fn shown(&self, path: &Path) -> String {
        lock(&self.view).inputs.shown(path).display().to_string()
    }

    async fn look(&mut self, hints: Hints) -> Look {
        let mut look = with(&self.view, move |view| view.look(&hints)).await;
        if let Some(limit) = look.limit.take() {
            self.post.info("watching", limit);
        }
        look
    }

    /// Starts a build of `now`; `before` is what the change is told against.
    async fn start(&mut self, since: Instant, before: Option<Contents>, mut now: Contents) {
        let mut cause = "first build".to_owned();
        if let Some(before) = before {
            let paths = changed(&before, &now);
            let is_manifest = |path: &PathBuf| path.file_name() == Some("Cargo.toml".as_ref());
            self.is_package_stale |= self.package.is_some() && paths.iter().any(is_manifest);
            let inputs = lock(&self.view).inputs.clone();
            cause = describe(&inputs, &before, &now);
            let paths = paths.iter().map(|path| inputs.shown(path)).collect();
            self.post.send(since, &cause, NoticeKind::Changed { paths });
        }
        self.post.send(since, &cause, NoticeKind::Building);
        if self.is_package_stale
            && let Source::Cargo { dir } = &self.source
        {
            let dir = dir.clone();
            let began = SystemTime::now();
            match self.load_package(&dir).await {
                Ok(package) => {
                    let read = self.read_before(&package).await;
                    self.add_extra(read).await;
                    self.package = Some(package);
                    self.is_package_stale = false;
                    self.own.may_write =
                        self.package.as_ref().is_some_and(|package| package.has_build_script);
                    now = self.look_at_new_inputs().await.contents;
                }
                Err(failure) => {
                    (self.reported, self.started, self.depth) = (Some(now), Some(began), None);
                    let said = failure.rendered.clone();
                    self.post.send(since, &cause, NoticeKind::BuildFailed(failure));
                    // Those of other packages are no inputs yet.
                    let read = blocking(move || depinfo::manifests_in(&said, &dir)).await;
                    return self.learn_inputs(read).await;
                }
            }
        }
        let job = Job {
            source: self.source.clone(),
            package: self.package.clone(),
            inputs: self
                .package
                .as_ref()
                .map_or_else(Vec::new, |_| lock(&self.view).snapshot.inputs()),
        };
        self.started = Some(SystemTime::now());
        let notes = self.notes.0.clone();
        let build = Box::pin(self.workshop.clone().build(job, move |note| {
            // The receiver is ours, so it is there for as long as this build.
            let _ = notes.send(note);
        }));
        let (depth, may_write) = (self.depth.take().unwrap_or(0), self.own.may_write);
        let turn = self.workshop.lineage.begin(&self.post.handler, depth, may_write);
        let (inputs, seen) = (now.clone(), now);
        self.running = Some(Running { inputs, seen, turn, since, cause, build, outcome: None });
    }

    /// Asks cargo about the package in `dir`, and passes on what cargo waits for meanwhile.
    async fn load_package(&mut self, dir: &Path) -> Result<Package, BuildFailure> {
        let (tools, notes) = (self.workshop.tools.clone(), self.notes.0.clone());
        let tell = move |note| {
            // The receiver is ours, so it is there for as long as this call.
            let _ = notes.send(note);
        };
        let mut load = std::pin::pin!(package::load(dir, &tools, &tell));
        loop {
            tokio::select! {
                loaded = &mut load => return loaded,
                // The channel cannot close, because its sender is ours.
                Some(note) = self.notes.1.recv() => self.post.info("building", note),
            }
        }
    }

    async fn look_at_new_inputs(&mut self) -> Look {
        let mut inputs = Inputs::of(&self.source, self.package.as_ref());
        inputs.files.extend(self.extra.iter().cloned());
        inputs.outputs.extend(self.workshop.options.target_dir.clone());
        lock(&self.view).inputs = inputs;
        self.look(Hints::everywhere()).await
    }

    /// Reports how the running build ended.
    async fn report(&mut self, outcome: Outcome) {
        let Some(mut running) = self.running.take() else { return };
        // What was told while it ran comes before how it ended: without watching, this task ends then.
        while let Ok(note) = self.notes.1.try_recv() {
            self.post.info("building", note);
        }
        if self.own.may_write && self.is_watching {
            // The system may tell of the build's last writes only later.
            running.seen = self.look(Hints::everywhere()).await.contents;
        }
        let mut read = match (&outcome, &self.package) {
            (Err(failure), Some(package)) => {
                let mut read = depinfo::named_in(&failure.diagnostics, &package.workspace_root);
                read.extend(self.workshop.rivals(package));
                read
            }
            _ => Vec::new(),
        };
        let component = outcome.as_ref().ok().map(|(built, _)| built.path.clone());
        let (kind, rest) = match outcome {
            Ok((built, rest)) => (NoticeKind::Built(built), rest),
            Err(failure) => (NoticeKind::BuildFailed(failure), None),
        };
        // What another handler's build may have written proves nothing about this one's.
        let mut by_others = self.by_others(&running.inputs, &running.seen);
        by_others.retain(|path, _| !self.own.is_known(path));
        let mut by_own = running.seen.clone();
        for path in by_others.keys() {
            by_own.remove(path);
            by_own.extend(running.inputs.get(path).map(|digest| (path.clone(), *digest)));
        }
        let ended = self.own.ended(&running.inputs, &by_own);
        let mut depth = running.turn.depth;
        drop(running.turn);
        // Each such build is a further one of the chain, so that it ends however long another runs.
        if let Some(others) = by_others.values().copied().max() {
            depth = others.max(depth + 1);
        }
        let by_others: Vec<_> = by_others.into_keys().collect();
        let is_endless = !by_others.is_empty()
            && self.chain.is_endless(&by_others, depth, self.workshop.max_depth);
        let (own, is_doubtful) = match ended {
            Ended::Settled(own) => (own, false),
            Ended::Learnt(own) => (own, true),
            Ended::Again => (Vec::new(), true),
        };
        let is_again = is_doubtful || (!by_others.is_empty() && !is_endless);
        if is_again {
            self.reported = Some(running.inputs);
            self.depth = Some(depth);
            self.hear(Hints::everywhere());
        } else {
            self.reported = Some(running.seen);
        }
        self.post.send(running.since, &running.cause, kind);
        self.tell_own(&own);
        if is_endless && !is_again {
            self.tell_endless(&by_others, depth);
        }
        if let Some(rest) = rest {
            // What the compiler read is written down by then.
            rest.end().await;
        }
        if let Some(component) = component.filter(|_| self.package.is_some()) {
            read = blocking(move || depinfo::inputs_of(&component)).await.into_iter().collect();
        }
        self.learn_inputs(read).await
    }

    /// Watches from now on `files`, which the compiler reads, or wants to.
    async fn learn_inputs(&mut self, files: Vec<PathBuf>) {
        if !self.add_extra(files).await || !self.is_watching {
            return;
        }
        let look = self.look_at_new_inputs().await;
        let (Some(reported), Some(at)) = (&mut self.reported, self.started) else {
            return;
        };
        let mut is_newer = false;
        for (path, digest) in look.contents {
            // What was there when the build began is what it read; what came later is a change.
            let modified = lock(&self.view).snapshot.modified(&path);
            let was_unread = reported.get(&path).is_none_or(Option::is_none);
            if was_unread && modified.is_some_and(|modified| modified < at) {
                reported.insert(path, digest);
            } else {
                is_newer |= reported.get(&path) != Some(&digest);
            }
        }
        if is_newer {
            self.hear(Hints::everywhere());
        }
    }

    /// Takes those of `files` for inputs that are none yet; true when there are any.
    async fn add_extra(&mut self, files: Vec<PathBuf>) -> bool {
        if files.is_empty() {
            return false;
        }
        let new = with(&self.view, move |view| {
            let outputs = view.inputs.all_outputs();
            let is_output = |path: &Path| outputs.iter().any(|output| path.starts_with(output));
            let known = view.snapshot.contents();
            let is_new = |path: &PathBuf| {
                let is_read = known.get(path).is_some_and(Option::is_some);
                path.is_absolute() && !is_output(path) && !is_read
            };
            files.into_iter().filter(is_new).collect::<Vec<_>>()
        })
        .await;
        let n_known = self.extra.len();
        self.extra.extend(new);
        self.extra.sort();
        self.extra.dedup();
        self.extra.len() > n_known
    }

    /// What the compiler read for the components that are there from before.
    async fn read_before(&mut self, package: &Package) -> Vec<PathBuf> {
        let dir = self.workshop.component_dir(package);
        let components: Vec<_> = package.components.iter().map(|name| dir.join(name)).collect();
        blocking(move || components.iter().flat_map(|path| depinfo::inputs_of(path)).collect())
            .await
    }

    fn report_missing(&mut self, since: Instant) {
        self.running = None;
        if std::mem::replace(&mut self.is_missing, true) {
            return;
        }
        let anchor = lock(&self.view).inputs.anchor.clone();
        let anchor = anchor.display();
        let kind = NoticeKind::Unavailable {
            message: format!("`{anchor}` does not exist"),
            hints: vec!["it is built as soon as it is there".to_owned()],
        };
        self.post.send(since, &format!("`{anchor}` is missing"), kind);
    }
}

/// Waits for the end of a build, for ever without one.
async fn ended(running: Option<&mut Running>) -> Outcome {
    match running {
        Some(running) => running.build.as_mut().await,
        None => std::future::pending().await,
    }
}
