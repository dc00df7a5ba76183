//! The content of a build's inputs at one moment, and what differs between two moments.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ignore::WalkBuilder;

use super::filter::{is_editor_temp, is_tool_dir};
use super::git::{self, Index};
use super::inputs::{Inputs, is_source};
use super::trail::trail;
use crate::id::Digest;

/// Age a file's metadata must have before "same metadata" is taken for "same content": file
/// systems stamp in steps of up to 10 ms (FAT and some network ones: 2 s), and two writes within
/// one step look alike.
const TRUSTED_AGE: Duration = Duration::from_secs(3);

/// Real paths with the digest of their content, or `None` where only that they exist counts.
pub(super) type Contents = BTreeMap<PathBuf, Option<Digest>>;

/// One input as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    pub(super) digest: Option<Digest>,
    pub(super) modified: SystemTime,
}

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
    index: Index,
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
        let mut snapshot = Self { index: before.index, ..Self::default() };
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
        for dir in &inputs.source_dirs {
            snapshot.walk_sources(inputs, &known, dir);
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

    /// The inputs whose content counts.
    pub(super) fn inputs(&self) -> Vec<Input> {
        let input = |(path, file): (&PathBuf, &File)| {
            let (digest, modified) = (file.digest, file.modified);
            digest.is_some().then(|| Input { path: path.clone(), digest, modified })
        };
        self.files.iter().filter_map(input).collect()
    }

    /// When `path` was last written, as its metadata says.
    pub(super) fn modified(&self, path: &Path) -> Option<SystemTime> {
        self.files.get(path).map(|file| file.modified)
    }

    /// Whether `path` is a directory that is there, and in which something may be an input.
    pub(super) fn looks_in(&self, path: &Path) -> bool {
        let is_around = |entry: &PathBuf| entry.parent() == Some(path);
        self.walked.contains(path) || self.entries.iter().any(is_around)
    }

    fn is_walked_entry(&self, path: &Path) -> bool {
        path.parent().is_some_and(|dir| self.walked.contains(dir))
    }

    /// Takes everything in `root` that git would track.
    fn walk(&mut self, inputs: &Inputs, known: &BTreeMap<PathBuf, File>, root: &Path) {
        let Some(root) = self.follow(root) else { return };
        // Git's rules end at the repository. Where there is none yet, those in the tree count.
        let work_tree = git::work_tree(&root);
        let mut walk = WalkBuilder::new(&root);
        walk.git_global(false).require_git(work_tree.is_some()).parents(work_tree.is_some());
        self.walk_with(inputs, known, walk, |path| inputs.counts_content(path).into());
        let Some(work_tree) = work_tree else { return };
        let is_new =
            |path: &&PathBuf| path.starts_with(&root) && !self.files.contains_key(path.as_path());
        let tracked = self.index.tracked(&work_tree).into_iter().flatten();
        let tracked: Vec<_> = tracked.filter(is_new).cloned().collect();
        let outputs = inputs.all_outputs();
        for path in tracked {
            // A tracked file is never ignored, whatever the rules say.
            if !is_left_out(&outputs, &root, &path)
                && path.is_file()
                && let Some(real) = self.follow(&path)
            {
                let counts = inputs.counts_content(&real);
                self.take(known, real, counts);
            }
        }
    }

    /// Takes the sources in `dir`, whatever git thinks of them.
    fn walk_sources(&mut self, inputs: &Inputs, known: &BTreeMap<PathBuf, File>, dir: &Path) {
        let Some(dir) = self.follow(dir) else { return };
        let mut walk = WalkBuilder::new(&dir);
        walk.git_global(false).git_ignore(false).git_exclude(false).parents(false);
        self.walk_with(inputs, known, walk, |path| {
            if is_source(path) { Take::Content } else { Take::Nothing }
        });
    }

    /// Takes the files that `walk` comes to as `how` says, and looks at each directory from then on.
    fn walk_with(
        &mut self,
        inputs: &Inputs,
        known: &BTreeMap<PathBuf, File>,
        mut walk: WalkBuilder,
        how: impl Fn(&Path) -> Take,
    ) {
        let outputs = inputs.all_outputs();
        // Hidden files may be inputs (`.cargo/config.toml`), and git tracks them. Rules of git only:
        // those of other tools are not the user's word on what is a source, and the user's own global
        // ones would take reading the environment.
        walk.hidden(false).ignore(false).follow_links(true);
        walk.filter_entry(move |entry| {
            let path = entry.path();
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            !(entry.depth() > 0
                && (outputs.contains(path)
                    || (is_dir && is_tool_dir(path))
                    || (!is_dir && is_editor_temp(entry.file_name()))))
        });
        let mut links = BTreeSet::new();
        // An entry that cannot be read, or a loop of links, is left out; the build will complain.
        for entry in walk.build().flatten() {
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
                Some(kind) if kind.is_file() => match how(&real) {
                    Take::Content => self.take(known, real, true),
                    Take::Presence => self.take(known, real, false),
                    Take::Nothing => {}
                },
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

/// What counts of a file.
enum Take {
    /// What it contains.
    Content,
    /// That it exists.
    Presence,
    Nothing,
}

impl From<bool> for Take {
    fn from(counts_content: bool) -> Self {
        if counts_content { Self::Content } else { Self::Presence }
    }
}

/// Whether `path`, somewhere in `root`, is among the `outputs`, belongs to a tool or is an editor's.
fn is_left_out(outputs: &BTreeSet<PathBuf>, root: &Path, path: &Path) -> bool {
    let inside = path.ancestors().skip(1).take_while(|dir| *dir != root);
    inside.into_iter().any(|dir| outputs.contains(dir) || is_tool_dir(dir))
        || outputs.contains(path)
        || is_editor_temp(path.file_name().unwrap_or_default())
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
