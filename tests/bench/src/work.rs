//! Where the benchmarks keep what takes long to make, from one run to the next.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use wrt_test_support::guests;

/// The directory `name` of the benchmarks in the target directory, made if need be.
pub(crate) fn directory(name: &str) -> Result<PathBuf> {
    let path = guests::target_dir().join("bench-work").join(name);
    fs::create_dir_all(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
    Ok(path)
}

/// Reads a file that names itself in the error.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))
}

/// Writes a file that names itself in the error.
pub(crate) fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("failed to write `{}`", path.display()))
}
