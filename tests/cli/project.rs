//! Handlers' packages in a directory of their own, to be built, edited and broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests;

/// How the line begins that an edit changes.
const EDITED: &str = "const GREETING: &str = ";

/// The workspace's own profile, so that dependencies are compiled once for guests and packages.
const PROFILE: &str = "\
[profile.dev]
debug = \"line-tables-only\"
[profile.dev.package.\"*\"]
opt-level = 3
debug = false
debug-assertions = false
overflow-checks = false
";

/// A directory, gone when it is dropped.
pub(crate) struct Project {
    directory: TempDir,
}

impl Project {
    /// An empty directory.
    pub(crate) fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// A copy of the plugin `hello`, as a package called `name`. Names must differ between tests,
    /// because their components share a directory.
    pub(crate) fn hello(name: &str) -> Self {
        let project = Self::empty();
        project.write("Cargo.toml", &(package(name, "") + &workspace(&[])));
        project.write("Cargo.lock", &lock());
        project.write("src/lib.rs", &hello(None));
        project
    }

    /// A workspace of the packages `names`, each a copy of `hello` in a directory of that name,
    /// with further lines for their `[dependencies]`.
    pub(crate) fn workspace(names: &[&str], dependencies: &str) -> Self {
        let project = Self::empty();
        project.write("Cargo.toml", &workspace(names));
        project.write("Cargo.lock", &lock());
        for name in names {
            project.write(&format!("{name}/Cargo.toml"), &package(name, dependencies));
            project.write(&format!("{name}/src/lib.rs"), &hello(None));
        }
        project
    }

    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The path of `name` in the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes `name`, with the directories that lead to it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Saves the handler's source with another greeting, as most editors do.
    pub(crate) fn save(&self, greeting: &str) {
        self.save_text("src/lib.rs", &hello(Some(greeting)));
    }

    /// Saves `name` as most editors do.
    pub(crate) fn save_text(&self, name: &str, text: &str) {
        WriteStyle::Rename.write(&self.path(name), text.as_bytes()).unwrap();
    }

    /// Runs `git` in the project, with nothing but what the test says.
    pub(crate) fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.current_dir(self.root())
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "gc.auto=0"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        assert!(git.status().unwrap().success(), "{arguments:?}");
    }

    /// Makes the project a git repository whose one commit has all of it.
    pub(crate) fn commit_all(&self) {
        self.write(".gitignore", "/target\n");
        self.git(&["init", "--quiet", "--initial-branch=one"]);
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message=one"]);
    }
}

/// A handler's `Cargo.toml`.
fn package(name: &str, dependencies: &str) -> String {
    let sdk = guests::workspace_root().join("guest-sdk");
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\
         [dependencies]\nwrt-guest = {{ path = {sdk:?} }}\n{dependencies}\n"
    )
}

/// The part of `Cargo.toml` that makes it a workspace.
fn workspace(members: &[&str]) -> String {
    format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n{PROFILE}")
}

/// The same versions as in our own workspace; what is not used, cargo removes.
fn lock() -> String {
    fs::read_to_string(guests::workspace_root().join("Cargo.lock")).unwrap()
}

/// The source of the plugin `hello`, with another greeting if there is one.
pub(crate) fn hello(greeting: Option<&str>) -> String {
    let path = guests::workspace_root().join("plugins/hello/src/lib.rs");
    let source = fs::read_to_string(path).unwrap();
    assert!(source.contains(EDITED), "expected a line `{EDITED}…` in the plugin `hello`");
    let edit = |line: &str| match greeting {
        Some(greeting) if line.starts_with(EDITED) => format!("{EDITED}{greeting:?};\n"),
        _ => format!("{line}\n"),
    };
    source.lines().map(edit).collect()
}

/// The heading of the page that greets with `greeting`.
pub(crate) fn heading(greeting: &str) -> String {
    format!("<h1>{greeting}</h1>")
}
