//! The content of a build's inputs at one moment, and what differs between two moments.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ignore::WalkBuilder;

use super::filter::{is_editor_temp, is_tool_dir};
use super::inputs::Inputs;
use super::trail::trail;
use crate::id::Digest;

/// Age a file's metadata must have before "same metadata" is taken for "same content": file
/// systems stamp in steps of up to 10 ms (FAT and some network ones: 2 s), and two writes within
/// one step look alike.
const TRUSTED_AGE: Duration = Duration::from_secs(3);

/// Real paths with the digest of their content, or `None` where only that they exist counts.
pub(super) type Contents = BTreeMap<PathBuf, Option<Digest>>;

/// What an event's path means to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Concern {
    /// Nothing.
    None,
    /// The content of one known file.
    File,
    /// Which files there are.
    Tree,
}

/// What is known about the inputs.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    files: BTreeMap<PathBuf, File>,
    /// Real directories whose every entry may be an input.
    walked: BTreeSet<PathBuf>,
    /// Single entries that decide what some input is; see [`trail`].
    entries: BTreeSet<PathBuf>,
    /// Paths that had events and proved to be no inputs.
    noise: HashSet<PathBuf>,
}

#[derive(Debug, Clone)]
struct File {
    digest: Option<Digest>,
    stamp: Stamp,
    modified: SystemTime,
}

impl File {
    /// A file whose content does not count.
    const UNREAD: Self = Self { digest: None, stamp: None, modified: SystemTime::UNIX_EPOCH };
}

/// Metadata that no ordinary write leaves as it was; `None` for what is too young to tell.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

impl Snapshot {
    /// Looks at everything. Files whose metadata is as in `before` are not read again, unless
    /// `hinted` names them. Blocks.
    pub(super) fn scan(inputs: &Inputs, before: Self, hinted: &BTreeSet<PathBuf>) -> Self {
        let mut snapshot = Self::default();
        let mut known = before.files;
        known.retain(|path, _| !hinted.contains(path));
        // Single files first: their content counts wherever they are.
        for file in &inputs.files {
            if let Some(real) = snapshot.follow(file)
                && real.is_file()
            {
                snapshot.take(&known, real, true);
            }
        }
        for root in &inputs.roots {
            snapshot.walk(inputs, &known, root);
        }
        // A changed `.gitignore` may turn noise into inputs.
        if !hinted.iter().any(|path| path.file_name().is_some_and(|name| name == ".gitignore")) {
            snapshot.noise = before.noise;
            let is_noise =
                |path: &PathBuf| snapshot.concern(path) == Concern::Tree && path.exists();
            let more: Vec<_> = hinted
                .iter()
                .filter(|path| !snapshot.walked.contains(*path) && is_noise(path))
                .cloned()
                .collect();
            snapshot.noise.extend(more);
        }
        snapshot
    }

