//! A copy of a plugin outside the workspace, to be edited and built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use toml::{Table, Value};
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests::{self, Profile, TARGET};

use crate::peers::with_text;
use crate::work;

/// The dev profile that the guest SDK's documentation recommends to authors. Both sides of each
/// comparison build with it, or with the release profile, which it leaves alone.
const DEV_PROFILE: &str = r#"
[profile.dev]
debug = "line-tables-only"

[profile.dev.package."*"]
opt-level = 1
debug = false
"#;

/// A release profile for who deploys many plugins: the usual settings for small code.
const SMALL_PROFILE: &str = r#"
[profile.release]
opt-level = "s"
lto = true
codegen-units = 1
panic = "abort"
strip = true
"#;

/// A plugin that can be copied.
#[derive(Debug)]
struct Plugin {
    name: &'static str,
    /// Its directory in the workspace.
    directory: &'static str,
    /// The directory of its `Cargo.lock`.
    locked_in: &'static str,
    /// How the line begins that an edit changes.
    edited: &'static str,
    /// Added to its manifest.
    profiles: &'static [&'static str],
}

const HELLO: Plugin = Plugin {
    name: "hello",
    directory: "plugins/hello",
    locked_in: "",
    edited: "const GREETING: &str = ",
    profiles: &[DEV_PROFILE],
};

const SMALL: Plugin = Plugin {
    name: "small",
    directory: "tests/bench/small",
    locked_in: "tests/bench/small",
    edited: "const TEXT: &str = ",
    profiles: &[DEV_PROFILE, SMALL_PROFILE],
};

const LARGE: Plugin = Plugin {
    name: "large",
    directory: "tests/bench/large",
    locked_in: "tests/bench/large",
    edited: "const HEADLINE: &str = ",
    profiles: &[DEV_PROFILE],
};

/// The copy, with a target directory of its own.
#[derive(Debug)]
pub(crate) struct Project {
    plugin: &'static Plugin,
    root: PathBuf,
    source: String,
    /// Removed when dropped, unless the copy is kept for later runs.
    _temporary: Option<TempDir>,
}

impl Project {
    /// A copy of `hello` that is removed when dropped.
    pub(crate) fn copy() -> Result<Self> {
        let temporary = tempfile::tempdir().context("failed to create a directory")?;
        let root = temporary.path().to_owned();
        Ok(Self { _temporary: Some(temporary), ..Self::copy_to(root, &HELLO)? })
    }

    /// A copy of `hello` that is kept, with what it builds.
    pub(crate) fn hello() -> Result<Self> {
        Self::copy_to(work::directory("hello")?, &HELLO)
    }

    /// The smallest handler, built to be small; kept.
    pub(crate) fn small() -> Result<Self> {
        Self::copy_to(work::directory("small")?, &SMALL)
    }

    /// The large handler; kept, with what it builds, as its dependencies take minutes.
    pub(crate) fn large() -> Result<Self> {
        Self::copy_to(work::directory("large")?, &LARGE)
    }

    /// Copies the plugin; its path dependencies stay where they are.
    fn copy_to(root: PathBuf, plugin: &'static Plugin) -> Result<Self> {
        let workspace = guests::workspace_root();
        let original = workspace.join(plugin.directory);
        let manifest =
            manifest(&read(&workspace.join("Cargo.toml"))?, workspace, &original, plugin)?;
        work::write(&root.join("Cargo.toml"), &manifest)?;
        // The same versions as in the original; what the copy does not use, cargo removes.
        let lock = workspace.join(plugin.locked_in).join("Cargo.lock");
        work::write(&root.join("Cargo.lock"), read(&lock)?)?;
        fs::create_dir_all(root.join("src")).context("failed to create `src`")?;
        let source = read(&original.join("src/lib.rs"))?;
        work::write(&root.join("src/lib.rs"), &source)?;
        let (name, edited) = (plugin.name, plugin.edited);
        ensure!(source.contains(edited), "expected a line `{edited}…` in `{name}`, found none");
        Ok(Self { plugin, root, source, _temporary: None })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    /// Changes the text of the line that is made for it and saves, as an editor does.
    pub(crate) fn edit(&self, text: &str) -> Result<()> {
        let edited = with_text(&self.source, self.plugin.edited, text);
        let path = self.path().join("src/lib.rs");
        WriteStyle::Rename
            .write(&path, edited.as_bytes())
            .with_context(|| format!("failed to save `{}`", path.display()))
    }

    /// Lets `command` run in the project, build into the project's own target directory and find
    /// nothing that another run has cached.
    pub(crate) fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .current_dir(self.path())
            .env("CARGO_TARGET_DIR", self.path().join("target"))
            .env("XDG_CACHE_HOME", self.path().join("cache"))
    }

