//! What cargo knows of a package: its identity, its local dependencies, where its output goes.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use super::BuildFailure;
use super::process::{self, Stream, Tools};
use super::said::Said;
use super::target::TARGET;

/// A cargo package with everything that its build reads from this machine's working copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// The package's identity, in the form that `cargo build -p` takes.
    pub(super) spec: String,
    /// What selects the library or program that a build of the package makes, if there is but one.
    pub(super) only_target: Option<Vec<String>>,
    /// Names of the components that a build of the package may write, all into one directory.
    pub(super) components: BTreeSet<String>,
    /// The package itself, first, and its path dependencies.
    pub(super) members: Vec<Member>,
    /// Files that cargo compiles first, build scripts among them: inputs even if git ignores them.
    pub(super) entry_files: BTreeSet<PathBuf>,
    /// Whether one of them has a build script, which may read any file of its package.
    pub(super) has_build_script: bool,
    /// Where the workspace's `Cargo.toml` and `Cargo.lock` are.
    pub(super) workspace_root: PathBuf,
    /// Where cargo puts what it builds.
    pub(super) target_dir: PathBuf,
}

/// One local package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) dir: PathBuf,
}

/// Asks cargo about the package in `dir`; `tell` hears what cargo waits for.
pub(super) async fn load(
    dir: &Path,
    tools: &Tools,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<Package, BuildFailure> {
    let mut command = process::command(&tools.cargo, dir);
    // Dependencies of other platforms are no inputs, and need not be downloaded.
    command.args(["metadata", "--format-version=1", "--filter-platform", TARGET]);
    let (mut json, mut said) = (Vec::new(), Said::new(tell));
    let on_output = |stream, piece: &[u8]| match stream {
        Stream::Stdout => json.extend(piece),
        Stream::Stderr => said.push(piece),
    };
    let status = process::run(&mut command, on_output)
        .await
        .map_err(|error| BuildFailure::not_started("cargo", &error))?;
    if !status.success() {
        let message = format!("`cargo metadata` in `{}` ended with {status}", dir.display());
        return Err(BuildFailure::with_output(message, &said.into_text()));
    }
    // A workspace's description takes milliseconds to parse.
    let parsed = tokio::task::spawn_blocking(move || {
        MetadataCommand::parse(String::from_utf8_lossy(&json)).map_err(|error| error.to_string())
    });
    let metadata = match parsed.await {
        Ok(parsed) => parsed,
        Err(error) => Err(error.to_string()),
    };
    let metadata = metadata.map_err(|error| {
        let message = format!("failed to read what `cargo metadata` said: {error}");
        BuildFailure { message, ..BuildFailure::default() }
    })?;
    package_of(&metadata).ok_or_else(|| BuildFailure {
        message: format!("`{}` has no package of its own", dir.join("Cargo.toml").display()),
        hints: vec!["name the directory of one of the workspace's packages".to_owned()],
        ..BuildFailure::default()
    })
}

/// The root package of `metadata` with the local packages that its build reaches.
fn package_of(metadata: &Metadata) -> Option<Package> {
    let resolve = metadata.resolve.as_ref()?;
    let root = resolve.root.as_ref()?;
    let nodes: HashMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let packages: HashMap<_, _> = metadata.packages.iter().map(|one| (&one.id, one)).collect();

    let mut reached: Vec<&PackageId> = vec![root];
    let mut n_visited = 0;
    while let Some(id) = reached.get(n_visited) {
        n_visited += 1;
        let Some(node) = nodes.get(id) else { continue };
        for dependency in &node.deps {
            let is_built =
                dependency.dep_kinds.iter().any(|info| info.kind != DependencyKind::Development);
            // A package from a registry never depends on one that is local.
            let is_local = packages.get(&dependency.pkg).is_some_and(|one| one.source.is_none());
            if is_built && is_local && !reached.contains(&&dependency.pkg) {
                reached.push(&dependency.pkg);
            }
        }
    }

    let local: Vec<_> = reached.iter().filter_map(|id| packages.get(id)).collect();
    let dir_of = |package: &cargo_metadata::Package| {
        package.manifest_path.parent().map(|dir| dir.as_std_path().to_owned())
    };
    let is_compiled = |target: &&cargo_metadata::Target| {
        !(target.is_test() || target.is_bench() || target.is_example())
    };
    let targets = packages.get(root).into_iter().flat_map(|one| &one.targets);
    let components = targets.clone().filter(is_compiled).filter_map(component_of).collect();
    let mut built = targets.filter(is_compiled).filter(|target| !target.is_custom_build());
    let only_target = built.next().filter(|_| built.next().is_none()).map(|target| {
        if target.is_bin() {
            vec!["--bin".to_owned(), target.name.clone()]
        } else {
            vec!["--lib".to_owned()]
        }
    });
    Some(Package {
        spec: root.repr.clone(),
        only_target,
        components,
        members: local
            .iter()
            .filter_map(|one| Some(Member { name: one.name.to_string(), dir: dir_of(one)? }))
            .collect(),
        entry_files: local
            .iter()
            .flat_map(|one| one.targets.iter().filter(is_compiled))
            .map(|target| target.src_path.as_std_path().to_owned())
            .collect(),
        has_build_script: local
            .iter()
            .any(|one| one.targets.iter().any(cargo_metadata::Target::is_custom_build)),
        workspace_root: metadata.workspace_root.as_std_path().to_owned(),
        target_dir: metadata.target_directory.as_std_path().to_owned(),
    })
}

/// The name of the component that cargo makes from `target`.
fn component_of(target: &cargo_metadata::Target) -> Option<String> {
    if target.is_bin() {
        Some(format!("{}.wasm", target.name))
    } else if target.is_cdylib() {
        Some(format!("{}.wasm", target.name.replace('-', "_")))
    } else {
        None
    }
}

impl Package {
    /// Names of the package and of its path dependencies.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.members.iter().map(|member| member.name.clone()).collect()
    }

    /// Names of the packages that the given files belong to; a file outside all of them counts
    /// for the package itself.
    pub(super) fn owners(&self, files: &[PathBuf]) -> BTreeSet<String> {
        let owner = |file: &PathBuf| {
            let around = self.members.iter().filter(|member| file.starts_with(&member.dir));
            // Packages may be nested: the innermost one owns the file.
            around.max_by_key(|member| member.dir.as_os_str().len()).or(self.members.first())
        };
        files.iter().filter_map(owner).map(|member| member.name.clone()).collect()
    }
}
