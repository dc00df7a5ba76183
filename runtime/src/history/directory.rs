//! The history's own directories: made and kept private, swept of what dead writers left.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{Access, AtFlags, CWD};

use super::error::HistoryUnavailable;
use crate::files::{PRIVATE, TEMPORARY};

/// Age of a file whose writer must have died: writing takes seconds.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Makes `dir`, or checks that it is this user's, and takes all rights from others.
///
/// # Errors
///
/// [`HistoryUnavailable`] when it cannot be used.
pub(super) fn make_private(dir: &Path) -> Result<(), HistoryUnavailable> {
    let created = |source| HistoryUnavailable::Create { dir: dir.to_owned(), source };
    let refused = |found| HistoryUnavailable::NotPrivate { dir: dir.to_owned(), found };
    let metadata = match fs::symlink_metadata(dir) {
        Ok(metadata) => metadata,
        // Whatever else is wrong than that it is missing, this fails with it too.
        Err(_) => {
            DirBuilder::new().recursive(true).mode(PRIVATE).create(dir).map_err(created)?;
            fs::symlink_metadata(dir).map_err(created)?
        }
    };
    if metadata.is_symlink() {
        return Err(refused("a symbolic link"));
    }
    if !metadata.is_dir() {
        return Err(refused("no directory"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("a directory of another user"));
    }
    let read_only =
        |source: io::Error| HistoryUnavailable::ReadOnly { dir: dir.to_owned(), source };
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(PRIVATE)).map_err(read_only)?;
    }
    // Asked of the system, which knows more than the mode: a file system mounted read-only.
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    rustix::fs::accessat(CWD, dir, wanted, AtFlags::EACCESS)
        .map_err(|source| read_only(source.into()))
}

/// Removes what writers that died before `now` have left in `dir`.
pub(super) fn sweep(dir: &Path, now: SystemTime) {
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_temporary = file.file_name().to_str().is_some_and(|it| it.starts_with(TEMPORARY));
        let modified = || file.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = || now.duration_since(modified()?).ok();
        if is_temporary && age().is_some_and(|age| age > ABANDONED) {
            // It is tried again at the next start.
            let _ = fs::remove_file(file.path());
        }
    }
}
