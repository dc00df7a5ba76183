//! Follows a path through its symbolic links, and names every directory entry it depends on.
//!
//! Watching those entries shows a retargeted link (a Kubernetes `..data`), a file that appears
//! late, and a directory that was deleted and comes back.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Links followed before a path is taken for a loop: the limit of Linux itself.
const MAX_LINKS: usize = 40;

/// What a path leads to, and which entries decide that.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Trail {
    /// Each link passed, and the final file or the first entry that is missing; all under real
    /// directories.
    pub(super) entries: BTreeSet<PathBuf>,
    /// The path without links; `None` when it leads nowhere.
    pub(super) real: Option<PathBuf>,
}

/// Follows `path`, which is absolute.
pub(super) fn trail(path: &Path) -> Trail {
    let mut trail = Trail::default();
    let mut here = PathBuf::new();
    let mut ahead: VecDeque<OsString> = parts(path);
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            here.pop();
            continue;
        }
        // Joining a root replaces what is there, which is what an absolute link means.
        let next = here.join(&part);
        let Ok(metadata) = fs::symlink_metadata(&next) else {
            trail.entries.insert(next);
            return trail;
        };
        if metadata.is_symlink() {
            trail.entries.insert(next.clone());
            links += 1;
            let Ok(to) = fs::read_link(&next) else { return trail };
            if links > MAX_LINKS {
                return trail;
            }
            for part in parts(&to).into_iter().rev() {
                ahead.push_front(part);
            }
            continue;
        }
        if !metadata.is_dir() {
            trail.entries.insert(next.clone());
        }
        here = next;
    }
    trail.real = Some(here);
    trail
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_an_entry() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir(root.join("v1")).unwrap();
        fs::write(root.join("v1/x.wasm"), "").unwrap();
        symlink("v1", root.join("data")).unwrap();
        symlink(root.join("data/x.wasm"), root.join("x.wasm")).unwrap();
        let found = trail(&root.join("x.wasm"));
        let expect = ["x.wasm", "data", "v1/x.wasm"].map(|name| root.join(name));
        assert_eq!(found.entries, expect.into());
        assert_eq!(found.real, Some(root.join("v1/x.wasm")));
    }

    #[test]
    fn a_missing_path_is_awaited_where_it_would_appear() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let found = trail(&root.join("a/b/x.wasm"));
        assert_eq!(found, Trail { entries: [root.join("a")].into(), real: None });
    }

    #[test]
    fn a_loop_of_links_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(trail(&root.join("a")).real, None);
    }
}
