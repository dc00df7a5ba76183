//! The fingerprint of a file: what changes whenever its content does.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

/// A rename changes the inode, a write the rest. Change time is what `touch` and `cp -p` cannot set
/// back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    size: u64,
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    /// Bytes of [`encode`](Self::encode).
    pub(super) const BYTES: usize = 7 * 8;

    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            size: metadata.len(),
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Bytes of the file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Whether the file rested for at least `quiet` before `now`. A clock has steps, and a write in
    /// the same step as the one before leaves no trace here; nor does one in a time to come.
    pub(super) fn rested(&self, quiet: Duration, now: SystemTime) -> bool {
        let Ok(now) = now.duration_since(SystemTime::UNIX_EPOCH) else { return false };
        let Some(latest) = now.checked_sub(quiet) else { return false };
        let seconds = i64::try_from(latest.as_secs()).unwrap_or(i64::MAX);
        self.modified.max(self.changed) <= (seconds, i64::from(latest.subsec_nanos()))
    }

    /// A form that lasts.
    pub(super) fn encode(&self) -> [u8; Self::BYTES] {
        let ((modified, modified_nanos), (changed, changed_nanos)) = (self.modified, self.changed);
        let mut bytes = [0; Self::BYTES];
        let fields = [
            self.size.to_le_bytes(),
            self.device.to_le_bytes(),
            self.inode.to_le_bytes(),
            modified.to_le_bytes(),
            modified_nanos.to_le_bytes(),
            changed.to_le_bytes(),
            changed_nanos.to_le_bytes(),
        ];
        bytes.copy_from_slice(fields.as_flattened());
        bytes
    }

    /// What [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let (fields, _) = bytes.as_chunks::<8>();
        let at = |field: usize| u64::from_le_bytes(fields[field]);
        Self {
            size: at(0),
            device: at(1),
            inode: at(2),
            modified: (at(3).cast_signed(), at(4).cast_signed()),
            changed: (at(5).cast_signed(), at(6).cast_signed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &std::path::Path) -> Fingerprint {
        Fingerprint::of(&std::fs::metadata(path).unwrap())
    }

    #[test]
    fn a_fingerprint_lasts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let fingerprint = of(file.path());
        assert_eq!(Fingerprint::decode(&fingerprint.encode()), fingerprint);
        let before_1970 = Fingerprint { modified: (-5, 7), ..fingerprint };
        assert_eq!(Fingerprint::decode(&before_1970.encode()), before_1970);
    }

    #[test]
    fn another_file_with_the_same_content_and_time_has_another_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let (path, next) = (directory.path().join("a"), directory.path().join("b"));
        std::fs::write(&path, "same").unwrap();
        let before = of(&path);
        std::fs::write(&next, "same").unwrap();
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::File::open(&next).unwrap().set_modified(modified).unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_ne!(of(&path), before);
    }

    #[test]
    fn a_file_rests_when_neither_time_is_recent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let quiet = Duration::from_secs(3);
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let fingerprint = |modified, changed| Fingerprint {
            modified: (modified, 0),
            changed: (changed, 0),
            ..of(file.path())
        };
        assert!(fingerprint(100, 100).rested(quiet, at(103)));
        assert!(!fingerprint(100, 100).rested(quiet, at(102)));
        // Set back with `touch -d`, which the change time shows.
        assert!(!fingerprint(1, 102).rested(quiet, at(103)));
        assert!(!fingerprint(200, 100).rested(quiet, at(103)), "from a time to come");
        assert!(!fingerprint(0, 0).rested(quiet, at(1)));
    }
}
