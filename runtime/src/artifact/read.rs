//! Stable read: the bytes of one version of a file, never a mixture of two.

use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use super::compile::MAX_BYTES;
use super::fingerprint::Fingerprint;
use crate::error::StageError;

/// Reads of a file that keeps changing before it is given up; with [`PAUSE`] between them a writer
/// gets two seconds. Whoever watches the file asks again at the next change.
const ATTEMPTS: u32 = 40;

/// Pause between two reads, long enough for a writer to make progress.
const PAUSE: Duration = Duration::from_millis(50);

/// Reads `path` until a whole read saw no change of the file. Blocks.
///
/// # Errors
///
/// [`StageError::Read`] when it cannot be read or is no regular file, [`StageError::TooLarge`] when no
/// component is as large, [`StageError::KeptChanging`] when it never rested.
pub(super) fn stable(path: &Path) -> Result<Vec<u8>, StageError> {
    Ok(stable_version(path)?.0)
}

/// [`stable`], with the fingerprint of the file whose bytes these are.
///
/// # Errors
///
/// Those of [`stable`].
pub(super) fn stable_version(path: &Path) -> Result<(Vec<u8>, Fingerprint), StageError> {
    let failed = |unread| match unread {
        Unread::TooLarge(bytes) => StageError::TooLarge { bytes, limit: MAX_BYTES },
        Unread::Failed(source) => StageError::Read { path: path.to_owned(), source },
    };
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        if let Some(version) = once(path).map_err(failed)? {
            return Ok(version);
        }
    }
    Err(StageError::KeptChanging { path: path.to_owned(), attempts: ATTEMPTS })
}

/// Why a file was not read.
enum Unread {
    /// It has this many bytes.
    TooLarge(u64),
    Failed(io::Error),
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// One read; `None` when the file changed meanwhile.
fn once(path: &Path) -> Result<Option<(Vec<u8>, Fingerprint)>, Unread> {
    let (file, before) = crate::files::open_regular(path)?;
    if before.len() > MAX_BYTES {
        return Err(Unread::TooLarge(before.len()));
    }
    // Within the bound for components, so the size fits.
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0));
    // One more byte shows that the file has grown.
    (&file).take(before.len() + 1).read_to_end(&mut bytes)?;
    let before = Fingerprint::of(&before);
    let unchanged = before == Fingerprint::of(&file.metadata()?)
        // Looked up again by name: a rename leaves the open file as it was.
        && before == Fingerprint::of(&std::fs::metadata(path)?)
        && before.size() == bytes.len() as u64;
    Ok(unchanged.then_some((bytes, before)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_missing_file_names_its_path() {
        let error = stable(Path::new("no/such.wasm")).unwrap_err();
        assert_eq!(error.to_string(), "failed to read `no/such.wasm`");
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused_unread() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wasm");
        let refusal = |path: &Path| crate::error::chain(&stable(path).unwrap_err());
        // Endless, and a pipe that nobody writes to.
        assert!(refusal(Path::new("/dev/zero")).ends_with("it is no regular file"));
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        assert!(refusal(&path).ends_with("it is no regular file"));
        assert!(refusal(directory.path()).ends_with("it is a directory"));
        std::fs::remove_file(&path).unwrap();
        std::fs::File::create(&path).unwrap().set_len(100 << 30).unwrap();
        let error = stable(&path).unwrap_err();
        assert!(matches!(error, StageError::TooLarge { limit: MAX_BYTES, .. }), "{error:?}");
    }

    #[test]
    fn reads_of_a_file_that_is_replaced_all_the_time_see_whole_versions() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wasm");
        let version = |byte: u8| vec![byte; 200_000];
        std::fs::write(&path, version(0)).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0u8.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let next = directory.path().join("next");
                    std::fs::write(&next, version(round)).unwrap();
                    std::fs::rename(&next, &path).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            for _ in 0..50 {
                let bytes = stable(&path).unwrap();
                assert_eq!(bytes.len(), 200_000);
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "two versions were mixed");
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_file_that_grows_is_read_when_it_rests() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.wasm");
        std::fs::write(&path, b"").unwrap();
        std::thread::scope(|scope| {
            use std::io::Write as _;
            let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            scope.spawn(move || {
                for _ in 0..100 {
                    file.write_all(&[7; 1000]).unwrap();
                }
            });
            // Whatever is returned was the whole file at one moment: a multiple of one write.
            assert_eq!(stable(&path).unwrap().len() % 1000, 0);
        });
    }
}
