//! Opens and reads below the cache directory, trusting nothing that it finds there.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::error::CacheUnavailable;
use super::scan;
use crate::files::{self, NotOwn, PRIVATE};
pub(super) use crate::files::{sync_parent, temporary, write};

/// Whether the content of a directory can be ours alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Kept,
    /// Others could write to it until now.
    Lost,
}

/// What is at a path.
pub(super) enum Found {
    Absent,
    /// A file of ours.
    File {
        file: File,
        metadata: Metadata,
    },
    /// Nothing that we made, in words.
    Other(&'static str),
}

/// Makes `dir` with what belongs into it, or checks that all of it is private.
///
/// # Errors
///
/// [`CacheUnavailable`] when it cannot be made, or is not ours alone to write to.
pub(super) fn prepare(dir: &Path) -> Result<Trust, CacheUnavailable> {
    let mut trust = make_private(dir)?;
    let folders = scan::folders(dir);
    for folder in &folders {
        if make_private(folder)? == Trust::Lost {
            trust = Trust::Lost;
        }
    }
    Ok(trust)
}

/// Makes or checks one directory.
fn make_private(dir: &Path) -> Result<Trust, CacheUnavailable> {
    let metadata = files::own_directory(dir).map_err(|problem| {
        let dir = dir.to_owned();
        match problem {
            NotOwn::Create(source) => CacheUnavailable::Create { dir, source },
            NotOwn::NotADirectory(found) => CacheUnavailable::NotADirectory { dir, found },
            NotOwn::Foreign { owner, user } => CacheUnavailable::ForeignOwner { dir, owner, user },
        }
    })?;
    let trust = if is_open(&metadata) {
        close(dir)?;
        Trust::Lost
    } else {
        Trust::Kept
    };
    files::check_access(dir)
        .map_err(|source| CacheUnavailable::ReadOnly { dir: dir.to_owned(), source })?;
    Ok(trust)
}

/// Takes the right to write from all but the owner, of a directory that is a cache and nothing else:
/// somebody who names `/tmp`, say, means a place below it.
fn close(dir: &Path) -> Result<(), CacheUnavailable> {
    let refused =
        |source| CacheUnavailable::OpenToOthers { dir: dir.to_owned(), source: Some(source) };
    for entry in fs::read_dir(dir).map_err(refused)? {
        if !scan::is_ours(&entry.map_err(refused)?.file_name()) {
            return Err(CacheUnavailable::OpenToOthers { dir: dir.to_owned(), source: None });
        }
    }
    fs::set_permissions(dir, Permissions::from_mode(PRIVATE)).map_err(refused)?;
    // Some file systems accept any mode and keep their own.
    if is_open(&fs::symlink_metadata(dir).map_err(refused)?) {
        return Err(CacheUnavailable::OpenToOthers { dir: dir.to_owned(), source: None });
    }
    Ok(())
}

fn is_open(metadata: &Metadata) -> bool {
    metadata.mode() & 0o022 != 0
}

/// Who this process acts as.
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens the file at `path`, if it is one of ours.
///
/// # Errors
///
/// Those of the system that say nothing about the file.
pub(super) fn open(path: &Path) -> io::Result<Found> {
    // Not waiting, because a planted pipe would keep the reader until somebody writes to it.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file =
        match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Absent),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Ok(Found::Other("it is a symbolic link"));
            }
            Err(error) => return Err(error),
        };
    let metadata = file.metadata()?;
    Ok(if !metadata.is_file() {
        Found::Other("it is no regular file")
    } else if metadata.uid() != user() {
        Found::Other("it belongs to another user")
    } else {
        Found::File { file, metadata }
    })
}

/// The whole content of `file`, or as much of it as shows that it is longer than its `metadata`
/// or `limit` say.
///
/// # Errors
///
/// Those of the system.
pub(super) fn read(file: &File, metadata: &Metadata, limit: u64) -> io::Result<Vec<u8>> {
    let length = metadata.len().min(limit);
    // What does not fit in memory fails in the read.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes what is at `path`. Failure is told to nobody but the log: whoever finds the same thing
/// again does the same again.
pub(super) fn remove(path: &Path) {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    let removed = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(%error, path = %path.display(), "failed to remove from the cache");
        }
        _ => {}
    }
}
