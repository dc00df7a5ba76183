//! One file watcher for a whole session: watches directories, and sorts events to the handlers.
//!
//! Directories and never files, because an editor that saves by renaming leaves the watch of a file
//! on the old one. Watched by hand and never recursively, because `target/` alone would take
//! thousands of watches and wake us at every build.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, Flag, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::hints::{Inbox, Touch};
use super::session::lock;

/// Whether the system tells when a writer closes a file; elsewhere a write counts as complete.
const TELLS_CLOSE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// How often the lookout goes round: what no event tells is noticed within this.
const LOOKOUT_INTERVAL: Duration = Duration::from_secs(1);

/// Who wants to hear about what.
#[derive(Debug, Default)]
struct Routes {
    dirs: HashMap<PathBuf, Dir>,
    /// Followed entries of watched directories, whether they exist or not.
    entries: HashMap<PathBuf, Entry>,
}

/// A watched directory.
#[derive(Debug)]
struct Dir {
    /// What it was when the watch began.
    identity: Option<Identity>,
    /// All who have it watched: they hear of the directory itself.
    watchers: Vec<Arc<Inbox>>,
    /// Those of them that hear of everything in it.
    inside: Vec<Arc<Inbox>>,
}

/// One followed entry. A thousand handlers may have their files in one directory; each hears of its
/// own alone.
#[derive(Debug)]
struct Entry {
    stamp: Option<Stamp>,
    followers: Vec<Arc<Inbox>>,
}

/// Device and inode.
type Identity = (u64, u64);

/// Inode, size, times of content and of inode.
pub(super) type Stamp = (u64, u64, (i64, i64), (i64, i64));

/// The watcher that the handlers of a session share.
#[derive(Debug)]
pub(super) struct Hub {
    routes: Arc<Mutex<Routes>>,
    /// `None` where polling takes its place from the start.
    watcher: Option<Mutex<RecommendedWatcher>>,
    has_told_limit: AtomicBool,
    /// Ends the lookout by being dropped.
    _end_of_lookout: mpsc::Sender<()>,
}

impl Hub {
    /// A hub without watches. With `poll`, or where the system gives no watcher, it stays without.
    pub(super) fn new(poll: bool) -> Self {
        let routes = Arc::<Mutex<Routes>>::default();
        let for_events = routes.clone();
        let watcher = (!poll)
            .then(|| notify::recommended_watcher(move |event| dispatch(&for_events, event)))
            .and_then(|watcher| {
                watcher.inspect_err(|error| tracing::debug!(%error, "no file watcher")).ok()
            });
        let (end_of_lookout, ended) = mpsc::channel();
        if watcher.is_some() {
            // A thread of its own, because each thread of an async runtime's pool that it visited
            // would be kept for it.
            let for_lookout = routes.clone();
            let lookout = thread::Builder::new().name("wrt-lookout".to_owned());
            let started = lookout.spawn(move || {
                while ended.recv_timeout(LOOKOUT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    look_around(&for_lookout);
                }
            });
            // Events still tell nearly everything.
            let _ = started.inspect_err(|error| tracing::debug!(%error, "no lookout"));
        }
        let (watcher, has_told_limit) = (watcher.map(Mutex::new), AtomicBool::new(false));
        Self { routes, watcher, has_told_limit, _end_of_lookout: end_of_lookout }
    }

    /// Starts to watch `dir` for `inbox`, with `inside` for everything in it. Blocks for a round
    /// trip to the watcher's thread.
    fn watch(&self, inbox: &Arc<Inbox>, dir: &Path, inside: bool) -> notify::Result<()> {
        let Some(watcher) = &self.watcher else { return Ok(()) };
        let identity = identity(dir);
        // The route comes first, so that no event finds nobody.
        let mut routes = lock(&self.routes);
        let route = routes.dirs.entry(dir.to_owned()).or_insert_with(|| Dir {
            identity,
            watchers: Vec::new(),
            inside: Vec::new(),
        });
        if route.identity != identity {
            route.replaced(dir, identity);
        }
        route.watchers.push(inbox.clone());
        if inside {
            route.inside.push(inbox.clone());
        }
        drop(routes);
        // Watching again what somebody else watches is cheap, and mends a watch whose directory was
        // replaced without either of us knowing yet.
        let watched = lock(watcher).watch(dir, RecursiveMode::NonRecursive);
        if watched.is_err() {
            self.unroute(inbox, dir);
        }
        watched
    }

