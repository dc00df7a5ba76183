//! Tests of the cache directory.