    /// Reads these known files again. Blocks.
    pub(super) fn reread<'a>(&mut self, paths: impl IntoIterator<Item = &'a PathBuf>) {
        for path in paths {
            let is_unread = self.files.get(path).is_some_and(|file| file.digest.is_none());
            let file = if is_unread { path.is_file().then_some(File::UNREAD) } else { read(path) };
            match file {
                Some(file) => self.files.insert(path.clone(), file),
                None => self.files.remove(path),
            };
        }
    }

    /// What an event at `path` means.
    pub(super) fn concern(&self, path: &Path) -> Concern {
        let name = path.file_name().unwrap_or_default();
        if name == ".gitignore" && self.is_walked_entry(path) {
            Concern::Tree
        } else if self.files.contains_key(path) {
            Concern::File
        } else if self.entries.contains(path) || self.walked.contains(path) {
            Concern::Tree
        } else if self.noise.contains(path) || is_editor_temp(name) || !self.is_walked_entry(path) {
            Concern::None
        } else {
            Concern::Tree
        }
    }

    /// The directories to watch.
    pub(super) fn dirs(&self) -> BTreeSet<PathBuf> {
        let around = self.entries.iter().filter_map(|entry| entry.parent().map(Path::to_owned));
        self.walked.iter().cloned().chain(around).collect()
    }

    /// The content, to compare and to keep.
    pub(super) fn contents(&self) -> Contents {
        self.files.iter().map(|(path, file)| (path.clone(), file.digest)).collect()
    }

    /// When `path` was last written, as its metadata says.
    pub(super) fn modified(&self, path: &Path) -> Option<SystemTime> {
        self.files.get(path).map(|file| file.modified)
    }

    fn is_walked_entry(&self, path: &Path) -> bool {
        path.parent().is_some_and(|dir| self.walked.contains(dir))
    }

    fn walk(&mut self, inputs: &Inputs, known: &BTreeMap<PathBuf, File>, root: &Path) {
        let Some(root) = self.follow(root) else { return };
        let outputs = inputs.all_outputs();
        let walk = WalkBuilder::new(&root)
            // Hidden files may be inputs (`.cargo/config.toml`), and git tracks them.
            .hidden(false)
            // Rules of git only, whether or not this is a repository already; the user's own
            // global rules would take reading the environment.
            .ignore(false)
            .git_global(false)
            .require_git(false)
            .follow_links(true)
            .filter_entry(move |entry| {
                let path = entry.path();
                let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
                !(entry.depth() > 0
                    && (outputs.contains(path)
                        || (is_dir && is_tool_dir(path))
                        || (!is_dir && is_editor_temp(entry.file_name()))))
            })
            .build();
        let mut links = BTreeSet::new();
        // An entry that cannot be read, or a loop of links, is left out; the build will complain.
        for entry in walk.flatten() {
            let path = entry.path();
            let mut real = path.to_owned();
            if entry.depth() > 0 && entry.path_is_symlink() {
                links.insert(path.to_owned());
            }
            if path.ancestors().any(|dir| links.contains(dir)) {
                let Some(followed) = self.follow(path) else { continue };
                real = followed;
            }
            match entry.file_type() {
                Some(kind) if kind.is_dir() => drop(self.walked.insert(real)),
                Some(kind) if kind.is_file() => {
                    let counts = inputs.counts_content(&real);
                    self.take(known, real, counts);
                }
                _ => {}
            }
        }
    }

    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let found = trail(path);
        self.entries.extend(found.entries);
        found.real
    }

    /// Takes `path` in, with its content where that counts.
    fn take(&mut self, known: &BTreeMap<PathBuf, File>, path: PathBuf, counts: bool) {
        if self.files.contains_key(&path) {
            return;
        }
        if !counts {
            self.files.insert(path, File::UNREAD);
            return;
        }
        let same = known.get(&path).filter(|file| {
            file.stamp.is_some()
                && fs::metadata(&path)
                    .is_ok_and(|data| stamp(&data, SystemTime::now()) == file.stamp)
        });
        if let Some(file) = same.cloned().or_else(|| read(&path)) {
            self.files.insert(path, file);
        }
    }
}

/// Reads one file; `None` when there is none, or none that can be read.
fn read(path: &Path) -> Option<File> {
    // The metadata comes first: a write in between is then one that the stamp does not cover.
    let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
    let stamp = stamp(&metadata, SystemTime::now());
    let digest = Some(Digest::of(&fs::read(path).ok()?));
    Some(File { digest, stamp, modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH) })
}

fn stamp(data: &Metadata, now: SystemTime) -> Stamp {
    // The time of the inode's change decides, because programs can set the other one.
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(data.ctime().max(0).unsigned_abs());
    let is_old = now.duration_since(changed).is_ok_and(|age| age > TRUSTED_AGE);
    is_old.then(|| {
        let times = (data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec());
        (data.dev(), data.ino(), data.size(), times.0, times.1, times.2, times.3)
    })
}

/// Paths whose content differs between `old` and `new`, in order.
pub(super) fn changed(old: &Contents, new: &Contents) -> Vec<PathBuf> {
    let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    paths.into_iter().filter(|path| old.get(*path) != new.get(*path)).cloned().collect()
}

/// Says in words what happened to `paths`, shown as `inputs` wants them.
pub(super) fn describe(inputs: &Inputs, old: &Contents, new: &Contents) -> String {
    let paths = changed(old, new);
    let Some(first) = paths.first() else { return "nothing changed".to_owned() };
    let verb = match (old.contains_key(first), new.contains_key(first)) {
        (false, _) => "was added",
        (_, false) => "was removed",
        _ => "changed",
    };
    let shown = inputs.shown(first);
    let shown = shown.display();
    match paths.len() - 1 {
        0 => format!("`{shown}` {verb}"),
        1 => format!("`{shown}` and 1 more file changed"),
        n => format!("`{shown}` and {n} more files changed"),
    }
}