    /// Ends the watch of `dir` for `inbox`, and altogether when nobody else wants it.
    fn unwatch(&self, inbox: &Arc<Inbox>, dir: &Path) {
        if self.unroute(inbox, dir)
            && let Some(watcher) = &self.watcher
        {
            // It fails when the directory is gone and the system ended the watch itself.
            let _ = lock(watcher).unwatch(dir);
        }
    }

    /// Forgets the route of `dir` to `inbox`; true when it was the last one.
    fn unroute(&self, inbox: &Arc<Inbox>, dir: &Path) -> bool {
        let mut routes = lock(&self.routes);
        let Some(route) = routes.dirs.get_mut(dir) else { return false };
        remove(&mut route.watchers, inbox);
        remove(&mut route.inside, inbox);
        let was_last = route.watchers.is_empty();
        if was_last {
            routes.dirs.remove(dir);
        }
        was_last
    }

    fn follow(&self, inbox: &Arc<Inbox>, entry: &Path) {
        // Before the lock is taken: a network file system may take its time.
        let new = Entry { stamp: stamp(entry), followers: Vec::new() };
        let mut routes = lock(&self.routes);
        routes.entries.entry(entry.to_owned()).or_insert(new).followers.push(inbox.clone());
    }

    fn unfollow(&self, inbox: &Arc<Inbox>, entry: &Path) {
        let mut routes = lock(&self.routes);
        let Some(route) = routes.entries.get_mut(entry) else { return };
        remove(&mut route.followers, inbox);
        if route.followers.is_empty() {
            routes.entries.remove(entry);
        }
    }
}

impl Dir {
    /// Takes `dir` as another one than it was, as if it had said so itself.
    fn replaced(&mut self, dir: &Path, now: Option<Identity>) {
        self.identity = now;
        self.watchers.iter().for_each(|inbox| inbox.add(dir, Touch::Complete));
    }
}

fn remove(inboxes: &mut Vec<Arc<Inbox>>, inbox: &Arc<Inbox>) {
    inboxes.retain(|other| !Arc::ptr_eq(other, inbox));
}

/// One handler's part in the [`Hub`]: what it watches.
#[derive(Debug)]
pub(super) struct Subscription {
    hub: Arc<Hub>,
    /// Where its hints arrive.
    pub(super) inbox: Arc<Inbox>,
    dirs: BTreeSet<PathBuf>,
    /// The entries that it is about; empty where it is about everything in its directories.
    entries: BTreeSet<PathBuf>,
    /// Whether some directory could not be watched, so that the owner must look at intervals.
    pub(super) is_polling: bool,
}

/// What watching did.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Directories were added: what changed in them before is yet to be looked at.
    pub(super) has_new: bool,
    /// What to tell people, when the system refused more watches for the first time.
    pub(super) limit: Option<String>,
}

impl Subscription {
    /// A subscription to nothing.
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let is_polling = hub.watcher.is_none();
        let (dirs, entries) = (BTreeSet::new(), BTreeSet::new());
        Self { hub, inbox: Arc::default(), dirs, entries, is_polling }
    }

    /// Makes `wanted` the directories watched for everything in them. Blocks.
    pub(super) fn watch_only(&mut self, wanted: &BTreeSet<PathBuf>) -> Watched {
        self.watch_dirs(wanted, true)
    }

    /// Makes `wanted` the followed entries, and watches the directories that they are in. Blocks.
    pub(super) fn follow_only(&mut self, wanted: &BTreeSet<PathBuf>) -> Watched {
        // Routes come before watches, so that no event finds nobody.
        for entry in wanted.difference(&self.entries) {
            self.hub.follow(&self.inbox, entry);
        }
        for entry in self.entries.difference(wanted) {
            self.hub.unfollow(&self.inbox, entry);
        }
        self.entries.clone_from(wanted);
        let dirs = wanted.iter().filter_map(|entry| entry.parent().map(Path::to_owned));
        self.watch_dirs(&dirs.collect(), false)
    }

    fn watch_dirs(&mut self, wanted: &BTreeSet<PathBuf>, inside: bool) -> Watched {
        let mut watched = Watched::default();
        for dir in self.dirs.difference(wanted).cloned().collect::<Vec<_>>() {
            self.forget(&dir);
        }
        for dir in wanted {
            if self.dirs.contains(dir) {
                continue;
            }
            match self.hub.watch(&self.inbox, dir, inside) {
                Ok(()) => {
                    self.dirs.insert(dir.clone());
                    watched.has_new = true;
                }
                // Gone in the meantime: its parent's events say so.
                Err(error) if is_missing(&error) => {}
                Err(error) => {
                    self.is_polling = true;
                    if !self.hub.has_told_limit.swap(true, Ordering::Relaxed) {
                        watched.limit = Some(limit_message(dir, &error));
                    }
                }
            }
        }
        watched
    }

    /// Takes `dir` as no longer watched, so that it is watched anew when it is wanted; true when
    /// it was watched.
    pub(super) fn forget(&mut self, dir: &Path) -> bool {
        let was_watched = self.dirs.remove(dir);
        if was_watched {
            self.hub.unwatch(&self.inbox, dir);
        }
        was_watched
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for entry in &self.entries {
            self.hub.unfollow(&self.inbox, entry);
        }
        for dir in &self.dirs {
            self.hub.unwatch(&self.inbox, dir);
        }
    }
}

