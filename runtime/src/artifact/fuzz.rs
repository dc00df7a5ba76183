//! What the targets for fuzzing need of the cache's files and of components.

use super::disk::{self, Bucket, EntryKind, EntryName};
use super::{estimate, functions, kind, memo, survey};
use crate::id::Digest;

/// The bytes of a file as the cache entry of some name, which they pass for only where they were
/// sealed as that.
pub(crate) fn entry(bytes: &[u8]) {
    let digest = Digest::of(bytes);
    let name = EntryName { kind: EntryKind::Code, bucket: Bucket::new(7), digest };
    assert!(!disk::passes_unsealed(&name, bytes), "an entry was accepted that nobody sealed");
    assert!(disk::passes_sealed(&name, bytes), "an entry was refused that is as it was sealed");
}

/// The payload of an entry that was sealed: the memo of digests, or a segment of functions.
pub(crate) fn payloads(bytes: &[u8]) {
    memo::read_and_write(bytes);
    functions::read_and_write(bytes);
}

/// All that looks at a component before the compiler does.
pub(crate) fn inspect(bytes: &[u8]) {
    let _ = kind::not_a_component(bytes);
    if let Err(exceeded) = survey::survey(bytes) {
        assert!(exceeded.found > exceeded.limit);
    }
    let limit = 64 * 1024 * 1024;
    if let Some(heaviest) = estimate::above(limit, bytes) {
        assert!(heaviest.memory > limit);
    }
}
