//! Holds a component's imports and exports against what is offered and wanted, before any of its
//! code runs.

use std::fmt;

use wasmtime::component::{Component, InstancePre, Linker};

use crate::error::Hint;
use crate::host::{HostState, Offer, offer_for};

/// A component that does not fit the world it was offered for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContractError {
    /// It imports what is not offered.
    #[error("the component does not fit world `{world}`: {}", list(imports))]
    Imports {
        /// The world.
        world: &'static str,
        /// Each refused import.
        imports: Vec<RefusedImport>,
        /// What the linker said about the first of them.
        source: wasmtime::Error,
    },
    /// It exports none of the things that can be called.
    #[error(
        "the component does not fit world `{world}`: export `{wanted}` is missing; {}",
        Found(found)
    )]
    MissingExport {
        /// The world.
        world: &'static str,
        /// What it should export.
        wanted: &'static str,
        /// What it exports instead.
        found: Vec<String>,
    },
    /// An export has another type than the world says.
    #[error("the component does not fit world `{world}`; {}", Found(found))]
    WrongExport {
        /// The world.
        world: &'static str,
        /// What the component exports.
        found: Vec<String>,
        /// Which export, and how it differs.
        source: wasmtime::Error,
    },
}

/// An import that is not offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedImport {
    /// Its name and version as the component wants it.
    pub wanted: String,
    /// What this runtime offers under that name.
    pub offered: String,
}

impl fmt::Display for RefusedImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "import `{}` is not provided ({})", self.wanted, self.offered)
    }
}

struct Found<'a>(&'a [String]);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("it exports nothing");
        }
        write!(f, "it exports `{}`", self.0.join("`, `"))
    }
}

fn list(imports: &[RefusedImport]) -> String {
    imports.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Hint for ContractError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Imports { imports, .. } => {
                let opt_in = imports.iter().any(|import| import.offered.contains("opt-in"));
                if opt_in {
                    vec!["set `host.wasi03 = true` in the manifest to allow WASI 0.3".to_owned()]
                } else {
                    vec!["remove the dependency that needs it, or build against the offered version"
                        .to_owned()]
                }
            }
            Self::MissingExport { .. } | Self::WrongExport { .. } => vec![
                "mark the handler with `#[wrt_guest::http]` or `#[wrt_guest::event]`, or export the \
                 world by hand"
                    .to_owned(),
            ],
        }
    }
}

/// Names of the component's exports, as messages show them.
pub(crate) fn export_names(component: &Component) -> Vec<String> {
    let exports = component.component_type();
    exports.exports(component.engine()).map(|(name, _)| name.to_owned()).collect()
}

/// Resolves and type-checks all imports.
///
/// # Errors
///
/// [`ContractError::Imports`] that names each import which is not offered.
pub(crate) fn link<H: Send + 'static>(
    linker: &Linker<HostState<H>>,
    component: &Component,
    world: &'static str,
    wasi03: bool,
) -> Result<InstancePre<HostState<H>>, ContractError> {
    linker.instantiate_pre(component).map_err(|source| ContractError::Imports {
        world,
        imports: refused(linker, component, wasi03),
        source,
    })
}

fn refused<H: 'static>(
    linker: &Linker<HostState<H>>,
    component: &Component,
    wasi03: bool,
) -> Vec<RefusedImport> {
    let component_type = component.component_type();
    let names = component_type.imports(component.engine()).map(|(name, _)| name.to_owned());
    names
        .filter(|name| !is_linked(linker, name))
        .filter_map(|wanted| {
            let offered = match offer_for(&wanted, wasi03) {
                Offer::Version(version) if is_compatible(&wanted, version) => return None,
                Offer::Version(version) => format!("this runtime provides {version}"),
                Offer::OptIn => "this runtime provides it as an opt-in".to_owned(),
                Offer::Nothing => "this runtime provides nothing of that name".to_owned(),
            };
            Some(RefusedImport { wanted, offered })
        })
        .collect()
}