fn identity(dir: &Path) -> Option<Identity> {
    fs::metadata(dir).ok().map(|data| (data.dev(), data.ino()))
}

/// What differs after any ordinary change of the file at `path`.
pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    let modified = (data.mtime(), data.mtime_nsec());
    Some((data.ino(), data.size(), modified, (data.ctime(), data.ctime_nsec())))
}

/// Looks for what no event tells: a directory that was replaced by a rename further up, a file that
/// was written to by another name. Blocks, but not with the lock.
fn look_around(routes: &Mutex<Routes>) {
    let (dirs, entries): (Vec<_>, Vec<_>) = {
        let routes = lock(routes);
        (routes.dirs.keys().cloned().collect(), routes.entries.keys().cloned().collect())
    };
    for dir in dirs {
        let now = identity(&dir);
        match lock(routes).dirs.get_mut(&dir) {
            Some(route) if route.identity != now => route.replaced(&dir, now),
            _ => {}
        }
    }
    for entry in entries {
        let now = stamp(&entry);
        match lock(routes).entries.get_mut(&entry) {
            Some(route) if route.stamp != now => {
                route.stamp = now;
                route.followers.iter().for_each(|inbox| inbox.add(&entry, Touch::Open));
            }
            _ => {}
        }
    }
}

fn is_missing(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// What went wrong, what is done instead, and the command that mends it.
fn limit_message(dir: &Path, error: &notify::Error) -> String {
    let fix = "sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512";
    let dir = dir.display();
    if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) {
        format!(
            "failed to watch `{dir}`: the system's limit of file watches is reached; looking for \
             changes at intervals instead; `{fix}` raises the limit"
        )
    } else {
        format!("failed to watch `{dir}`: {error}; looking for changes at intervals instead")
    }
}

/// Leaves a hint with everyone who watches where `event` happened. Runs on the watcher's thread.
fn dispatch(routes: &Mutex<Routes>, event: notify::Result<Event>) {
    let routes = lock(routes);
    let lost = match &event {
        Ok(event) => event.flag() == Some(Flag::Rescan),
        // The watcher failed to read its queue: what it held is unknown.
        Err(_) => true,
    };
    if lost {
        let everybody = routes.dirs.values().flat_map(|dir| &dir.watchers);
        everybody.for_each(|inbox| inbox.add_rescan());
        return;
    }
    let Ok(event) = event else { return };
    let Some(touch) = touch_of(&event.kind) else { return };
    for path in &event.paths {
        let around = path.parent().and_then(|dir| routes.dirs.get(dir)).map(|dir| &dir.inside);
        let followers = routes.entries.get(path).map(|entry| &entry.followers);
        // A watched directory that is removed or renamed reports itself.
        let itself = routes.dirs.get(path).map(|dir| &dir.watchers);
        for inbox in around.into_iter().chain(followers).chain(itself).flatten() {
            inbox.add(path, touch);
        }
    }
}

