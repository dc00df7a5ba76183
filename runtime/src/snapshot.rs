//! A snapshot: the state of a long-lived instance on its way to the next generation.

/// See the [module](self). What is in it, only the handler knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The shape of the payload, in the handler's words.
    pub(crate) schema: String,
    /// The shape's number in the handler's history.
    pub(crate) version: u32,
    pub(crate) payload: Vec<u8>,
}

impl Snapshot {
    /// Bytes that a hand-over counts.
    pub(crate) fn bytes(&self) -> u64 {
        self.payload.len() as u64 + self.schema.len() as u64
    }
}

/// How a snapshot was taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// As it was.
    Carried,
    /// By the handler's own migration.
    Migrated,
}

/// What a handler's ready form keeps between calls that a swap has to care for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeps {
    /// Nothing that a call could notice.
    Nothing,
    /// The memory of one long-lived instance, which it cannot hand over.
    Memory,
    /// The memory of one long-lived instance, which it can hand over.
    State,
}
