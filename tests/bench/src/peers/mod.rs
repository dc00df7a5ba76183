//! What wrt is measured beside, one file per peer.

pub(crate) mod extism;
pub(crate) mod native;
