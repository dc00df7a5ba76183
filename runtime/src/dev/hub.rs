//! One file watcher for a whole session: watches directories, and sorts events to the handlers.
//!
//! Directories and never files, because an editor that saves by renaming leaves the watch of a file
//! on the old one. Watched by hand and never recursively, because `target/` alone would take
//! thousands of watches and wake us at every build.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use notify::event::{AccessKind, AccessMode, Flag, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::hints::{Inbox, Touch};
use super::session::lock;

/// Whether the system tells when a writer closes a file; elsewhere a write counts as complete.
const TELLS_CLOSE: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Who wants to hear about which directory.
type Routes = Arc<Mutex<HashMap<PathBuf, Vec<Arc<Inbox>>>>>;

/// The watcher that the handlers of a session share.
#[derive(Debug)]
pub(super) struct Hub {
    routes: Routes,
    /// `None` where polling takes its place from the start.
    watcher: Option<Mutex<RecommendedWatcher>>,
    has_told_limit: AtomicBool,
}

impl Hub {
    /// A hub without watches. With `poll`, or where the system gives no watcher, it stays without.
    pub(super) fn new(poll: bool) -> Self {
        let routes = Routes::default();
        let for_events = routes.clone();
        let watcher = (!poll)
            .then(|| notify::recommended_watcher(move |event| dispatch(&for_events, event)))
            .and_then(|watcher| {
                watcher.inspect_err(|error| tracing::debug!(%error, "no file watcher")).ok()
            });
        Self { routes, watcher: watcher.map(Mutex::new), has_told_limit: AtomicBool::new(false) }
    }

    /// Starts to watch `dir` for `inbox`. Blocks for a round trip to the watcher's thread.
    fn watch(&self, inbox: &Arc<Inbox>, dir: &Path) -> notify::Result<()> {
        let Some(watcher) = &self.watcher else { return Ok(()) };
        // The route comes first, so that no event finds nobody.
        lock(&self.routes).entry(dir.to_owned()).or_default().push(inbox.clone());
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

    /// Forgets one route to `inbox`; true when it was the last one of `dir`.
    fn unroute(&self, inbox: &Arc<Inbox>, dir: &Path) -> bool {
        let mut routes = lock(&self.routes);
        let Some(inboxes) = routes.get_mut(dir) else { return false };
        inboxes.retain(|other| !Arc::ptr_eq(other, inbox));
        let was_last = inboxes.is_empty();
        if was_last {
            routes.remove(dir);
        }
        was_last
    }
}

/// One handler's part in the [`Hub`]: the directories it watches.
#[derive(Debug)]
pub(super) struct Subscription {
    hub: Arc<Hub>,
    /// Where its hints arrive.
    pub(super) inbox: Arc<Inbox>,
    /// Each directory with the identity it had when the watch began.
    dirs: BTreeMap<PathBuf, Option<Identity>>,
    /// Whether some directory could not be watched, so that the owner must look at intervals.
    pub(super) is_polling: bool,
}

/// Device and inode.
type Identity = (u64, u64);

/// What [`Subscription::watch_only`] did.
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
        Self { hub, inbox: Arc::default(), dirs: BTreeMap::new(), is_polling }
    }

    /// Makes `wanted` the watched directories. Blocks.
    pub(super) fn watch_only(&mut self, wanted: &BTreeSet<PathBuf>) -> Watched {
        let mut watched = Watched::default();
        let unwanted = self.dirs.keys().filter(|dir| !wanted.contains(*dir)).cloned();
        for dir in unwanted.collect::<Vec<_>>() {
            self.forget(&dir);
        }
        for dir in wanted {
            if self.dirs.contains_key(dir) {
                continue;
            }
            match self.hub.watch(&self.inbox, dir) {
                Ok(()) => {
                    self.dirs.insert(dir.clone(), identity(dir));
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
        let was_watched = self.dirs.remove(dir).is_some();
        if was_watched {
            self.hub.unwatch(&self.inbox, dir);
        }
        was_watched
    }

    /// Forgets directories that are no longer what they were, which a rename further up brings
    /// about without any event; true when there were some. Blocks.
    pub(super) fn forget_replaced(&mut self) -> bool {
        let replaced = self.dirs.iter().filter(|(dir, was)| identity(dir) != **was);
        let replaced: Vec<_> = replaced.map(|(dir, _)| dir.clone()).collect();
        for dir in &replaced {
            self.forget(dir);
        }
        !replaced.is_empty()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for dir in self.dirs.keys() {
            self.hub.unwatch(&self.inbox, dir);
        }
    }
}

fn identity(dir: &Path) -> Option<Identity> {
    fs::metadata(dir).ok().map(|data| (data.dev(), data.ino()))
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
fn dispatch(routes: &Routes, event: notify::Result<Event>) {
    let routes = lock(routes);
    let lost = match &event {
        Ok(event) => event.flag() == Some(Flag::Rescan),
        // The watcher failed to read its queue: what it held is unknown.
        Err(_) => true,
    };
    if lost {
        routes.values().flatten().for_each(|inbox| inbox.add_rescan());
        return;
    }
    let Ok(event) = event else { return };
    let Some(touch) = touch_of(&event.kind) else { return };
    for path in &event.paths {
        let around = path.parent().and_then(|dir| routes.get(dir));
        // A watched directory that is removed or renamed reports itself.
        let itself = routes.get(path);
        for inbox in around.into_iter().chain(itself).flatten() {
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
    use super::*;

    #[test]
    fn lost_events_make_everybody_look_everywhere() {
        let hub = Hub::new(true);
        let inbox = Arc::<Inbox>::default();
        lock(&hub.routes).insert("/a".into(), vec![inbox.clone()]);
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
        assert_eq!(lock(&hub.routes).len(), 1);
        drop(two);
        assert_eq!(lock(&hub.routes).len(), 0);
    }

    #[test]
    fn a_replaced_directory_is_noticed_without_an_event() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let mut subscription = Subscription::new(Arc::new(Hub::new(false)));
        subscription.watch_only(&[inner.clone()].into());
        assert!(!subscription.forget_replaced());
        fs::rename(&inner, dir.path().join("old")).unwrap();
        fs::create_dir(&inner).unwrap();
        assert!(subscription.forget_replaced());
        assert!(subscription.watch_only(&[inner].into()).has_new);
    }
}
