//! Reads the compiler's own list of the files that went into an artifact.
//!
//! It names what no rule of ours would find: a WIT folder elsewhere, an `include_str!` from outside
//! the package, generated sources that git ignores.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The inputs of the artifact at `path`, from the `.d` file beside it; none when there is none.
/// Blocks.
pub(super) fn inputs_of(artifact: &Path) -> BTreeSet<PathBuf> {
    // An absent list only means that such files are not watched.
    let text = fs::read_to_string(artifact.with_extension("d")).unwrap_or_default();
    parse(&text)
}

/// The prerequisites in a dep-info file of the form `artifact: input input …`.
fn parse(text: &str) -> BTreeSet<PathBuf> {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .flat_map(|(_, inputs)| split_escaped(inputs))
        .collect()
}

/// Splits at spaces, where `\ ` stands for a space that belongs to a name.
fn split_escaped(list: &str) -> Vec<PathBuf> {
    const SPACE_IN_NAME: &str = "\0";
    list.replace("\\ ", SPACE_IN_NAME)
        .split_whitespace()
        .map(|name| PathBuf::from(name.replace(SPACE_IN_NAME, " ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_have_spaces() {
        let found = parse("/t/x.wasm: /p/src/lib.rs /p/my\\ files/a.wit\n");
        assert_eq!(found, ["/p/src/lib.rs", "/p/my files/a.wit"].map(PathBuf::from).into());
    }
}
