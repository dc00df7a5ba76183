//! Reads the names of the tracked files out of git's index (`gitformat-index`, versions 2 to 4).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Bytes of an entry before its flags: times, identity, mode, owner, size and object name.
const BEFORE_FLAGS: usize = 60;
/// The flag that says that two more bytes of flags follow.
const IS_EXTENDED: u16 = 0x4000;
/// Entries are padded to a multiple of this before version 4.
const ALIGNMENT: usize = 8;

/// The names of the entries of `index`, relative to the work tree. `None` where it is of another form:
/// of another version, with object names of SHA-256, or cut short.
pub(super) fn names(index: &[u8]) -> Option<Vec<PathBuf>> {
    let number = |at: usize| Some(u32::from_be_bytes(*index.get(at..)?.first_chunk()?));
    let version = number(4).filter(|_| index.starts_with(b"DIRC"))?;
    if !(2..=4).contains(&version) {
        return None;
    }
    let n = usize::try_from(number(8)?).ok()?;
    let mut at = 12;
    // A wrong number must not take memory for names that are not there.
    let mut names = Vec::with_capacity(n.min(index.len() / BEFORE_FLAGS));
    let mut name: Vec<u8> = Vec::new();
    for _ in 0..n {
        let flags = u16::from_be_bytes(*index.get(at + BEFORE_FLAGS..)?.first_chunk()?);
        let more = if version >= 3 && flags & IS_EXTENDED != 0 { 2 } else { 0 };
        let mut begin = at + BEFORE_FLAGS + 2 + more;
        if version == 4 {
            // The name is told by what it has in common with the one before.
            let (n_cut, n_read) = offset(index.get(begin..)?)?;
            name.truncate(name.len().checked_sub(n_cut)?);
            begin += n_read;
        } else {
            name.clear();
        }
        let rest = index.get(begin..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        name.extend_from_slice(&rest[..end]);
        names.push(PathBuf::from(OsString::from_vec(name.clone())));
        at = if version == 4 {
            begin + end + 1
        } else {
            // One zero byte at least ends the name.
            at + (begin + end + 1 - at).next_multiple_of(ALIGNMENT)
        };
    }
    Some(names)
}

/// A number in git's variable-length form, and how many bytes it takes.
fn offset(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value: usize = 0;
    // Longer ones do not fit.
    for (n, byte) in bytes.iter().enumerate().take(8) {
        let bits = usize::from(byte & 0x7f);
        value = if n == 0 { bits } else { ((value + 1) << 7) | bits };
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn names_are_those_that_git_lists_in_each_version() {
        let dir = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(dir.path()).args(arguments);
            git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
            git.status().is_ok_and(|status| status.success())
        };
        if !git(&["init", "--quiet"]) {
            return; // As on a machine without git, where nothing is tracked either.
        }
        let long = format!("d/{}", "x".repeat(200));
        let mut expected: Vec<PathBuf> =
            ["a", "a b", "d/e/f.rs", "d/e/g.rs", "ä", &long].map(PathBuf::from).into();
        expected.extend((0..20).map(|n| PathBuf::from("y".repeat(n + 1))));
        for name in &expected {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(git(&["add", "."]));
        // Makes it version 3 where that is allowed.
        assert!(git(&["add", "--intent-to-add", "."]));
        expected.sort();
        for version in ["2", "3", "4"] {
            assert!(git(&["update-index", "--index-version", version]));
            let index = std::fs::read(dir.path().join(".git/index")).unwrap();
            let mut found = names(&index).unwrap();
            found.sort();
            assert_eq!(found, expected, "version {version}");
            for cut in 0..index.len().min(2000) {
                // Neither a cut nor a wrong byte makes it panic.
                let _ = names(&index[..cut]);
                let mut wrong = index.clone();
                wrong[cut] ^= 0xff;
                let _ = names(&wrong);
            }
        }
    }

    #[test]
    fn what_is_no_index_has_no_names() {
        assert_eq!(names(b""), None);
        assert_eq!(names(b"DIRC\0\0\0\x09\0\0\0\0"), None);
        assert_eq!(names(b"DIRC\0\0\0\x02\xff\xff\xff\xff"), None);
    }
}
