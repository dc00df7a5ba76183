//! Prepares the cache directory and clears it up, trusting nothing that it finds there.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::error::CacheUnavailable;
use super::scan;
use crate::files::{self, NotOwn, PRIVATE};
pub(super) use crate::files::{Found, open, read, sync_parent, temporary, write};

/// Whether the content of a directory can be ours alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Kept,
    /// Others could write to it until now.
    Lost,
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
