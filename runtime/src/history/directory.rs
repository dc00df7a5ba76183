//! The history's own directories: made and kept private, swept of what dead writers left.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::error::HistoryUnavailable;
use crate::files::{self, NotOwn, PRIVATE, TEMPORARY};

/// Makes `dir`, or checks that it is this user's, and takes all rights from others.
///
/// # Errors
///
/// [`HistoryUnavailable`] when it cannot be used.
pub(super) fn make_private(dir: &Path) -> Result<(), HistoryUnavailable> {
    let metadata = files::own_directory(dir).map_err(|problem| {
        let dir = dir.to_owned();
        match problem {
            NotOwn::Create(source) => HistoryUnavailable::Create { dir, source },
            NotOwn::NotADirectory(found) => HistoryUnavailable::NotPrivate { dir, found },
            NotOwn::Foreign { .. } => {
                HistoryUnavailable::NotPrivate { dir, found: "a directory of another user" }
            }
        }
    })?;
    let closed = if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(PRIVATE))
    } else {
        Ok(())
    };
    let usable = closed.and_then(|()| files::check_access(dir));
    usable.map_err(|source| HistoryUnavailable::ReadOnly { dir: dir.to_owned(), source })
}

/// Removes what writers that died have left in `dir`, which this process has locked: every file that
/// is being written would be its own.
pub(super) fn sweep(dir: &Path) {
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        if file.file_name().to_str().is_some_and(|it| it.starts_with(TEMPORARY)) {
            // It is tried again at the next start.
            let _ = fs::remove_file(file.path());
        }
    }
}
