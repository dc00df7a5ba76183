//! A copy of the plugin `hello` outside the workspace, to be edited and built.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use toml::{Table, Value};
use wrt_test_support::files::WriteStyle;
use wrt_test_support::guests::{self, TARGET};

/// The plugin that is copied.
const PLUGIN: &str = "hello";

/// How the line begins that an edit changes.
const EDITED: &str = "const GREETING: &str = ";

/// The dev profile that the guest SDK's documentation recommends to authors. Both sides of each
/// comparison build with it, or with the release profile, which it leaves alone.
const PROFILE: &str = r#"
[profile.dev]
debug = "line-tables-only"

[profile.dev.package."*"]
opt-level = 1
debug = false
"#;

/// The copy, with a target directory of its own; removed when dropped.
#[derive(Debug)]
pub(crate) struct Project {
    directory: TempDir,
    source: String,
}

impl Project {
    /// Copies the plugin; its path dependencies stay where they are.
    pub(crate) fn copy() -> Result<Self> {
        let root = guests::workspace_root();
        let plugin = root.join("plugins").join(PLUGIN);
        let directory = tempfile::tempdir().context("failed to create a directory")?;
        let to = |name: &str| directory.path().join(name);

        let manifest = manifest(&read(&root.join("Cargo.toml"))?, root, &plugin)?;
        write(&to("Cargo.toml"), &manifest)?;
        // The same versions as in the workspace; what the copy does not use, cargo removes.
        write(&to("Cargo.lock"), &read(&root.join("Cargo.lock"))?)?;
        fs::create_dir(to("src")).context("failed to create `src`")?;
        let source = read(&plugin.join("src/lib.rs"))?;
        write(&to("src/lib.rs"), &source)?;
        ensure!(source.contains(EDITED), "expected a line `{EDITED}…` in `{PLUGIN}`, found none");
        Ok(Self { directory, source })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Changes the greeting and saves, as an editor does.
    pub(crate) fn edit(&self, greeting: &str) -> Result<()> {
        let edit_line = |line: &str| match line.strip_prefix(EDITED) {
            Some(_) => format!("{EDITED}{greeting:?};\n"),
            None => format!("{line}\n"),
        };
        let edited: String = self.source.lines().map(edit_line).collect();
        let path = self.path().join("src/lib.rs");
        WriteStyle::Rename
            .write(&path, edited.as_bytes())
            .with_context(|| format!("failed to save `{}`", path.display()))
    }

    /// Lets `command` run in the project and build into the project's own target directory.
    pub(crate) fn prepare<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.path()).env("CARGO_TARGET_DIR", self.path().join("target"))
    }

    /// The plain build that an author would type.
    pub(crate) fn build(&self) -> Result<()> {
        let mut command = guests::cargo();
        let output = self
            .prepare(command.args(["build", "--target", TARGET]))
            .output()
            .context("failed to run `cargo`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "failed to build `{PLUGIN}`\n{said}");
        Ok(())
    }

    /// Where the component of a release build lands, seen from the project.
    pub(crate) fn release_component() -> PathBuf {
        Path::new("target").join(TARGET).join("release").join(PLUGIN).with_extension("wasm")
    }
}

/// The copy's manifest: a workspace of its own that inherits what the original one inherits.
///
/// Profiles stay behind: those of the workspace are made for compiling wasmtime. The copy has the
/// one that authors are told to use.
fn manifest(workspace: &str, root: &Path, plugin: &Path) -> Result<String> {
    let workspace: Table = workspace.parse().context("failed to read the workspace's manifest")?;
    let mut manifest: Table = read(&plugin.join("Cargo.toml"))?
        .parse()
        .with_context(|| format!("failed to read the manifest of `{PLUGIN}`"))?;
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
            make_absolute(dependencies, plugin);
        }
    }
    manifest.insert("workspace".to_owned(), Value::Table(own));
    Ok(manifest.to_string() + PROFILE)
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

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
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
        let copy: Table =
            manifest(workspace, Path::new("/root-of-it"), plugin.path()).unwrap().parse().unwrap();
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
