//! Reads the compiler's own list of the files that went into an artifact.
//!
//! It names what no rule of ours would find: a WIT folder elsewhere, an `include_str!` from outside
//! the package, generated sources that git ignores.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::events::Diagnostic;

/// The inputs of the artifact at `path` that are there, from the `.d` file beside it; none when there
/// is no such file. Blocks.
pub(super) fn inputs_of(artifact: &Path) -> BTreeSet<PathBuf> {
    // An absent list only means that such files are not watched.
    let text = fs::read_to_string(artifact.with_extension("d")).unwrap_or_default();
    parse(&text).into_iter().filter(|path| path.is_file()).collect()
}

/// How the compiler begins the name of a file that it could not read.
const UNREADABLE: &str = "couldn't read `";

/// The files that a failed build's `diagnostics` are about, as far as they are there, and those that
/// it missed: a build that fails leaves no list. The compiler names them from `workspace_root` on.
pub(super) fn named_in(diagnostics: &[Diagnostic], workspace_root: &Path) -> Vec<PathBuf> {
    let mut files = BTreeSet::new();
    for diagnostic in diagnostics.iter().filter(|one| one.level == "error") {
        let named = diagnostic.file.as_ref().map(|file| workspace_root.join(file));
        files.extend(named.filter(|path| path.is_file()));
        let missed = diagnostic.text.lines().filter_map(|line| {
            let (name, _) = line.split_once(UNREADABLE)?.1.split_once('`')?;
            Some(workspace_root.join(name))
        });
        files.extend(missed);
    }
    files.into_iter().collect()
}

/// Name of the file that a package or a workspace is described in.
const MANIFEST: &str = "Cargo.toml";

/// The manifests that cargo may want otherwise than they are, when it cannot even tell what it would
/// build in `dir`: those that `said` names, and those above. Cargo names some from `dir` on, with a
/// place in them (` --> ../shared/Cargo.toml:1:9`), and some in backquotes. Blocks.
pub(super) fn manifests_in(said: &str, dir: &Path) -> Vec<PathBuf> {
    // Cargo starts in the directory itself, whatever link led to it.
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let words = said.split(|c: char| c.is_whitespace() || c == '`');
    let named = words.filter_map(|word| {
        let (before, _) = word.split_once(MANIFEST)?;
        Some(dir.join(before).join(MANIFEST))
    });
    let above = dir.ancestors().skip(1).map(|dir| dir.join(MANIFEST));
    named.chain(above).collect()
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
    fn a_failed_build_names_what_it_read_and_what_it_missed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("there.rs"), "").unwrap();
        let diagnostic = |file: &str, text: &str| Diagnostic {
            level: "error".to_owned(),
            file: Some(file.to_owned()),
            line: Some(1),
            column: Some(1),
            text: text.to_owned(),
        };
        let diagnostics = [
            diagnostic("there.rs", "error: expected item"),
            diagnostic("<macro>", "error: couldn't read `a/src/../gen.txt`: No such file\n --> x"),
        ];
        let found = named_in(&diagnostics, dir.path());
        assert_eq!(found, ["a/src/../gen.txt", "there.rs"].map(|name| dir.path().join(name)));
    }

    #[test]
    fn manifests_are_found_however_cargo_names_them() {
        let said = "error: unclosed table, expected `]`\n --> ../shared/Cargo.toml:1:9\n\
                    referenced by workspace at `/w/Cargo.toml`\n  failed to read `/x/y/Cargo.toml`";
        let found = manifests_in(said, Path::new("/nowhere/w/a"));
        let expected = ["/nowhere/w/a/../shared", "/w", "/x/y", "/nowhere/w", "/nowhere", "/"];
        assert_eq!(found, expected.map(|dir| Path::new(dir).join("Cargo.toml")));
    }

    #[test]
    fn names_may_have_spaces() {
        let found = parse("/t/x.wasm: /p/src/lib.rs /p/my\\ files/a.wit\n");
        assert_eq!(found, ["/p/src/lib.rs", "/p/my files/a.wit"].map(PathBuf::from).into());
    }
}
