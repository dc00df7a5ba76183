//! Writes files so that others see the one before or the whole new one, whatever happens meanwhile.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// How names of files begin that are being written, or were when their writer died.
pub(crate) const TEMPORARY: &str = ".new-";

/// Mode of directories that are made: what they hold is their owner's business.
pub(crate) const PRIVATE: u32 = 0o700;

/// Writes `parts` to `path`. The directory is made if it is missing.
///
/// # Errors
///
/// Those of the system; what was written is gone then.
pub(crate) fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = temporary(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    // Before the rename: after a power cut, the name must not lead to bytes that never arrived.
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_parent(path)
}

/// A new file in the directory of `path`, removed when it is dropped before it has its name. Its
/// mode is 0600, and nothing that exists is opened.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let parent = parent(path)?;
    let make = || tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(parent);
    match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(PRIVATE).create(parent)?;
            make()
        }
        result => result,
    }
}

/// Makes the names in the directory of `path` last.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(parent(path)?)?.sync_all()
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
