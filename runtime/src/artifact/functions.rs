//! Compiled functions on disk: what one process compiled, the next one need not.

use std::sync::Arc;

use super::disk::{Bucket, CacheWriteError, DiskCache, EntryInfo, EntryKind, EntryName, Verified};
use crate::engine::{FunctionCache, KeyedCode};
use crate::id::Digest;

/// Bytes of one segment at most, so that saving holds no more than that twice.
const SEGMENT_BYTES: usize = 32 * 1024 * 1024;

/// Segments that are left alone. Each save makes one; reading a few dozen costs no more than
/// reading their bytes.
const MAX_SEGMENTS: usize = 32;

/// Largest segment that is merged with others: above it, there is little to win by copying it.
const SMALL_BYTES: u64 = SEGMENT_BYTES as u64 / 4;

/// First bytes of a segment; another form gets another number.
const FORMAT: [u8; 4] = 1u32.to_le_bytes();

/// Saves what a [`FunctionCache`] gains, and fills it again. Every method blocks.
#[derive(Debug, Clone)]
pub(crate) struct FunctionStore {
    disk: DiskCache,
    functions: Arc<FunctionCache>,
    bucket: Bucket,
}

impl FunctionStore {
    /// A store of `functions`, all of which are of the engine that `bucket` stands for.
    pub(crate) fn new(disk: DiskCache, functions: Arc<FunctionCache>, bucket: Bucket) -> Self {
        Self { disk, functions, bucket }
    }

    /// Fills the functions from the disk, the newest first, until their budget is used.
    pub(crate) fn load(&self) {
        let mut read = Vec::new();
        for segment in self.segments() {
            let Some(verified) = self.disk.peek(&segment.name) else { continue };
            read.push(segment.name);
            if !self.functions.fill(decode(verified.payload()).unwrap_or_default()) {
                break;
            }
        }
        // Used all at once, and still newest first the next time.
        for name in read.iter().rev() {
            self.disk.touch(name);
        }
    }

    /// Saves the functions that are not saved yet, and merges segments when they have become many.
    ///
    /// # Errors
    ///
    /// [`CacheWriteError`]; the functions are in memory only then, and not tried again.
    pub(crate) fn save(&self, is_pinned: &dyn Fn(&Digest) -> bool) -> Result<(), CacheWriteError> {
        let unsaved = self.functions.take_unsaved();
        if unsaved.is_empty() {
            return Ok(());
        }
        for functions in chunks(&unsaved) {
            self.write(functions.iter().map(|(key, code)| (&**key, &**code)), is_pinned)?;
        }
        self.merge(is_pinned)
    }

    /// Puts the smallest segments into one when there are too many. Whoever does the same at the
    /// same time makes a copy of some functions, which a later merge finds.
    fn merge(&self, is_pinned: &dyn Fn(&Digest) -> bool) -> Result<(), CacheWriteError> {
        let mut segments = self.segments();
        if segments.len() <= MAX_SEGMENTS {
            return Ok(());
        }
        segments.retain(|segment| segment.bytes <= SMALL_BYTES);
        segments.sort_by_key(|segment| segment.bytes);
        let mut bytes = 0;
        segments.retain(|segment| {
            bytes += segment.bytes;
            bytes <= SEGMENT_BYTES as u64
        });
        let read: Vec<Verified> =
            segments.iter().filter_map(|segment| self.disk.peek(&segment.name)).collect();
        if read.len() < 2 {
            return Ok(());
        }
        let functions = read.iter().flat_map(|it| decode(it.payload()).unwrap_or_default());
        let merged = self.write(functions, is_pinned)?;
        // Only what was read, all of which is in the merged one now; that may be one of them.
        for name in read.iter().map(Verified::name).filter(|name| **name != merged) {
            self.disk.remove(name);
        }
        Ok(())
    }

    fn write<'a>(
        &self,
        functions: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        is_pinned: &dyn Fn(&Digest) -> bool,
    ) -> Result<EntryName, CacheWriteError> {
        let segment = encode(functions);
        let name = self.name(Digest::of(&segment));
        self.disk.write(&name, &segment, is_pinned)?;
        Ok(name)
    }

    fn name(&self, digest: Digest) -> EntryName {
        EntryName { kind: EntryKind::Functions, bucket: self.bucket, digest }
    }

    /// Newest first.
    fn segments(&self) -> Vec<EntryInfo> {
        let mut segments = self.disk.list_bucket(EntryKind::Functions, self.bucket);
        segments.sort_by_key(|segment| std::cmp::Reverse(segment.used));
        segments
    }
}

/// `functions` in pieces of [`SEGMENT_BYTES`] or one function.
fn chunks(functions: &[KeyedCode]) -> impl Iterator<Item = &[KeyedCode]> {
    let mut bytes = 0;
    functions.chunk_by(move |(key, code), (next_key, next_code)| {
        bytes += key.len() + code.len();
        let fits = bytes + next_key.len() + next_code.len() <= SEGMENT_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

/// For each function the lengths of key and code, and both. In the order of the keys and each once,
/// so that the same functions have the same digest.
fn encode<'a>(functions: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut functions: Vec<_> = functions.collect();
    functions.sort_unstable();
    functions.dedup_by_key(|(key, _)| *key);
    let bytes = functions.iter().map(|(key, code)| 8 + key.len() + code.len()).sum::<usize>();
    let mut segment = Vec::with_capacity(FORMAT.len() + bytes);
    segment.extend_from_slice(&FORMAT);
    for (key, code) in functions {
        // A function of 4 GiB does not exist: WebAssembly's own limit is below 8 MiB.
        let lengths = (u32::try_from(key.len()), u32::try_from(code.len()));
        let (Ok(key_length), Ok(code_length)) = lengths else { continue };
        segment.extend_from_slice(&key_length.to_le_bytes());
        segment.extend_from_slice(&code_length.to_le_bytes());
        segment.extend_from_slice(key);
        segment.extend_from_slice(code);
    }
    segment
}

/// What [`encode`] wrote; `None` for anything else.
fn decode(segment: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut rest = segment.strip_prefix(&FORMAT)?;
    let mut functions = Vec::new();
    while !rest.is_empty() {
        let (key_length, after) = length(rest)?;
        let (code_length, after) = length(after)?;
        let (key, after) = after.split_at_checked(key_length)?;
        let (code, after) = after.split_at_checked(code_length)?;
        functions.push((key, code));
        rest = after;
    }
    Some(functions)
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, rest))
}

/// Reads `bytes` as a segment; what could be read is written so that it reads the same again.
#[cfg(any(feature = "fuzz", all(test, feature = "admin", feature = "dev")))]
pub(super) fn read_and_write(bytes: &[u8]) {
    if let Some(functions) = decode(bytes) {
        let written = encode(functions.into_iter());
        let again = decode(&written).expect("a segment that was written can be read");
        assert_eq!(encode(again.into_iter()), written, "a segment was written as another");
    }
}

#[cfg(test)]
mod tests;
