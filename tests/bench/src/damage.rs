//! Damages files as disks, crashes and attackers do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use fastrand::Rng;

use crate::work;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Damage {
    /// One bit is another.
    Bit,
    /// Its end is missing.
    Cut,
    /// It is there, with nothing in it.
    Empty,
    /// Something follows its end.
    Longer,
    /// A page of it is zeros: written, and lost by the disk.
    Zeros,
    /// A page of it is anything.
    Noise,
    /// It is a good file with another one's name.
    Other,
}

impl Damage {
    pub(crate) const ALL: [Self; 7] =
        [Self::Bit, Self::Cut, Self::Empty, Self::Longer, Self::Zeros, Self::Noise, Self::Other];

    /// `bytes` after it, at a random place; never the same as before. `other` is a different file's
    /// content.
    pub(crate) fn of(self, bytes: &[u8], other: &[u8], random: &mut Rng) -> Vec<u8> {
        /// A page of a file system.
        const PAGE: usize = 4096;
        let mut damaged = bytes.to_vec();
        let at = random.usize(..bytes.len().max(1));
        let page = at..bytes.len().min(at + PAGE);
        match self {
            Self::Bit => {}
            Self::Cut => damaged.truncate(at),
            Self::Empty => damaged.clear(),
            Self::Longer => damaged.extend((0..=at % PAGE).map(|_| random.u8(..))),
            Self::Zeros => damaged[page].fill(0),
            Self::Noise => damaged[page].fill_with(|| random.u8(..)),
            Self::Other => damaged = other.to_vec(),
        }
        if damaged == bytes {
            // The chosen bit, or one that was zero already among zeros.
            match damaged.get_mut(at) {
                Some(byte) => *byte ^= 1 << random.u8(..8),
                None => damaged.push(0),
            }
        }
        damaged
    }
}

/// Damages the file at `path`, where it stands; `files` are those it can be taken for.
pub(crate) fn damage(path: &Path, files: &[PathBuf], random: &mut Rng) -> Result<Damage> {
    let damage = random.choice(Damage::ALL).unwrap_or(Damage::Bit);
    let other = random.choice(files).map_or(path, PathBuf::as_path);
    let damaged = damage.of(&work::read(path)?, &work::read(other)?, random);
    work::write(path, damaged)?;
    Ok(damage)
}

/// Every file below `directory`, sorted; none when there is no such directory.
pub(crate) fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![];
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                let path = directory.display();
                return Err(error).with_context(|| format!("failed to list `{path}`"));
            }
        };
        for entry in entries {
            let entry =
                entry.with_context(|| format!("failed to list `{}`", directory.display()))?;
            let is_directory = entry.file_type().is_ok_and(|it| it.is_dir());
            if is_directory { &mut directories } else { &mut files }.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_bytes_are_never_the_same() {
        let mut random = Rng::with_seed(1);
        for bytes in [&b""[..], &[0; 10_000], &[7; 100]] {
            for damage in Damage::ALL {
                for _ in 0..50 {
                    assert_ne!(damage.of(bytes, bytes, &mut random), bytes, "{damage:?}");
                }
            }
        }
    }

    #[test]
    fn all_files_below_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        for name in ["a/b/one", "two"] {
            fs::write(path(name), "x").unwrap();
        }
        assert_eq!(files(directory.path()).unwrap(), [path("a/b/one"), path("two")]);
        assert!(files(&path("missing")).unwrap().is_empty());
    }
}
