//! The key of the MACs: 32 random bytes in a file that only its owner can read.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::directory::{self, Found, Trust};
use super::error::CacheUnavailable;
use crate::artifact::fingerprint::Fingerprint;

/// Bytes of a key: as many as the MAC has, more add nothing.
const BYTES: usize = 32;

/// Bytes of a MAC.
pub(super) const MAC_BYTES: usize = 32;

/// Times that a key is read or made in turn. Two are enough unless somebody removes it meanwhile.
const ATTEMPTS: usize = 5;

/// A key, ready to compute with.
#[derive(Clone)]
pub(super) struct MacKey(hmac::Key);

impl MacKey {
    pub(super) fn new(bytes: [u8; BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// HMAC-SHA256 over `parts` as one text.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        let mut mac = hmac::Context::with_key(&self.0);
        for part in parts {
            mac.update(part);
        }
        let mut bytes = [0; MAC_BYTES];
        bytes.copy_from_slice(mac.sign().as_ref());
        bytes
    }

    /// Whether `mac` is the one over `text`. How much of a forged one is right does not show in the
    /// time that it takes.
    pub(super) fn verifies(&self, text: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, text, mac).is_ok()
    }
}

/// The file of the key, and what was read from it.
pub(super) struct KeyFile {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    key: MacKey,
    /// Of the file when it was read.
    fingerprint: Fingerprint,
}

impl KeyFile {
    /// Reads the key at `path`, or makes one; processes that do so at once get the same.
    ///
    /// # Errors
    ///
    /// [`CacheUnavailable::Key`] when it can be neither read nor made.
    pub(super) fn open(path: PathBuf, trust: Trust) -> Result<Self, CacheUnavailable> {
        if trust == Trust::Lost {
            // What others could write, they may have put there; the entries go with the key.
            directory::remove(&path);
        }
        match load_or_make(&path) {
            Ok(loaded) => Ok(Self { path, loaded: Mutex::new(loaded) }),
            Err(source) => Err(CacheUnavailable::Key { path, source }),
        }
    }

    /// The key that is in the file now. The directory may have been removed and made again by
    /// another process; two with different keys would remove each other's entries for good.
    pub(super) fn current(&self) -> MacKey {
        // A panic under the lock leaves a key and its fingerprint, or both as they were.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = fs::symlink_metadata(&self.path).map(|metadata| Fingerprint::of(&metadata));
        if !now.is_ok_and(|now| now == loaded.fingerprint) {
            match load_or_make(&self.path) {
                Ok(new) => *loaded = new,
                // The old one serves this process as well as before.
                Err(error) => tracing::debug!(%error, "failed to read the cache's key again"),
            }
        }
        loaded.key.clone()
    }
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn load_or_make(path: &Path) -> io::Result<Loaded> {
    for _ in 0..ATTEMPTS {
        if let Some(loaded) = load(path)? {
            return Ok(loaded);
        }
        make(path)?;
    }
    Err(io::Error::other("it is removed each time it is made"))
}

/// The key at `path`; one that cannot be a secret of ours is removed.
fn load(path: &Path) -> io::Result<Option<Loaded>> {
    let what = match directory::open(path)? {
        Found::Absent => return Ok(None),
        Found::Other(what) => what,
        Found::File { metadata, .. } if metadata.mode() & 0o077 != 0 => "others can read it",
        Found::File { file, metadata } => {
            let bytes = directory::read(&file, &metadata, BYTES as u64)?;
            match bytes.try_into() {
                Ok(bytes) => {
                    let fingerprint = Fingerprint::of(&metadata);
                    return Ok(Some(Loaded { key: MacKey::new(bytes), fingerprint }));
                }
                Err(_) => "it has another length",
            }
        }
    };
    tracing::debug!(path = %path.display(), why = what, "removed the cache's key");
    directory::remove(path);
    Ok(None)
}

/// Makes a key at `path`, whole from the start; one that is there already stays.
fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let mut file = directory::temporary(path)?;
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(file) => drop::<File>(file),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error.error),
    }
    directory::sync_parent(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_hmac_sha256() {
        // RFC 4231, test case 1, whose key of 20 bytes is filled up with zeros.
        let mut key = [0; BYTES];
        key[..20].fill(0x0b);
        let key = MacKey::new(key);
        let mac = key.mac(&[b"Hi ", b"There"]);
        let expected = [
            0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53, 0x5c, 0xa8, 0xaf, 0xce, 0xaf, 0x0b,
            0xf1, 0x2b, 0x88, 0x1d, 0xc2, 0x00, 0xc9, 0x83, 0x3d, 0xa7, 0x26, 0xe9, 0x37, 0x6c,
            0x2e, 0x32, 0xcf, 0xf7,
        ];
        assert_eq!(mac, expected);
        assert!(key.verifies(b"Hi There", &mac));
        assert!(!key.verifies(b"Hi There!", &mac));
        assert!(!key.verifies(b"Hi There", &mac[..16]), "a part of it is not enough");
    }
}
