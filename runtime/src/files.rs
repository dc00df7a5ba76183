//! Files and directories of this user's own: written whole, trusted only when nobody else could.

#[cfg(test)]
pub(crate) mod killed;

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, OFlags};
use tempfile::NamedTempFile;

/// How names of files begin that are being written, or were when their writer died.
pub(crate) const TEMPORARY: &str = ".new-";

/// Mode of directories that are made: what they hold is their owner's business.
pub(crate) const PRIVATE: u32 = 0o700;

/// Why a directory is not this user's own.
pub(crate) enum NotOwn {
    /// It is missing, and it or one above it could not be made or looked at.
    Create(io::Error),
    /// It is something else, in words.
    NotADirectory(&'static str),
    /// It belongs to somebody else.
    Foreign { owner: u32, user: u32 },
}

/// What is at a path.
pub(crate) enum Found {
    Absent,
    /// A regular file of this user.
    File {
        file: File,
        metadata: Metadata,
    },
    /// Nothing that wrt made, in words.
    Other(&'static str),
}

/// Makes `dir`, or looks whether it is a directory of this user's; its mode is the caller's to judge.
/// Those above it are their owners' affair.
///
/// # Errors
///
/// [`NotOwn`].
pub(crate) fn own_directory(dir: &Path) -> Result<Metadata, NotOwn> {
    let metadata = match fs::symlink_metadata(dir) {
        Ok(metadata) => metadata,
        // Whatever else is wrong than that it is missing, this fails with it too.
        Err(_) => {
            DirBuilder::new().recursive(true).mode(PRIVATE).create(dir).map_err(NotOwn::Create)?;
            fs::symlink_metadata(dir).map_err(NotOwn::Create)?
        }
    };
    if metadata.is_symlink() {
        return Err(NotOwn::NotADirectory("a symbolic link"));
    }
    if !metadata.is_dir() {
        return Err(NotOwn::NotADirectory("no directory"));
    }
    let (owner, user) = (metadata.uid(), user());
    if owner != user {
        return Err(NotOwn::Foreign { owner, user });
    }
    Ok(metadata)
}

/// Who this process acts as.
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Opens the file at `path`, if it is a regular file of this user. Nothing else is waited for or read.
///
/// # Errors
///
/// Those of the system that say nothing about the file.
pub(crate) fn open(path: &Path) -> io::Result<Found> {
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

/// Opens the regular file that `path` leads to, whoever it belongs to. Nothing else is waited for or read.
///
/// # Errors
///
/// Those of the system, and what it is where it is something else.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    // Not waiting, because a pipe would keep the reader until somebody writes to it.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok((file, metadata))
}

/// The text that `reader` gives.
///
/// # Errors
///
/// Those of the system, and that there are more than `limit` bytes, or that they are no text.
pub(crate) fn text(reader: impl io::Read, limit: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("it has more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8"))
}

/// The whole content of `file`, or as much of it as shows that it is longer than its `metadata`
/// or `limit` say.
///
/// # Errors
///
/// Those of the system.
pub(crate) fn read(file: &File, metadata: &Metadata, limit: u64) -> io::Result<Vec<u8>> {
    let length = metadata.len().min(limit);
    // What does not fit in memory fails in the read.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Asks the system whether `dir` can be read and written to. It knows more than the mode: a file
/// system mounted read-only.
///
/// # Errors
///
/// What it says.
pub(crate) fn check_access(dir: &Path) -> io::Result<()> {
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    Ok(rustix::fs::accessat(CWD, dir, wanted, AtFlags::EACCESS)?)
}

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
