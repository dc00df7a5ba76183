//! Holds a component's imports and exports against what is offered and wanted, before any of its
//! code runs.

use std::fmt;

use wasmtime::component::types::ComponentItem;
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
        /// Each import that is refused by its name, or where all names are offered, the first that
        /// has another type than what is offered.
        imports: Vec<RefusedImport>,
        /// What the linker said about the first of them, if it came to that.
        source: Option<wasmtime::Error>,
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
    /// It exports what can be called, in a version that is not called.
    #[error(
        "the component does not fit world `{world}`: it was built for `{found}`, and this runtime \
         calls `{}@{version}`",
        interface_of(found)
    )]
    ExportVersion {
        /// The world.
        world: &'static str,
        /// The export, with the version that the component was built for.
        found: Box<str>,
        /// The version that is called.
        version: &'static str,
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
    if imports.is_empty() {
        return "an import has another type than what this runtime provides".to_owned();
    }
    imports.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The name of an interface without its version.
pub(super) fn interface_of(name: &str) -> &str {
    name.split_once('@').map_or(name, |(path, _)| path)
}

/// What to do about a release candidate of WASI 0.3.
const REBUILD: &str =
    "build it again with a toolchain for WASI 0.3.0; its release candidates differ";

impl Hint for ContractError {
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Imports { imports, .. } => {
                let wants = |what: &dyn Fn(&RefusedImport) -> bool| imports.iter().any(what);
                if wants(&|import| is_candidate_of_wasi03(&import.wanted)) {
                    vec![REBUILD.to_owned()]
                } else if wants(&|import| import.wanted.starts_with("wasi:http/handler@")) {
                    vec![
                        "compose it with the handler that it wraps, for example with `wac plug`"
                            .to_owned(),
                        "or send requests by `wasi:http/client`, which is provided".to_owned(),
                    ]
                } else if wants(&|import| import.offered.contains("opt-in")) {
                    vec!["set `host.wasi03 = true` in the manifest to allow WASI 0.3".to_owned()]
                } else {
                    vec!["remove the dependency that needs it, or build against the offered version"
                        .to_owned()]
                }
            }
            Self::ExportVersion { found, .. } if is_candidate_of_wasi03(found) => {
                vec![REBUILD.to_owned()]
            }
            Self::ExportVersion { .. } => {
                vec!["build it again with a toolchain for that version".to_owned()]
            }
            Self::MissingExport { .. } | Self::WrongExport { .. } => vec![
                "mark the handler with `#[wrt_guest::http]` or `#[wrt_guest::event]`, or export the \
                 world by hand"
                    .to_owned(),
            ],
        }
    }
}

/// Whether `name` is an interface of WASI 0.3 as it was before it was finished.
fn is_candidate_of_wasi03(name: &str) -> bool {
    let version = name.strip_prefix("wasi:").and_then(|rest| rest.split_once("@0.3."));
    version.is_some_and(|(_, rest)| rest.contains('-'))
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
    linker.instantiate_pre(component).map_err(|source| {
        let mut imports = refused(linker, component, wasi03);
        if imports.is_empty() {
            imports.extend(differing(component, wasi03, &source));
        }
        ContractError::Imports { world, imports, source: Some(source) }
    })
}

/// Refuses a component that `imports` an interface of a release candidate of WASI 0.3, which is never
/// offered. Said before it is compiled: the types of WASI 0.3 may keep the compiler from saying it.
///
/// # Errors
///
/// [`ContractError::Imports`] that names each of them.
pub(crate) fn refuse_prereleases(
    imports: &[String],
    world: &'static str,
    wasi03: bool,
) -> Result<(), ContractError> {
    let candidates = imports.iter().filter(|name| is_candidate_of_wasi03(name));
    let offered = candidates.filter(|name| offer_for(name, wasi03) != Offer::Nothing);
    let imports: Vec<_> = offered.filter_map(|name| refusal(name, wasi03)).collect();
    if imports.is_empty() {
        return Ok(());
    }
    Err(ContractError::Imports { world, imports, source: None })
}

fn refused<H: 'static>(
    linker: &Linker<HostState<H>>,
    component: &Component,
    wasi03: bool,
) -> Vec<RefusedImport> {
    let component_type = component.component_type();
    let imports = component_type.imports(component.engine());
    imports
        .filter(|(name, import)| !needs_nothing(component, &import.ty) && !is_linked(linker, name))
        .filter_map(|(name, _)| refusal(name, wasi03))
        .collect()
}

