//! Names that are never inputs: editors' temporary files and directories that tools own.

use std::ffi::OsStr;
use std::path::Path;

/// Directories of version control and package managers.
const FOREIGN_DIRS: [&str; 5] = [".git", ".hg", ".jj", ".svn", "node_modules"];

/// Whether a file of this name is an editor's temporary file.
pub(super) fn is_editor_temp(name: &OsStr) -> bool {
    // A name that is not Unicode is no editor's, so it stays an input.
    let Some(name) = name.to_str() else { return false };
    // Vim creates `4913` to learn whether it may create files in the directory.
    name == "4913"
        || name == ".DS_Store"
        || name.ends_with('~')
        || (name.starts_with('#') && name.ends_with('#'))
        || name.starts_with(".#")
        || name.contains("___jb_")
        || name.starts_with(".goutputstream-")
        || name.ends_with(".kate-swp")
        || is_vim_swap(name)
}

/// Vim's `.name.swp`, `.name.swo` and so on.
fn is_vim_swap(name: &str) -> bool {
    name.starts_with('.')
        && name.rsplit_once('.').is_some_and(|(_, end)| end.len() == 3 && end.starts_with("sw"))
}

/// Whether `dir` belongs to a tool: version control, a package manager or a build.
///
/// `target` alone is not enough, because a package may have a module of that name.
pub(super) fn is_tool_dir(dir: &Path) -> bool {
    let Some(name) = dir.file_name().and_then(OsStr::to_str) else { return false };
    FOREIGN_DIRS.contains(&name)
        || (name == "target" && dir.with_file_name("Cargo.toml").is_file())
        || dir.join("CACHEDIR.TAG").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_told_from_sources() {
        let check = |name: &str, expect: bool| {
            assert_eq!(is_editor_temp(OsStr::new(name)), expect, "{name}");
        };
        for name in ["4913", "lib.rs~", ".lib.rs.swp", ".lib.rs.swx", "#lib.rs#", ".#lib.rs"] {
            check(name, true);
        }
        check("lib.rs___jb_tmp___", true);
        check("lib.rs___jb_old___", true);
        for name in ["lib.rs", ".gitignore", "a.swift", "swp", "49130", "#!", ".cargo"] {
            check(name, false);
        }
    }

    #[test]
    fn a_module_called_target_is_not_a_build_directory() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("src/target");
        let output = dir.path().join("target");
        std::fs::create_dir_all(&module).unwrap();
        std::fs::create_dir_all(&output).unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), "").unwrap();
        assert!(is_tool_dir(&output));
        assert!(!is_tool_dir(&module));
        std::fs::write(module.join("CACHEDIR.TAG"), "").unwrap();
        assert!(is_tool_dir(&module));
    }
}
