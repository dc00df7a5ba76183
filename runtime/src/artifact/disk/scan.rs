//! Which files there are below the cache directory, and which of them are entries.

use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Bucket, EntryKind, EntryName, directory};
pub(super) use crate::files::TEMPORARY;
use crate::id::Digest;

/// Below it are the entries. Another number is another layout, which this one leaves alone.
const LAYOUT: &str = "v1";

/// Age of a file whose writer must have died: writing takes seconds.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// An entry as the file system knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryInfo {
    pub(crate) name: EntryName,
    /// Of the whole file.
    pub(crate) bytes: u64,
    /// Last use, to the minute.
    pub(crate) used: SystemTime,
}

/// The directories that every cache has, each after the one around it.
pub(super) fn folders(root: &Path) -> Vec<PathBuf> {
    let layout = root.join(LAYOUT);
    let kinds = EntryKind::ALL.map(|kind| layout.join(kind.folder()));
    std::iter::once(layout).chain(kinds).collect()
}

/// The directory of one bucket.
pub(super) fn folder(root: &Path, kind: EntryKind, bucket: Bucket) -> PathBuf {
    root.join(LAYOUT).join(kind.folder()).join(bucket.to_string())
}

/// Whether a file or directory of this name can be found in one of a cache's own directories.
pub(super) fn is_ours(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    name == "key"
        || name == LAYOUT
        || EntryKind::ALL.iter().any(|kind| kind.folder() == name)
        || Bucket::parse(name).is_some()
        || Digest::parse(name).is_some()
        || name.starts_with(TEMPORARY)
}

/// Every entry.
pub(super) fn all(root: &Path) -> Vec<EntryInfo> {
    buckets(root).flat_map(|(kind, bucket)| self::bucket(root, kind, bucket)).collect()
}

/// The entries of one bucket.
pub(super) fn bucket(root: &Path, kind: EntryKind, bucket: Bucket) -> Vec<EntryInfo> {
    let files = entries(&folder(root, kind, bucket));
    files
        .filter_map(|file| {
            let digest = Digest::parse(file.file_name().to_str()?)?;
            // Gone meanwhile, or a directory that somebody made: neither is an entry.
            let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
            Some(EntryInfo {
                name: EntryName { kind, bucket, digest },
                bytes: metadata.len(),
                used: metadata.modified().ok()?,
            })
        })
        .collect()
}

/// Removes what writers that died before `now` have left.
pub(super) fn sweep(root: &Path, now: SystemTime) {
    let folders = buckets(root).map(|(kind, bucket)| folder(root, kind, bucket));
    // The key is written at the top.
    for file in folders.chain([root.to_owned()]).flat_map(|folder| entries(&folder)) {
        let is_temporary = file.file_name().to_str().is_some_and(|it| it.starts_with(TEMPORARY));
        let modified = || file.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = || now.duration_since(modified()?).ok();
        if is_temporary && age().is_some_and(|age| age > ABANDONED) {
            directory::remove(&file.path());
        }
    }
}

fn buckets(root: &Path) -> impl Iterator<Item = (EntryKind, Bucket)> {
    let layout = root.join(LAYOUT);
    EntryKind::ALL.into_iter().flat_map(move |kind| {
        let found = entries(&layout.join(kind.folder()));
        found.filter_map(move |bucket| Some((kind, Bucket::parse(bucket.file_name().to_str()?)?)))
    })
}

/// What is in `folder`; nothing where it cannot be read, since a cache that is gone is empty.
fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}
