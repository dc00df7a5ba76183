//! Writes a file in the ways that editors and copy tools do.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a file gets its new content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteStyle {
    /// A complete temporary file beside it takes its name: most editors, compilers, `git`.
    Rename,
    /// Truncated, then written in one go: `cp`, a shell's `>`.
    InPlace,
    /// Truncated, then written piece by piece with a pause after each: a slow copy, a linker.
    InPieces {
        /// Bytes per piece.
        piece: usize,
        /// Pause after each piece.
        pause: Duration,
    },
    /// The original becomes `NAME~`, a new file is written, the backup goes: `vim` with backup.
    WithBackup,
}

impl WriteStyle {
    /// Every style once; eight pieces of 1 KiB with 5 ms between them stand for the slow one.
    pub const ALL: [Self; 4] = [
        Self::Rename,
        Self::InPlace,
        Self::InPieces { piece: 1024, pause: Duration::from_millis(5) },
        Self::WithBackup,
    ];

    /// Gives `path` the content `bytes` in this style; returns when the last step is done.
    ///
    /// # Errors
    ///
    /// Those of the file system; the file may then have any content.
    pub fn write(self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Rename => {
                let temporary = beside(path, ".", ".tmp");
                fs::write(&temporary, bytes)?;
                fs::rename(&temporary, path)
            }
            Self::InPlace => fs::write(path, bytes),
            Self::InPieces { piece, pause } => {
                let mut file = File::create(path)?;
                for piece in bytes.chunks(piece.max(1)) {
                    file.write_all(piece)?;
                    file.flush()?;
                    std::thread::sleep(pause);
                }
                Ok(())
            }
            Self::WithBackup => {
                let backup = beside(path, "", "~");
                match fs::rename(path, &backup) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
                fs::write(path, bytes)?;
                match fs::remove_file(&backup) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// The path of `path`'s sibling whose name has `prefix` and `suffix` around it.
fn beside(path: &Path, prefix: &str, suffix: &str) -> PathBuf {
    let mut name = OsString::from(prefix);
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_leaves_the_new_content_and_nothing_else() {
        for style in WriteStyle::ALL {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.rs");
            fs::write(&path, b"a much longer original than what follows").unwrap();
            style.write(&path, b"new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new", "{style:?}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "{style:?}");
        }
    }

    #[test]
    fn every_style_creates_a_missing_file() {
        for style in WriteStyle::ALL {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.rs");
            style.write(&path, b"new").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new", "{style:?}");
        }
    }
}