/// The import that the linker names in `source`, where each is offered by its name: one of a newer
/// version may have more in it, or another type.
fn differing(
    component: &Component,
    wasi03: bool,
    source: &wasmtime::Error,
) -> Option<RefusedImport> {
    let said = format!("{source:#}");
    let component_type = component.component_type();
    let mut names = component_type.imports(component.engine()).map(|(name, _)| name);
    let wanted = names.find(|name| said.contains(&format!("`{name}`")))?.to_owned();
    let offered = match offer_for(&wanted, wasi03) {
        Offer::Version(version) => format!("this runtime provides {version}, which differs"),
        _ => "this runtime provides another".to_owned(),
    };
    Some(RefusedImport { wanted, offered })
}

/// Whether an import consists of types alone, which the component knows by itself.
fn needs_nothing(component: &Component, import: &ComponentItem) -> bool {
    let ComponentItem::ComponentInstance(instance) = import else { return false };
    let mut exports = instance.exports(component.engine());
    exports.all(|(_, export)| matches!(export.ty, ComponentItem::Type(_)))
}

/// What there is to say about an import called `wanted`; `None` where it is offered.
fn refusal(wanted: &str, wasi03: bool) -> Option<RefusedImport> {
    let offered = match offer_for(wanted, wasi03) {
        Offer::Version(version) if is_compatible(wanted, version) => return None,
        Offer::Version(version) => format!("this runtime provides {version}"),
        Offer::OptIn(version) => format!("this runtime provides {version}, as an opt-in"),
        Offer::Others(interfaces, version) => {
            let interfaces = interfaces.join("`, `");
            format!("of that package, this runtime provides `{interfaces}` in version {version}")
        }
        Offer::Nothing => "this runtime provides nothing of that name".to_owned(),
    };
    Some(RefusedImport { wanted: wanted.to_owned(), offered })
}

/// Whether `name` itself is in the linker. There is no way to ask, but to define it as something else
/// fails; an instance may be defined again, and would not tell.
fn is_linked<H: 'static>(linker: &Linker<HostState<H>>, name: &str) -> bool {
    let mut copy = linker.clone();
    copy.allow_shadowing(false);
    copy.root().func_wrap(name, |_, ()| Ok(())).is_err()
}

/// Whether an import of the version in `wanted` is satisfied by `offered`, as the linker sees it:
/// pre-releases only by themselves, otherwise by the same 0.x or major line.
pub(super) fn is_compatible(wanted: &str, offered: &str) -> bool {
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
            "import `wasi:http/types@0.3.0` is not provided (this runtime provides 0.3.0, as an opt-in)",
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
        let said = chain(&error);
        for part in [
            "import `wasi:random/random@0.2.0` is not provided (this runtime provides 0.2.12, which \
             differs)",
            "get-random-u64",
        ] {
            assert!(said.contains(part), "`{part}` is not in `{said}`");
        }
    }

    #[test]
    fn what_an_embedder_links_is_not_blamed_for_another_import() {
        let config = RuntimeConfig::default();
        let engine = Engines::new(&config).unwrap().optimized;
        let mut linker = Linker::<HostState>::new(engine.wasmtime());
        crate::host::link(&mut linker, &config).unwrap();
        linker.instance("acme:db/rows@1.2.0").unwrap().func_wrap("get", |_, ()| Ok(())).unwrap();
        let text = r#"(component
            (import "acme:db/rows@1.2.0" (instance (export "get" (func))))
            (import "acme:db/more@1.2.0" (instance (export "get" (func)))))"#;
        let component = Component::new(engine.wasmtime(), text).unwrap();
        let refused = link(&linker, &component, "w", false).err().expect("one is not offered");
        let ContractError::Imports { imports, .. } = refused else { panic!("{refused}") };
        let wanted: Vec<_> = imports.iter().map(|import| import.wanted.as_str()).collect();
        assert_eq!(wanted, ["acme:db/more@1.2.0"]);
    }

    #[test]
    fn types_alone_are_never_blamed() {
        let message = refusal(
            r#"(component
                (import "acme:db/types@1.2.0" (instance
                    (type $t (record (field "a" u8))) (export "t" (type (eq $t)))))
                (import "wasi:http/handler@0.3.0" (instance (export "handle" (func)))))"#,
        );
        assert!(!message.contains("acme"), "{message}");
        let offered = "import `wasi:http/handler@0.3.0` is not provided (of that package, this \
                       runtime provides `client`, `types` in version 0.3.0)";
        assert!(message.contains(offered), "{message}");
    }

    #[test]
    fn only_release_candidates_of_packages_that_are_offered_are_refused_unseen() {
        let refused = |name: &str| refuse_prereleases(&[name.to_owned()], "w", true).is_err();
        assert!(refused("wasi:http/types@0.3.0-rc-2026-01-06"));
        assert!(refused("wasi:http/nonsense@0.3.0-rc-2026-01-06"));
        for name in ["wasi:http/types@0.3.1", "wasi:tls/client@0.3.0-draft", "acme:a/b@0.3.0-rc"] {
            assert!(!refused(name), "{name}");
        }
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