/// Whether `name` itself is in the linker. There is no way to ask, but to define it again fails.
fn is_linked<H: 'static>(linker: &Linker<HostState<H>>, name: &str) -> bool {
    let mut copy = linker.clone();
    copy.allow_shadowing(false);
    copy.root().instance(name).is_err()
}

/// Whether an import of the version in `wanted` is satisfied by `offered`, as the linker sees it:
/// pre-releases only by themselves, otherwise by the same 0.x or major line.
fn is_compatible(wanted: &str, offered: &str) -> bool {
    let Some((_, wanted)) = wanted.split_once('@') else { return false };
    if wanted == offered {
        return true;
    }
    if wanted.contains('-') || offered.contains('-') {
        return false;
    }
    let line = |version: &str| {
        let mut numbers = version.split('.').map(str::to_owned);
        let major = numbers.next()?;
        let minor = numbers.next()?;
        Some(if major == "0" { format!("0.{minor}") } else { major })
    };
    line(wanted).is_some_and(|it| line(offered) == Some(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RuntimeConfig;
    use crate::engine::Engines;
    use crate::error::chain;

    fn refusal(text: &str) -> String {
        let config = RuntimeConfig::default();
        let engine = Engines::new(&config).unwrap().optimized;
        let mut linker = Linker::<HostState>::new(engine.wasmtime());
        crate::host::link(&mut linker, &config).unwrap();
        let component = Component::new(engine.wasmtime(), text).unwrap();
        match link(&linker, &component, "wrt:plugin/event-handler@0.1.0", false) {
            Ok(_) => panic!("it should have been refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_import_that_is_not_offered_is_named_with_both_versions() {
        let message = refusal(
            r#"(component
                (import "wasi:logging/logging@9.0.0" (instance
                    (export "log" (func (param "message" string)))))
                (import "wasi:http/types@0.2.3" (instance))
                (import "wasi:http/types@0.3.0" (instance (export "x" (func))))
                (import "acme:db/rows@1.2.0" (instance (export "get" (func)))))"#,
        );
        let expected = [
            "import `wasi:logging/logging@9.0.0` is not provided (this runtime provides 0.1.0-draft)",
            "import `wasi:http/types@0.3.0` is not provided (this runtime provides it as an opt-in)",
            "import `acme:db/rows@1.2.0` is not provided (this runtime provides nothing of that name)",
        ];
        for part in expected {
            assert!(message.contains(part), "`{part}` is not in `{message}`");
        }
        assert!(!message.contains("types@0.2.3"), "an offered import is blamed in `{message}`");
    }

    #[test]
    fn a_function_of_another_type_is_named_by_the_source() {
        let config = RuntimeConfig::default();
        let engine = Engines::new(&config).unwrap().optimized;
        let mut linker = Linker::<HostState>::new(engine.wasmtime());
        crate::host::link(&mut linker, &config).unwrap();
        let text = r#"(component (import "wasi:random/random@0.2.0" (instance
            (export "get-random-u64" (func (result string))))))"#;
        let component = Component::new(engine.wasmtime(), text).unwrap();
        let error = link(&linker, &component, "w", false).err().expect("the types differ");
        assert!(chain(&error).contains("get-random-u64"), "{}", chain(&error));
    }

    #[test]
    fn compatibility_follows_the_linkers_rule() {
        for (wanted, offered, expected) in [
            ("a:b/c@0.2.0", "0.2.12", true),
            ("a:b/c@0.2.99", "0.2.12", true),
            ("a:b/c@0.3.0", "0.2.12", false),
            ("a:b/c@1.9.0", "1.0.0", true),
            ("a:b/c@2.0.0", "1.0.0", false),
            ("a:b/c@0.2.0-rc.1", "0.2.0-rc.1", true),
            ("a:b/c@0.2.0-rc.2", "0.2.0-rc.1", false),
            ("a:b/c", "1.0.0", false),
        ] {
            assert_eq!(is_compatible(wanted, offered), expected, "{wanted} by {offered}");
        }
    }
}