    /// The plain build that an author would type.
    pub(crate) fn build(&self) -> Result<()> {
        self.build_as(Profile::Dev)
    }

    /// Edits, builds and reads the component.
    pub(crate) fn component(&self, text: &str, profile: Profile) -> Result<Vec<u8>> {
        self.edit(text)?;
        self.build_as(profile)?;
        work::read(&self.path().join(component(self.plugin, profile)))
    }

    fn build_as(&self, profile: Profile) -> Result<()> {
        let mut command = guests::cargo();
        command.args(["build", "--target", TARGET, "--profile", profile.name()]);
        let output = self.prepare(&mut command).output().context("failed to run `cargo`")?;
        let (name, said) = (self.plugin.name, String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "failed to build `{name}`\n{said}");
        Ok(())
    }

    /// Where the component of a release build of `hello` lands, seen from the project.
    pub(crate) fn release_component() -> PathBuf {
        component(&HELLO, Profile::Release)
    }
}

/// Where a build's component lands, seen from the project.
fn component(plugin: &Plugin, profile: Profile) -> PathBuf {
    let directory = Path::new("target").join(TARGET).join(profile.directory());
    directory.join(plugin.name).with_extension("wasm")
}

/// The copy's manifest: a workspace of its own that inherits what the original one inherits.
///
/// Profiles stay behind: those of the workspace are made for compiling wasmtime. The copy has the
/// one that authors are told to use.
fn manifest(workspace: &str, root: &Path, original: &Path, plugin: &Plugin) -> Result<String> {
    let workspace: Table = workspace.parse().context("failed to read the workspace's manifest")?;
    let mut manifest: Table = read(&original.join("Cargo.toml"))?
        .parse()
        .with_context(|| format!("failed to read the manifest of `{}`", plugin.name))?;
    let mut own = Table::new();
    for (key, value) in workspace.get("workspace").and_then(Value::as_table).into_iter().flatten() {
        if ["package", "dependencies", "lints"].contains(&key.as_str()) {
            own.insert(key.clone(), value.clone());
        }
    }
    if let Some(dependencies) = own.get_mut("dependencies") {
        make_absolute(dependencies, root);
    }
    for key in ["dependencies", "dev-dependencies"] {
        if let Some(dependencies) = manifest.get_mut(key) {
            make_absolute(dependencies, original);
        }
    }
    manifest.insert("workspace".to_owned(), Value::Table(own));
    Ok(manifest.to_string() + &plugin.profiles.concat())
}

/// Resolves each `path` in a table of dependencies against `directory`.
fn make_absolute(dependencies: &mut Value, directory: &Path) {
    for (_, dependency) in dependencies.as_table_mut().into_iter().flatten() {
        if let Some(Value::String(path)) = dependency.get_mut("path") {
            *path = directory.join(&path).display().to_string();
        }
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_is_a_workspace_of_its_own_with_absolute_paths() {
        let plugin = tempfile::tempdir().unwrap();
        let text = "[package]\nname = \"hello\"\nversion.workspace = true\n\
                    [dependencies]\nsdk = { path = \"../sdk\" }\nother = \"1\"\n";
        fs::write(plugin.path().join("Cargo.toml"), text).unwrap();
        let workspace = "[workspace]\nmembers = [\"a\"]\n[workspace.package]\nversion = \"7.0.0\"\n\
                         [workspace.dependencies]\nshared = { path = \"shared\" }\n";
        let copy: Table = manifest(workspace, Path::new("/root-of-it"), plugin.path(), &HELLO)
            .unwrap()
            .parse()
            .unwrap();
        let dependency =
            |table: &Value, name: &str| table[name]["path"].as_str().unwrap().to_owned();
        let sdk = plugin.path().join("../sdk").display().to_string();
        assert_eq!(dependency(&copy["dependencies"], "sdk"), sdk);
        let own = &copy["workspace"];
        assert_eq!(dependency(&own["dependencies"], "shared"), "/root-of-it/shared");
        assert_eq!(own["package"]["version"].as_str(), Some("7.0.0"));
        assert!(own.get("members").is_none());
    }
}