/// What an event says about its paths; `None` for one that leaves content as it is.
fn touch_of(kind: &EventKind) -> Option<Touch> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Touch::Complete),
        // Our own reading makes such events, too.
        EventKind::Access(_) => None,
        EventKind::Create(_) => Some(Touch::Created),
        // On Linux it repeats the two halves that came before it.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) if TELLS_CLOSE => None,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Some(Touch::Complete),
        EventKind::Modify(ModifyKind::Metadata(_)) if TELLS_CLOSE => None,
        EventKind::Modify(_) if TELLS_CLOSE => Some(Touch::Open),
        EventKind::Modify(_) | EventKind::Any => Some(Touch::Complete),
        EventKind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn lost_events_make_everybody_look_everywhere() {
        let hub = Hub::new(true);
        let inbox = Arc::<Inbox>::default();
        let route = Dir { identity: None, watchers: vec![inbox.clone()], inside: Vec::new() };
        lock(&hub.routes).dirs.insert("/a".into(), route);
        dispatch(&hub.routes, Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(inbox.next()).rescan);
    }

    #[test]
    fn the_limit_message_names_the_command_that_raises_it() {
        let error = notify::Error::new(notify::ErrorKind::MaxFilesWatch);
        let message = limit_message(Path::new("/src"), &error);
        assert!(message.contains("`/src`"), "{message}");
        assert!(message.contains("sysctl fs.inotify.max_user_watches=524288"), "{message}");
    }

    #[test]
    fn the_lookout_ends_with_the_hub() {
        let hub = Hub::new(false);
        let routes = Arc::downgrade(&hub.routes);
        assert_eq!(routes.strong_count(), 3, "the hub, the watcher and the lookout");
        drop(hub);
        // Longer than anything but a lookout that goes on.
        let limit = Instant::now() + Duration::from_secs(60);
        while routes.strong_count() > 0 {
            assert!(Instant::now() < limit, "something still has the routes");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_watch_ends_with_its_last_subscription() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::new(false));
        let wanted: BTreeSet<_> = [dir.path().to_owned()].into();
        let mut one = Subscription::new(hub.clone());
        let mut two = Subscription::new(hub.clone());
        assert!(one.watch_only(&wanted).has_new);
        assert!(two.watch_only(&wanted).has_new);
        assert!(!two.watch_only(&wanted).has_new);
        drop(one);
        assert_eq!(lock(&hub.routes).dirs.len(), 1);
        drop(two);
        assert_eq!(lock(&hub.routes).dirs.len(), 0);
    }

    #[tokio::test]
    async fn a_follower_hears_of_its_own_entries_alone() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Arc::new(Hub::new(false));
        let entries: Vec<_> = ["a", "b"].map(|name| dir.path().join(name)).into();
        let [mut a, mut b] = [0, 1].map(|_| Subscription::new(hub.clone()));
        a.follow_only(&[entries[0].clone()].into());
        b.follow_only(&[entries[1].clone()].into());
        for entry in [&entries[1], &entries[0]] {
            fs::write(entry, "x").unwrap();
        }
        assert_eq!(a.inbox.next().await.paths.into_keys().collect::<Vec<_>>(), entries[..1]);
        assert_eq!(b.inbox.next().await.paths.into_keys().collect::<Vec<_>>(), entries[1..]);
        a.follow_only(&BTreeSet::new());
        drop(b);
        let routes = lock(&hub.routes);
        assert!(routes.dirs.is_empty() && routes.entries.is_empty());
    }

    #[tokio::test]
    async fn a_replaced_directory_is_noticed_without_an_event() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let hub = Arc::new(Hub::new(false));
        let mut subscription = Subscription::new(hub.clone());
        subscription.watch_only(&[inner.clone()].into());
        // What an event would have told is forgotten here, as if a directory above were renamed.
        lock(&hub.routes).dirs.get_mut(&inner).unwrap().identity = Some((0, 0));
        look_around(&hub.routes);
        assert!(subscription.inbox.next().await.paths.contains_key(&inner));
        assert!(subscription.forget(&inner));
        assert!(subscription.watch_only(&[inner].into()).has_new);
    }

    #[tokio::test]
    async fn a_file_that_is_written_by_another_name_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.wasm");
        fs::write(&file, "1").unwrap();
        fs::hard_link(&file, other.path().join("y.wasm")).unwrap();
        let hub = Arc::new(Hub::new(false));
        let mut subscription = Subscription::new(hub.clone());
        subscription.follow_only(&[file.clone()].into());
        fs::write(other.path().join("y.wasm"), "22").unwrap();
        look_around(&hub.routes);
        assert!(subscription.inbox.next().await.paths.contains_key(&file));
    }
}
