//! The bytes of an entry: header, payload, MAC. Pure.

use super::EntryName;
use super::key::{MAC_BYTES, MacKey};

/// First bytes of every entry.
const MAGIC: [u8; 8] = *b"wrtcache";

/// Changes whenever the meaning of a header or of any payload does; the entries before then go.
const FORMAT: u32 = 1;

/// Magic, format, kind, bucket, digest and payload length.
pub(super) const HEADER: usize = MAGIC.len() + 4 + 4 + 8 + 32 + 8;

/// Bytes of an entry besides its payload.
pub(super) const OVERHEAD: usize = HEADER + MAC_BYTES;

/// Largest entry that is read into memory, whatever the budget. Code is some ten times as large as its component, of
/// which 256 MiB are compiled at most; what is above was not written by anybody in earnest.
pub(super) const MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// An entry that is as it was written by somebody with the key: the proof that whoever loads
/// compiled code asks for. The bytes are in memory, where no other process changes them.
pub(crate) struct Verified {
    name: EntryName,
    bytes: Vec<u8>,
}

impl Verified {
    /// What it was read as, and written as.
    pub(crate) fn name(&self) -> &EntryName {
        &self.name
    }

    /// What was written.
    pub(crate) fn payload(&self) -> &[u8] {
        // Not shorter than what is around it, or it had not been verified.
        &self.bytes[HEADER..self.bytes.len() - MAC_BYTES]
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What stands before and after `payload` in the entry of that name.
pub(super) fn seal(
    key: &MacKey,
    name: &EntryName,
    payload: &[u8],
) -> ([u8; HEADER], [u8; MAC_BYTES]) {
    let header = header(name, payload.len());
    let mac = key.mac(&[&header, payload]);
    (header, mac)
}

/// Checks that `bytes` are the entry of that name, or says what is wrong with them.
pub(super) fn verify(
    key: &MacKey,
    name: &EntryName,
    bytes: Vec<u8>,
) -> Result<Verified, &'static str> {
    let Some(payload) = bytes.len().checked_sub(OVERHEAD) else {
        return Err("it is too short");
    };
    let (sealed, mac) = bytes.split_at(HEADER + payload);
    // There is one header that this name and this length can have, so nothing has to be parsed.
    if !sealed.starts_with(&header(name, payload)) {
        return Err("it has another header");
    }
    if !key.verifies(sealed, mac) {
        return Err("its MAC is wrong");
    }
    Ok(Verified { name: *name, bytes })
}

/// Whether `head` is the header of an entry of that name whose file has `length` bytes.
pub(super) fn begins(name: &EntryName, length: u64, head: &[u8; HEADER]) -> bool {
    let payload = length.checked_sub(OVERHEAD as u64).and_then(|it| usize::try_from(it).ok());
    payload.is_some_and(|payload| header(name, payload) == *head)
}

fn header(name: &EntryName, payload: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut rest = &mut header[..];
    let mut put = |bytes: &[u8]| {
        let (here, after) = std::mem::take(&mut rest).split_at_mut(bytes.len());
        here.copy_from_slice(bytes);
        rest = after;
    };
    put(&MAGIC);
    put(&FORMAT.to_le_bytes());
    put(&name.kind.number().to_le_bytes());
    put(&name.bucket.0.to_le_bytes());
    put(name.digest.as_bytes());
    put(&(payload as u64).to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::super::{Bucket, EntryKind};
    use super::*;
    use crate::id::Digest;

    fn name() -> EntryName {
        EntryName { kind: EntryKind::Code, bucket: Bucket::new(7), digest: Digest::of(b"a") }
    }

    fn entry(key: &MacKey, name: &EntryName, payload: &[u8]) -> Vec<u8> {
        let (header, mac) = seal(key, name, payload);
        [&header[..], payload, &mac].concat()
    }

    #[test]
    fn an_entry_is_what_was_written() {
        let key = MacKey::new([1; 32]);
        for payload in [&b""[..], b"x", &[7; 10_000]] {
            let verified = verify(&key, &name(), entry(&key, &name(), payload)).unwrap();
            assert_eq!(verified.payload(), payload);
            assert_eq!(*verified.name(), name());
        }
    }

    #[test]
    fn the_form_of_a_header_is_fixed() {
        let entry = entry(&MacKey::new([0; 32]), &name(), b"payload");
        let digest = Digest::of(b"a");
        let expected = [
            &b"wrtcache\x01\0\0\0\x01\0\0\0\x07\0\0\0\0\0\0\0"[..],
            digest.as_bytes(),
            b"\x07\0\0\0\0\0\0\0",
        ];
        assert_eq!(entry[..HEADER], expected.concat());
        assert_eq!(entry.len(), OVERHEAD + 7);
    }

    #[test]
    fn every_single_bit_matters() {
        let key = MacKey::new([1; 32]);
        let good = entry(&key, &name(), b"some code");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(verify(&key, &name(), bad).is_err(), "bit {bit} does not matter");
        }
    }

    #[test]
    fn every_length_matters() {
        let key = MacKey::new([1; 32]);
        let good = entry(&key, &name(), b"some code");
        for length in 0..good.len() {
            assert!(verify(&key, &name(), good[..length].to_vec()).is_err(), "{length} are enough");
        }
        let longer = [&good[..], b"\0"].concat();
        assert!(verify(&key, &name(), longer).is_err());
    }

    #[test]
    fn an_entry_passes_for_no_other_and_under_no_other_key() {
        let key = MacKey::new([1; 32]);
        let good = entry(&key, &name(), b"some code");
        let others = [
            EntryName { kind: EntryKind::Functions, ..name() },
            EntryName { bucket: Bucket::new(8), ..name() },
            EntryName { digest: Digest::of(b"b"), ..name() },
        ];
        for other in others {
            assert!(verify(&key, &other, good.clone()).is_err(), "passes for {other:?}");
        }
        assert!(verify(&MacKey::new([2; 32]), &name(), good).is_err());
    }
}
