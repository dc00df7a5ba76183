//! Which package builds which component: two that build one file would serve each other's code.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::BuildFailure;
use super::package::Package;
use super::session::lock;

/// The components of a session, by where cargo puts them below the directory of a profile.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<PathBuf, Owner>>);

/// The package that builds a component.
#[derive(Debug, Clone)]
struct Owner {
    spec: String,
    name: String,
    manifest: PathBuf,
    /// The bytes of the manifest at the time of the claim; `None` where it could not be read.
    text: Option<Vec<u8>>,
}

impl Claims {
    /// Takes down that `package` builds its components into `target_dir`, and no others any more.
    ///
    /// # Errors
    ///
    /// When another package builds one of them.
    pub(super) fn claim(&self, package: &Package, target_dir: &Path) -> Result<(), BuildFailure> {
        let mut claims = lock(&self.0);
        claims.retain(|_, owner| owner.spec != package.spec);
        let Some(own) = Owner::of(package) else { return Ok(()) };
        for component in package.components.iter().map(|name| target_dir.join(name)) {
            // A package whose manifest is another one by now claims anew what it still builds: until
            // then, what it claimed keeps nobody from a build.
            if let Some(other) = claims.get(&component).filter(|other| other.is_current()) {
                return Err(rivalry(&own, other, &component));
            }
        }
        let components = package.components.iter().map(|name| target_dir.join(name));
        claims.extend(components.map(|component| (component, own.clone())));
        Ok(())
    }

    /// The package in `dir` is not built any more: what it claimed is anybody's.
    pub(super) fn give_up(&self, dir: &Path) {
        let manifest = dir.join("Cargo.toml");
        lock(&self.0).retain(|_, owner| !is_one_file(&owner.manifest, &manifest));
    }

    /// The manifests of the packages that build a component of `package`'s.
    pub(super) fn rivals(&self, package: &Package, target_dir: &Path) -> Vec<PathBuf> {
        let claims = lock(&self.0);
        let owners =
            package.components.iter().filter_map(|name| claims.get(&target_dir.join(name)));
        let others = owners.filter(|owner| owner.spec != package.spec);
        others.map(|owner| owner.manifest.clone()).collect()
    }
}

impl Owner {
    fn of(package: &Package) -> Option<Self> {
        let itself = package.members.first()?;
        let (spec, name) = (package.spec.clone(), itself.name.clone());
        let manifest = itself.dir.join("Cargo.toml");
        let text = fs::read(&manifest).ok();
        Some(Self { spec, name, manifest, text })
    }

    /// Whether the manifest is still the one that was claimed for.
    fn is_current(&self) -> bool {
        fs::read(&self.manifest).ok() == self.text
    }
}

/// Whether both paths lead to one file, or are the same where they lead nowhere.
fn is_one_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

fn rivalry(own: &Owner, other: &Owner, component: &Path) -> BuildFailure {
    let file = component.file_name().unwrap_or_default().display();
    BuildFailure {
        message: format!(
            "packages `{}` (`{}`) and `{}` (`{}`) both build `{file}`, each over the other's",
            other.name,
            other.manifest.display(),
            own.name,
            own.manifest.display()
        ),
        hints: vec![format!(
            "give one of them another library name: `[lib]` with `name = \"{}_handler\"`, for example",
            own.name.replace('-', "_")
        )],
        ..BuildFailure::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::package::Member;

    fn package(name: &str, component: &str) -> Package {
        Package {
            spec: format!("path+file:///{name}"),
            only_target: None,
            components: [component.to_owned()].into(),
            members: vec![Member { name: name.to_owned(), dir: format!("/{name}").into() }],
            entry_files: [].into(),
            has_build_script: false,
            workspace_root: "/".into(),
            target_dir: "/target".into(),
        }
    }

    #[test]
    fn one_component_has_one_package_and_both_are_named() {
        let claims = Claims::default();
        let dir = Path::new("/target");
        let (a, b) = (package("a", "x.wasm"), package("b", "x.wasm"));
        for _ in 0..2 {
            claims.claim(&a, dir).unwrap();
            let failure = claims.claim(&b, dir).unwrap_err();
            for part in ["`a`", "`b`", "`x.wasm`", "/a/Cargo.toml", "/b/Cargo.toml"] {
                assert!(failure.message.contains(part), "{part}: {failure}");
            }
            assert!(failure.hints[0].contains("b_handler"), "{failure:?}");
            assert_eq!(claims.rivals(&b, dir), [Path::new("/a/Cargo.toml")]);
            assert!(claims.rivals(&a, dir).is_empty());
        }
        claims.claim(&b, Path::new("/elsewhere")).unwrap();
        // A package that builds another component now leaves the first to others.
        claims.claim(&package("a", "y.wasm"), dir).unwrap();
        claims.claim(&b, dir).unwrap();
        assert!(claims.claim(&a, dir).is_err());
    }
}
